"""What a benchmark that was cut short has left: processes and control groups; ends them, says so.

Mounts and files are no business of this module: they are in the benchmark's own mount namespace.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from tools.lab import leaks

if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def clear(token: str) -> None:
    """Kill every descendant of ours, remove the control groups with `token` in their names."""
    found = leaks.processes()
    while running := leaks.processes():
        for line in running:
            _kill(int(line.split()[1]))
        time.sleep(0.01)
    groups = sorted(leaks.cgroups(token), key=len, reverse=True)  # the inner ones first
    for group in groups:
        _remove(group.partition(" ")[2])
    for line in sorted((*found, *groups)):
        print(f"bench: cleared {line}", file=sys.stderr)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _remove(folder: str) -> None:
    for _ in range(100):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:  # EBUSY until the kernel has taken the processes out
            time.sleep(0.01)
        else:
            return


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP end this process as an exception does, so that clear() is reached."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
