"""Measurements of hook programs, as a low-level runtime starts them, without one.

Each function returns the sides of one measurement.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from bench import node
from bench.creates import check_links
from bench.node import PEER, PYSHIM
from bench.paired import Command, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.case import Place

LIBRARIES = "driver/usr"


def state_of(of: node.Node) -> str:
    """Write the state a runtime would write; return its path."""
    path = of.folder / "state.json"
    path.write_text(
        json.dumps(
            {
                "ociVersion": "1.0.2",
                "id": of.container,
                "status": "creating",
                "pid": 1,
                "bundle": str(of.bundle.path),
            }
        )
    )
    return str(path)


def programs(place: Place) -> dict[str, Path]:
    """Return each contestant's hook program."""
    return {
        PYSHIM: place.installed / "pyshim-hook",
        PEER: node.PEER_HOOK,
    }


def commands(of: node.Node, name: str) -> Iterator[Command]:
    """Yield the hook processes of the contestant `name`: what it leaves in config.json."""
    state = state_of(of)
    if name == PEER:
        text = (of.specs / "nvidia.yaml").read_text()
        hooks: list[dict[str, Any]] = yaml.safe_load(text)["containerEdits"]["hooks"]
    else:
        hooks = list(node.hooks_of(of.edited(name)))
    for hook in hooks:
        environment = dict(word.split("=", 1) for word in hook.get("env", []))
        yield Command(hook["args"], environment, program=hook["path"], stdin=state)


def chain(place: Place) -> list[Side]:
    """All six hooks of nvidia-dgx-a100.yaml as the runtime starts them: one process against six."""
    of = node.dgx(place.folder / "chain", place.installed)
    of.mount_rootfs()
    config = of.bundle.config.read_bytes()
    libraries = of.folder / LIBRARIES

    def work(processes: list[Command]) -> Callable[[], None]:
        def run() -> None:
            for process in processes:
                process()

        return run

    return [
        Side(
            contestant,
            work(list(commands(of, contestant))),
            before=of.fresh(config, libraries),
            check=lambda: check_links(of.bundle),
        )
        for contestant in of.contestants
    ]


def hook(place: Place) -> list[Side]:
    """create-symlinks with one link, as a program."""
    of = node.Node(place.folder / "hook", place.installed, "")
    state = state_of(of)
    config = of.bundle.config.read_bytes()
    found = programs(place)

    def check() -> None:
        (of.bundle.rootfs / "usr/lib/libx.so").readlink()

    words = ["create-symlinks", "--link", "libx.so.1::/usr/lib/libx.so"]
    return [
        Side(
            name,
            Command([str(found[name]), *words], {}, stdin=state),
            before=of.fresh(config),
            check=check,
        )
        for name in of.contestants
    ]
