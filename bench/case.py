"""What a measurement is made of: a place, sides that take turns, and the rows that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench import paired
from bench.node import BARE, INSTALLED, PEER, PYSHIM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.paired import Sample, Side

OURS = (PYSHIM, INSTALLED)
Result = dict[str, Any]
"""A row of numbers as it goes to JSON: each side's numbers, what is added, `score` by side."""


class Place(NamedTuple):
    """Where a measurement may put its files, and the programs of an installed pyshim."""

    folder: Path
    installed: Path


class Row(NamedTuple):
    """A line of the table of goals; `of` picks "wall" (ms), "cpu" (ms) or "peak" (MiB) of a run."""

    name: str
    title: str
    goal: float | None
    of: str = "wall"

    def series(self, samples: Mapping[str, Sequence[Sample]]) -> paired.Series:
        """Return this row's numbers of each run, by side."""
        return {
            side: [float(getattr(sample, self.of)) for sample in taken]
            for side, taken in samples.items()
        }

    def result(self, samples: Mapping[str, Sequence[Sample]]) -> Result:
        """Return the row's document: what each side adds to the bare runtime, pyshim / peer."""
        values = self.series(samples)
        others = [side for side in values if side != BARE]
        adds = {
            side: paired.added(values, side, BARE)
            if BARE in values
            else paired.summary(values[side])
            for side in others
        }
        return {
            **self.describe(values),
            "kind": "peer",
            "baseline": BARE in values,
            "adds": adds,
            "score": {side: _ratio(adds, side, "median") for side in OURS if side in adds},
            "score_of_minima": {side: _ratio(adds, side, "min") for side in OURS if side in adds},
        }

    def describe(self, values: paired.Series) -> Result:
        """Return the part of the document that all kinds of rows have."""
        return {
            "name": self.name,
            "title": self.title,
            "goal": self.goal,
            "of": self.of,
            "rounds": len(next(iter(values.values()))),
            "sides": {side: paired.summary(taken) for side, taken in values.items()},
            "values": {side: [round(one, 4) for one in taken] for side, taken in values.items()},
        }


def _ratio(adds: Mapping[str, Mapping[str, float]], side: str, of: str) -> float | None:
    if PEER not in adds or adds[PEER][of] <= 0:
        return None
    return round(adds[side][of] / adds[PEER][of], 4)


class Growth(NamedTuple):
    """A line of pyshim's own growth: what `much` takes more than `little`, or how many times it.

    Sides are called "PROGRAM: much"; `times` says that the goal is a quotient, else it is ms.
    """

    row: Row
    much: str
    little: str = ""
    times: bool = False

    def result(self, samples: Mapping[str, Sequence[Sample]]) -> Result:
        """Return the row's document; its scores are ms or, for `times`, a quotient."""
        values = self.row.series(samples)
        adds, least = {}, {}
        for side in OURS:
            much, little = f"{side}: {self.much}", f"{side}: {self.little}"
            if self.times:
                pairs = zip(values[much], values[little], strict=True)
                adds[side] = paired.summary([one / base for one, base in pairs])
            elif self.little:
                adds[side] = paired.added(values, much, little)
            else:
                adds[side] = paired.summary(values[much])
            least[side] = adds[side]["min"]
        return {
            **self.row.describe(values),
            "kind": "times" if self.times else "ms",
            "baseline": False,
            "adds": adds,
            "score": {side: adds[side]["median"] for side in OURS},
            "score_of_minima": least,
        }


class Case(NamedTuple):
    """One measurement."""

    sides: Callable[[Place], list[Side]]
    rounds: int
    rows: tuple[Row | Growth, ...]
