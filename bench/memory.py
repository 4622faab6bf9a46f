"""Peak memory: programs run under a small parent (meter.py), which tells the largest one's MiB."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from bench.paired import Command, Sample, Side
from ocishim.admin import launchers
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

METER = str(REPOSITORY / "bench/meter.py")


class Metered:
    """Programs run one after another under a small parent; `peak` is the largest's MiB."""

    def __init__(self, commands: list[Command]) -> None:
        self.commands = commands
        self.peak = 0.0

    def __call__(self) -> float:
        """Run them."""
        self.peak = max(map(self._peak, self.commands))
        return 0.0

    @staticmethod
    def _peak(command: Command) -> float:
        meter = [launchers.interpreter(), "-I", "-S", METER, command.stdin, command.program]
        done = subprocess.run(
            [*meter, *command.argv[1:]], env=command.environment, check=True,
            stdout=subprocess.PIPE,
        )
        return int(done.stdout) / 1024


class MemorySide(Side):
    """A side whose number is the peak of its largest process."""

    def __init__(self, name: str, work: Metered, before: Callable[[], None]) -> None:
        super().__init__(name, work, before=before)
        self.metered = work

    def run(self, *, checked: bool = False) -> Sample:
        """Run once."""
        del checked
        self.before()
        self.metered()
        return Sample(0.0, peak=self.metered.peak)
