"""Paired measurements: sides that take turns, so that a busy machine is unfair to all alike.

Knows processes and numbers only; what is measured is node.py's business.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WARM_UP = 3


class Side:
    """One side of a comparison: a command, what must be ready before it, what to clear after.

    `before` and `after` are not timed. `status` is the exit status the command must have.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
        status: int = 0,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.environment = dict(environment)
        self.before = before
        self.after = after
        self.status = status

    def run(self) -> float:
        """Run the command once; return its milliseconds from start to end."""
        self.before()
        try:
            return self._timed()
        finally:
            self.after()

    def _timed(self) -> float:
        null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
        begin = time.perf_counter()
        pid = os.posix_spawn(self.argv[0], self.argv, self.environment, file_actions=null)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took = (time.perf_counter() - begin) * 1000
        if status != self.status:
            raise RuntimeError(f"{self.name}: {' '.join(self.argv)}: exit status {status}")
        return took


def measure(sides: Sequence[Side], rounds: int) -> dict[str, list[float]]:
    """Let all sides run once a round, each round beginning with the next one; return their ms."""
    for side in sides:
        for _ in range(WARM_UP):
            side.run()
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            times[side.name].append(side.run())
    return times


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and the middle half's ends, in ms."""
    low, median, high = statistics.quantiles(times, n=4)
    numbers = {"median": median, "min": min(times), "quarter": low, "three_quarters": high}
    return {name: round(number, 3) for name, number in numbers.items()}


def added(times: Mapping[str, Sequence[float]], name: str, base: str) -> dict[str, float]:
    """Return the summary of what `name` took more than `base`, pair by pair."""
    return summary([a - b for a, b in zip(times[name], times[base], strict=True)])
