"""What a measurement is made of: a place, sides that take turns, and the rows that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench import paired
from bench.node import BARE, PEER, PYSHIM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.paired import Sample, Side

Result = dict[str, Any]
"""A row of numbers as it goes to JSON: each side's numbers, what is added, `score`."""


class Place(NamedTuple):
    """Where a measurement may put its files, and the folder of the installed file."""

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
            "score": _ratio(adds, "median"),
            "score_of_minima": _ratio(adds, "min"),
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


def _ratio(adds: Mapping[str, Mapping[str, float]], of: str) -> float | None:
    if PEER not in adds or adds[PEER][of] <= 0:
        return None
    return round(adds[PYSHIM][of] / adds[PEER][of], 4)


class Growth(NamedTuple):
    """A line of pyshim's own growth: what `much` takes more than `little`, or how many times it.

    `much` and `little` are sides; `times` says that the goal is a quotient, else it is ms.
    """

    row: Row
    much: str
    little: str = ""
    times: bool = False

    def result(self, samples: Mapping[str, Sequence[Sample]]) -> Result:
        """Return the row's document; its scores are ms or, for `times`, a quotient."""
        values = self.row.series(samples)
        if self.times:
            pairs = zip(values[self.much], values[self.little], strict=True)
            adds = paired.summary([one / base for one, base in pairs])
        elif self.little:
            adds = paired.added(values, self.much, self.little)
        else:
            adds = paired.summary(values[self.much])
        return {
            **self.row.describe(values),
            "kind": "times" if self.times else "ms",
            "baseline": False,
            "adds": {PYSHIM: adds},
            "score": adds["median"],
            "score_of_minima": adds["min"],
        }


class Case(NamedTuple):
    """One measurement."""

    sides: Callable[[Place], list[Side]]
    rounds: int
    rows: tuple[Row | Growth, ...]
