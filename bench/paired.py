"""Paired measurements: sides that take turns, so that a busy machine is unfair to all alike.

Knows processes and numbers only; what is measured is for cases.py and curves.py to say.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WARM_UP = 3
CORES = 2
Series = dict[str, list[float]]


class Sample(NamedTuple):
    """What one run took: ms on the clock, ms of user and system CPU, MiB of the largest process."""

    wall: float
    cpu: float = 0.0
    peak: float = 0.0


class Command:
    """A program to run to its end, its three descriptors elsewhere. Calling it returns its CPU ms.

    `status` is the exit status it must have; `stdin` the file it reads.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *,
        program: str = "", stdin: str = "/dev/null", status: int = 0,
    ) -> None:
        self.argv = list(argv)
        self.program = program or self.argv[0]
        self.environment = dict(environment)
        self.stdin = stdin
        self.status = status

    def start(self) -> int:
        """Start it and return its process id."""
        null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (1, 2)]
        actions = [(os.POSIX_SPAWN_OPEN, 0, self.stdin, os.O_RDONLY, 0), *null]
        return os.posix_spawn(self.program, self.argv, self.environment, file_actions=actions)

    def wait(self, pid: int) -> float:
        """Wait for the process; return the CPU ms of it and of all it waited for."""
        _, status, usage = os.wait4(pid, 0)
        if os.waitstatus_to_exitcode(status) != self.status:
            code = os.waitstatus_to_exitcode(status)
            raise RuntimeError(f"{' '.join(self.argv)}: exit status {code}")
        return (usage.ru_utime + usage.ru_stime) * 1000

    def __call__(self) -> float:
        """Run it."""
        return self.wait(self.start())


class Side:
    """One side of a comparison: what is timed, what must be ready before, what to clear after.

    `work` and `after` return CPU ms; `before` and `after` are not on the clock. `check` looks
    once, after a warm-up run, whether the work was done at all.
    """

    def __init__(
        self, name: str, work: Callable[[], float], *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], float] = lambda: 0.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.work = work
        self.before = before
        self.after = after
        self.check = check

    def run(self, *, checked: bool = False) -> Sample:
        """Run once."""
        self.before()
        begin = time.perf_counter()
        cpu = self.work()
        took = (time.perf_counter() - begin) * 1000
        if checked:
            self.check()
        return Sample(took, cpu + self.after())


def pin() -> list[int]:
    """Keep this process and all it starts on the last CORES cores; return them.

    Two, since runc and Go's programs run several threads at once: on one core they would queue.
    """
    cores = sorted(os.sched_getaffinity(0))[-CORES:]
    os.sched_setaffinity(0, cores)
    return cores


def measure(
    sides: Sequence[Side], rounds: int, warm_up: int = WARM_UP,
) -> dict[str, list[Sample]]:
    """Let all sides run once a round, each round beginning with the next one."""
    for side in sides:
        for number in range(warm_up):
            side.run(checked=number == warm_up - 1)
    samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for number in range(rounds):
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            samples[side.name].append(side.run())
    return samples


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and the middle half's ends."""
    ordered = sorted(values)
    low, median, high = (
        statistics.quantiles(ordered, n=4) if len(ordered) > 1 else (ordered[0],) * 3
    )
    numbers = {"median": median, "min": ordered[0], "quarter": low, "three_quarters": high}
    return {name: round(number, 3) for name, number in numbers.items()}


def added(values: Series, name: str, base: str) -> dict[str, float]:
    """Return the summary of what `name` took more than `base`, pair by pair.

    Its "min" is the difference of the two minima: a least difference of pairs would only say
    how unlucky `base` was once.
    """
    pairs = zip(values[name], values[base], strict=True)
    numbers = summary([a - b for a, b in pairs])
    return {**numbers, "min": round(min(values[name]) - min(values[base]), 3)}
