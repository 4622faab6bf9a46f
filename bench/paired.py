"""Paired measurements: sides that take turns, so that a busy machine is unfair to all alike.

Knows processes and numbers only; what is measured is for the cases and curves to say.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Work = Callable[[], object]

WARM_UP = 3
CORES = 2
NICE = -15
STRAGGLER = 5.0  # seconds until a process that is still there is called left behind
Series = dict[str, list[float]]


class Sample(NamedTuple):
    """What one run took: ms on the clock, ms of user and system CPU, MiB of the largest process."""

    wall: float
    cpu: float = 0.0
    peak: float = 0.0


class Command:
    """A program to run to its end, its three descriptors elsewhere.

    `status` is the exit status it must have; `stdin` the file it reads.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        program: str = "",
        stdin: str = "/dev/null",
        status: int = 0,
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

    def wait(self, pid: int) -> None:
        """Wait for the process; RuntimeError for another exit status than `status`."""
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != self.status:
            raise RuntimeError(f"{' '.join(self.argv)}: exit status {code}")

    def __call__(self) -> None:
        """Run it."""
        self.wait(self.start())


def _nothing() -> None:
    pass


class Side:
    """One side of a comparison: what is timed, what must be ready before, what to clear after.

    Only `work` is on the clock. The CPU is that of every process that `work` started, whoever
    waited for it: `finish` ends those that are still there (a container's process with its hooks).
    `check` looks once, after a warm-up run, whether the work was done at all.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        before: Work = _nothing,
        finish: Work = _nothing,
        after: Work = _nothing,
        check: Work = _nothing,
    ) -> None:
        self.name = name
        self.work = work
        self.before = before
        self.finish = finish
        self.after = after
        self.check = check

    def run(self, *, checked: bool = False) -> Sample:
        """Run once."""
        self.before()
        cpu = _children()
        begin = time.perf_counter()
        self.work()
        took = (time.perf_counter() - begin) * 1000
        if checked:
            self.check()
        self.finish()
        reap()
        cpu = _children() - cpu
        self.after()
        return Sample(took, cpu)


def _children() -> float:
    """Return the CPU ms of all processes waited for, theirs included (getrusage(2))."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def reap() -> None:
    """Wait for every process that is left, orphans we adopted; RuntimeError when one stays."""
    deadline = time.monotonic() + STRAGGLER
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid and time.monotonic() > deadline:
            raise RuntimeError(f"a process was left behind: {_children_of(os.getpid())}")
        if not pid:
            time.sleep(0.0005)


def _children_of(pid: int) -> str:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().strip()


def pin() -> dict[str, object]:
    """Keep this process and all it starts on the last CORES cores, first in line; return facts.

    Two, since runc and Go's programs run several threads at once: on one core they would queue.
    No realtime class: where the kernel counts that by group, runc's control groups refuse it.
    """
    cores = sorted(os.sched_getaffinity(0))[-CORES:]
    os.sched_setaffinity(0, cores)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    try:  # sched(7): where sessions share the machine evenly, that of processes counts inside one
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write(str(NICE))
    except OSError:  # a kernel without
        pass
    return {"pinned": cores, "nice": NICE}


def turns(count: int, number: int) -> list[int]:
    """Return the order of round `number`: each side begins in turn, and meets both neighbours."""
    first = number % count
    order = [*range(first, count), *range(first)]
    return order[::-1] if number // count % 2 else order


def measure(
    sides: Sequence[Side],
    rounds: int,
    warm_up: int = WARM_UP,
) -> dict[str, list[Sample]]:
    """Let all sides run once a round, each round in another order."""
    for side in sides:
        for number in range(warm_up):
            side.run(checked=number == warm_up - 1)
    samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for turn in turns(len(sides), number):
            samples[sides[turn].name].append(sides[turn].run())
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
