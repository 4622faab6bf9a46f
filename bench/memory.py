"""Peak memory: the largest process of a create that is not the low-level runtime itself.

Looked at twice, the larger counts. Each program alone, run by a small parent (meter.c), which is
exact; and all processes of a real create while it runs, as fast as /proc can be read, which also
finds those that no command line shows. VmHWM never falls, so a look is late by its own 0.3 ms.
"""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

from bench import hookprograms, node, report
from bench.paired import Command, Sample, Side
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.case import Place
    from bench.paired import Work

METER = REPOSITORY / "bench/meter.c"
EMPTY = os.path.realpath("/bin/true")


@functools.cache
def meter() -> str:
    """Compile the meter; return its path."""
    program = report.OUT / "meter"
    report.OUT.mkdir(exist_ok=True)
    words = ["gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(METER)]
    subprocess.run(words, check=True)
    return str(program)


def metered(command: Command) -> float:
    """Run `command` under the meter; return the MiB of its largest process."""
    done = subprocess.run(
        [meter(), command.stdin, command.program, *command.argv[1:]],
        env=command.environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    return int(done.stdout) / 1024


def watched(command: Command, runtime: str) -> float:
    """Run `command`; return the MiB of the largest process seen that is not `runtime`."""
    pid, peak = command.start(), 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max([peak, *(_peak(one, runtime) for one in _below(os.getpid()))])
    command.wait(pid)
    return peak


def _below(pid: int) -> Iterator[int]:
    """Yield the descendants of `pid`."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            children = [int(child) for child in file.read().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from _below(child)


def _peak(pid: int, runtime: str) -> float:
    """Return the peak of `pid` in MiB; 0 for `runtime`, for its copy in a memfd, for what is gone.

    The program is looked at before and after: a shim becomes the runtime at any moment. The name
    is looked at, too: the link tells nothing once runc's init has another root.
    """
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            facts = dict(line.split(":", 1) for line in file)
        if os.readlink(f"/proc/{pid}/exe") != program:
            return 0.0
    except OSError:
        return 0.0
    name = os.path.basename(runtime)
    if name in facts["Name"] or name in os.path.basename(program) or "VmHWM" not in facts:
        return 0.0
    return int(facts["VmHWM"].split()[0]) / 1024


class MemorySide(Side):
    """One contestant: each of its programs alone, then a create as the engine asks for it."""

    def __init__(
        self,
        name: str,
        alone: Sequence[Command],
        whole: Command,
        of: node.Node,
        asking: Work,
    ) -> None:
        config = of.bundle.config.read_bytes()
        fresh = of.fresh(config, of.folder / hookprograms.LIBRARIES)

        def before() -> None:
            fresh()
            asking()

        super().__init__(name, whole, before=before, finish=of.stop, after=of.delete)
        self.alone = alone
        self.whole = whole
        self.runtime = of.lowlevel

    def run(self, *, checked: bool = False) -> Sample:
        """Run once; the time is no result."""
        del checked
        self.before()
        peaks = [metered(command) for command in self.alone]
        self.before()
        peaks.append(watched(self.whole, self.runtime))
        self.finish()
        self.after()
        return Sample(0.0, peak=max(peaks))


def memory(place: Place) -> list[Side]:
    """Everything each contestant starts for a create of nvidia-dgx-a100.yaml, all devices."""
    of = node.dgx(place.folder / "memory", place.installed)
    of.mount_rootfs()
    shim = node.Node(place.folder / "memory-create", place.installed, "nvidia.com/gpu=all", EMPTY)
    (shim.specs / "nvidia.yaml").write_bytes((of.specs / "nvidia.yaml").read_bytes())
    hooks = {name: list(hookprograms.commands(of, name)) for name in of.contestants}
    creates = {
        name: Command(shim.create(one), one.environment) for name, one in shim.contestants.items()
    }
    shim_config = shim.bundle.config.read_bytes()

    def asking() -> None:
        shim.bundle.config.write_bytes(shim_config)

    return [
        MemorySide(
            name,
            [creates[name], *hooks[name]],
            Command(of.create(one), one.environment),
            of,
            asking,
        )
        for name, one in of.contestants.items()
    ]
