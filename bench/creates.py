"""Measurements with the shim in front: pass-through, create, life, claims, parallel creates.

Each function returns the sides of one measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import claims, node
from bench.node import BARE
from bench.paired import Command, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.case import Place
    from tools.lab.bundle import Bundle


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
        BARE,
        Command(of.create(of.bare), of.bare.environment),
        before=of.rested(merged),
        finish=of.stop,
        after=of.delete,
    )
    others = [
        Side(
            name,
            Command(of.create(one), one.environment),
            before=of.rested(asking),
            finish=of.stop,
            after=of.delete,
            check=check,
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

    def work(commands: list[Command]) -> Callable[[], None]:
        def run() -> None:
            commands[0]()
            commands[1]()
            of.wait()
            commands[2]()

        return run

    return [
        Side(
            name,
            work(
                [
                    Command(words, one.environment)
                    for words in (
                        of.create(one),
                        one.argv("start", of.container),
                        one.argv("delete", of.container),
                    )
                ]
            ),
            before=of.rested(merged if name == BARE else asking),
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


def parallel(place: Place, count: int) -> list[Side]:
    """Creates at the same time, each container from a bundle of its own; ms until the last one."""
    of = node.dgx(place.folder / "parallel", place.installed)
    asking, merged = of.bundle.config.read_bytes(), of.merged()
    crowd = [of.sibling(number) for number in range(count)]

    def before(config: bytes) -> Callable[[], None]:
        def prepare() -> None:
            for one in crowd:
                one.fresh(config.replace(of.container.encode(), one.container.encode()))()

        return prepare

    def work(name: str) -> Callable[[], None]:
        def run() -> None:
            everybody = [(one, {BARE: one.bare, **one.contestants}[name]) for one in crowd]
            commands = [Command(one.create(by), by.environment) for one, by in everybody]
            started = [(command, command.start()) for command in commands]
            for command, pid in started:
                command.wait(pid)

        return run

    def everyone(method: Callable[[node.Node], None]) -> Callable[[], None]:
        def run() -> None:
            for one in crowd:
                method(one)

        return run

    return [
        Side(
            name,
            work(name),
            before=before(merged if name == BARE else asking),
            finish=everyone(node.Node.stop),
            after=everyone(node.Node.delete),
        )
        for name in (BARE, *of.contestants)
    ]
