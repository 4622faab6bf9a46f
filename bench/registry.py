"""pyshim's own growth with a node's claims: the whole of `create` in front of an empty program.

1, 56 and 1,000 claims warm, one of 1,000 changed, all cold, and 1 of 10,000 devices in one file.
Bundle, specs and caches lie on tmpfs, as /run does. Leaves the peer to creates.py.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from bench import claims, creates, node
from bench.case import Case, Growth, Place, Row
from bench.memory import EMPTY, metered
from bench.paired import Command, Sample, Side, reap

if TYPE_CHECKING:
    from pathlib import Path

    from bench.paired import Work

COLD_ROUNDS = 3
SETTLED = 0.05  # seconds until a change time is older than the clock's tick
ONE, SOME, MANY = "1 claim", "56 claims", "1,000 claims"
CHANGED, COLD, OF_MANY = "1,000 claims, one changed", "1,000 claims, cold", "1 of 10,000 devices"


class ClaimSide(Side):
    """pyshim on a node; measures the memory, too: each run is two."""

    def __init__(self, title: str, of: node.Node, before: Work) -> None:
        one = of.contestants[node.PYSHIM]
        asking = of.bundle.config.read_bytes()
        self.command = Command(of.create(one), one.environment)

        def prepare() -> None:
            of.bundle.config.write_bytes(asking)
            before()

        super().__init__(title, self.command, before=prepare)

    def run(self, *, checked: bool = False) -> Sample:
        """Run once on the clock and once under the meter."""
        sample = super().run(checked=checked)
        self.before()
        peak = metered(self.command)
        reap()
        return sample._replace(peak=peak)


def _change(of: node.Node) -> Work:
    """Return what changes one claim of many, another one than the container's."""
    number = 0

    def change() -> None:
        nonlocal number
        number += 1
        text = claims.spec_text([f"{claims.uid(0)}-gpu-0"], root=f"{of.folder}/driver", hooks=False)
        claims.write(str(of.specs), claims.file_name(0), f"{text}# {number}\n")
        time.sleep(SETTLED)

    return change


def _forget(of: node.Node) -> Work:
    """Return what loses the compiled specs."""
    cache = of.contestants[node.PYSHIM].environment["PYSHIM_CACHE_DIR"]
    return lambda: shutil.rmtree(cache, ignore_errors=True)


def _many_devices(place: Place) -> node.Node:
    folder: Path = place.folder / "devices"
    of = node.Node(folder, place.installed, f"{claims.KIND}=gpu-9000", EMPTY)
    names = [f"gpu-{number}" for number in range(10_000)]
    text = claims.spec_text(names, root=f"{folder}/driver", hooks=False)
    claims.write(str(of.specs), "many.yaml", text)
    claims.make_root(f"{folder}/driver")
    return of


def _nothing() -> None:
    pass


def warm(place: Place) -> list[Side]:
    """Nodes whose specs are compiled; on one of them a claim changes before each run."""
    nodes = {
        title: creates.claim_node(place, count, EMPTY)
        for title, count in ((ONE, 1), (SOME, 56), (MANY, 1000))
    }
    changing = place._replace(folder=place.folder / "changing")
    nodes[CHANGED] = creates.claim_node(changing, 1000, EMPTY)
    nodes[OF_MANY] = _many_devices(place)
    time.sleep(SETTLED)
    return [
        ClaimSide(title, of, _change(of) if title == CHANGED else _nothing)
        for title, of in nodes.items()
    ]


def cold(place: Place) -> list[Side]:
    """Nothing compiled: each spec file is parsed, as after a boot."""
    of = creates.claim_node(place, 1000, EMPTY)
    time.sleep(SETTLED)
    return [ClaimSide(COLD, of, _forget(of))]


CASES = {
    "registry": Case(
        warm,
        15,
        (
            Growth(Row("more-56", "56 claims, more than one", None), SOME, ONE),
            Growth(Row("more-1000", "1,000 claims, more than one", 5), MANY, ONE),
            Growth(Row("changed", "one of 1,000 changed, more than one claim", 15), CHANGED, ONE),
            Growth(Row("devices", "1 of 10,000 devices, more than one claim", None), OF_MANY, ONE),
            Growth(
                Row("claims-memory", "memory, 1,000 claims / one", 1.3, "peak"),
                MANY,
                ONE,
                times=True,
            ),
        ),
    ),
    "cold": Case(
        cold, COLD_ROUNDS, (Growth(Row("cold", "create, 1,000 claims, cold", None), COLD),)
    ),
}
"""The rows of the registry; what has no goal is only told."""
