"""The rows of the table: what is compared, how often, and the goal, pyshim / peer.

Each function returns the sides of one measurement; from one measurement several rows may come.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from bench import claims, node
from bench.memory import MemorySide, Metered
from bench.node import BARE, INSTALLED, PEER, PYSHIM
from bench.paired import Command, Sample, Side
from tools.lab.shim import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.lab.bundle import Bundle

LIBRARIES = "driver/usr"


class Place(NamedTuple):
    """Where a measurement may put its files, and the programs of an installed pyshim."""

    folder: Path
    installed: Path


class Row(NamedTuple):
    """One line of the table; `of` picks "wall" (ms), "cpu" (ms) or "peak" (MiB) of each run."""

    name: str
    title: str
    goal: float
    of: str = "wall"

    def value(self, sample: Sample) -> float:
        """Return this row's number of one run."""
        number: float = getattr(sample, self.of)
        return number


class Case(NamedTuple):
    """One measurement."""

    sides: Callable[[Place], list[Side]]
    rounds: int
    rows: tuple[Row, ...]


def pass_through(place: Place, *words: str) -> list[Side]:
    """A command for a container that is not there: the way to the low-level runtime, no more."""
    of = node.Node(place.folder / words[0], place.installed, "")
    everybody = {BARE: of.bare, **of.contestants}
    return [
        Side(name, Command(one.argv(*words), one.environment, status=1))
        for name, one in everybody.items()
    ]


def _creates(of: node.Node, check: Callable[[], None]) -> list[Side]:
    """`create` against the bare runtime on the same bundle, merged before, without hooks."""
    asking, merged = of.bundle.config.read_bytes(), of.merged()
    bare = Side(
        BARE, Command(of.create(of.bare), of.bare.environment),
        before=of.fresh(merged), after=of.end,
    )
    others = [
        Side(
            name, Command(of.create(one), one.environment),
            before=of.fresh(asking), after=of.end, check=check,
        )
        for name, one in of.contestants.items()
    ]
    return [bare, *others]


def create(place: Place) -> list[Side]:
    """The whole of nvidia-dgx-a100.yaml: 5 nodes, 26 mounts, 6 hooks."""
    of = node.dgx(place.folder / "create", place.installed)
    return _creates(of, lambda: check_links(of.bundle))


def check_links(bundle: Bundle) -> None:
    """Raise RuntimeError unless the hooks left a link and a cache in the rootfs."""
    cache = bundle.rootfs / "etc/ld.so.cache"
    found = [name for name in bundle.rootfs.glob("usr/lib/*/libcuda.so") if name.is_symlink()]
    if not found or not cache.exists() or b"libcuda.so.1" not in cache.read_bytes():
        raise RuntimeError(f"{bundle.rootfs}: the hooks did not run")


def life(place: Place) -> list[Side]:
    """create, start, the end of /bin/true, delete."""
    of = node.dgx(place.folder / "life", place.installed)
    asking, merged = of.bundle.config.read_bytes(), of.merged()

    def work(commands: list[Command]) -> Callable[[], float]:
        def run() -> float:
            cpu = commands[0]() + commands[1]() + of.wait()
            return cpu + commands[2]()
        return run

    return [
        Side(
            name,
            work([
                Command(words, one.environment)
                for words in (
                    of.create(one), one.argv("start", of.container),
                    one.argv("delete", of.container),
                )
            ]),
            before=of.fresh(merged if name == BARE else asking),
        )
        for name, one in {BARE: of.bare, **of.contestants}.items()
    ]


def claim_node(place: Place, count: int, lowlevel: str = "") -> node.Node:
    """Return a node with `count` DRA claims, 40 mounts each, no hooks; the middle one asked for."""
    folder = place.folder / f"claims-{count}"
    of = node.Node(folder, place.installed, claims.device(count // 2), lowlevel)
    root = folder / "driver"
    claims.make_claims(str(of.specs), count, root=str(root), hooks=False)
    claims.make_root(str(root))
    return of


def with_claims(place: Place, count: int) -> list[Side]:
    """`create` of one claim's container on a node with `count` claims."""
    of = claim_node(place, count)

    def check() -> None:
        paths = [mount["destination"] for mount in of.bundle.spec["mounts"]]
        if "/usr/bin/nvidia-smi" not in paths:
            raise RuntimeError("the claim's mounts are not in config.json")

    return _creates(of, check)


def hook_state(of: node.Node) -> str:
    """Write the state a runtime would write; return its path."""
    path = of.folder / "state.json"
    path.write_text(json.dumps({
        "ociVersion": "1.0.2", "id": of.container, "status": "creating", "pid": 1,
        "bundle": str(of.bundle.path),
    }))
    return str(path)


def hook_programs(place: Place) -> dict[str, Path]:
    """Return each contestant's hook program."""
    return {
        PYSHIM: PROGRAMS / "pyshim-hook", INSTALLED: place.installed / "pyshim-hook",
        PEER: node.PEER_HOOK,
    }


def hook_commands(of: node.Node, name: str) -> Iterator[Command]:
    """Yield the hook processes of the contestant `name`: what it leaves in config.json."""
    state = hook_state(of)
    if name == PEER:
        text = (of.specs / "nvidia.yaml").read_text()
        hooks: list[dict[str, Any]] = yaml.safe_load(text)["containerEdits"]["hooks"]
    else:
        hooks = list(node.hooks_of(of.edited(name)))
    for hook in hooks:
        environment = dict(word.split("=", 1) for word in hook.get("env", []))
        yield Command(hook["args"], environment, program=hook["path"], stdin=state)


def chain(place: Place) -> list[Side]:
    """All six hooks of nvidia-dgx-a100.yaml as programs: one process against six."""
    of = node.dgx(place.folder / "chain", place.installed)
    of.mount_rootfs()
    config = of.bundle.config.read_bytes()
    libraries = of.folder / LIBRARIES

    def work(commands: list[Command]) -> Callable[[], float]:
        return lambda: sum(command() for command in commands)

    return [
        Side(
            name, work(list(hook_commands(of, name))),
            before=of.fresh(config, libraries), check=lambda: check_links(of.bundle),
        )
        for name in of.contestants
    ]


def hook(place: Place) -> list[Side]:
    """create-symlinks with one link, as a program."""
    of = node.Node(place.folder / "hook", place.installed, "")
    state = hook_state(of)
    config = of.bundle.config.read_bytes()
    programs = hook_programs(place)

    def check() -> None:
        (of.bundle.rootfs / "usr/lib/libx.so").readlink()

    words = ["create-symlinks", "--link", "libx.so.1::/usr/lib/libx.so"]
    return [
        Side(
            name, Command([str(programs[name]), *words], {}, stdin=state),
            before=of.fresh(config), check=check,
        )
        for name in of.contestants
    ]


def memory(place: Place) -> list[Side]:
    """Everything each contestant starts for a create; the low-level runtime is not counted.

    An empty program stands in for runc, which is the same size for all and larger than most.
    """
    of = node.dgx(place.folder / "memory", place.installed)
    of.mount_rootfs()
    config = of.bundle.config.read_bytes()
    processes = {name: list(hook_commands(of, name)) for name in of.contestants}
    empty = os.path.realpath("/bin/true")
    shim = node.Node(place.folder / "memory-create", place.installed, "nvidia.com/gpu=all", empty)
    (shim.specs / "nvidia.yaml").write_bytes((of.specs / "nvidia.yaml").read_bytes())
    asking = shim.bundle.config.read_bytes()

    def before() -> None:
        shim.bundle.config.write_bytes(asking)
        of.fresh(config, of.folder / LIBRARIES)()

    return [
        MemorySide(
            name,
            Metered([Command(shim.create(one), one.environment), *processes[name]]),
            before,
        )
        for name, one in shim.contestants.items()
    ]


CASES = {
    **{
        words[0]: Case(
            lambda place, words=words: pass_through(place, *words), 150,  # type: ignore[misc]
            (Row(words[0], f"{words[0]} (pass-through)", 0.4),),
        )
        for words in (("state", "nobody"), ("start", "nobody"), ("kill", "nobody", "9"),
                      ("delete", "nobody"))
    },
    "create": Case(create, 60, (
        Row("create", "create, DGX A100, all, six hooks", 0.5),
        Row("cpu", "user+system CPU of that create", 0.6, "cpu"),
    )),
    "life": Case(life, 30, (Row("life", "create, start, wait, delete", 0.5),)),
    "claims-56": Case(
        lambda place: with_claims(place, 56), 30,
        (Row("claims-56", "create, 56 claim specs", 0.25),),
    ),
    "claims-1000": Case(
        lambda place: with_claims(place, 1000), 15,
        (Row("claims-1000", "create, 1,000 claim specs", 0.015),),
    ),
    "chain": Case(chain, 60, (Row("chain", "six hooks, as programs", 0.4),)),
    "hook": Case(hook, 100, (Row("hook", "one hook, as a program", 2.2),)),
    "memory": Case(memory, 5, (Row("memory", "peak memory, MiB", 1.0, "peak"),)),
}
