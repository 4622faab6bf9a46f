"""A machine in namespaces of its own: process 1 is a child of unshare(1), and all ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


class Machine:
    """What runs below `process`, an unshare(1) with --fork and --kill-child."""

    process: subprocess.Popen[bytes]
    environment: tuple[str, ...] = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin",)
    """All that a program run there gets."""

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` there as root."""
        there = ("nsenter", "--target", str(self.init()), "--all", "--root", "--wd", "--")
        return [*there, "env", "-i", *self.environment, *argv]

    def init(self) -> int:
        """Return the process id of its process 1, which unshare is about to start."""
        pid = self.process.pid
        while self.process.poll() is None:
            if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(children[0])
            time.sleep(0.01)
        raise ChildProcessError(f"unshare: exit status {self.process.returncode}")

    def end(self) -> None:
        """Kill its process 1, and everything with it."""
        with contextlib.suppress(ChildProcessError):  # it could not be started
            os.kill(self.init(), signal.SIGKILL)
        self.process.wait(60)
