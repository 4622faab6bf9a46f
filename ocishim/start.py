"""The first lines of Python in `pyshim`: what the launcher passed, and undoing what CPython did."""

from __future__ import annotations

import sys

from ocishim import posixos as os


def run(argv: list[str]) -> None:
    """Take the launcher's arguments: [script, launcher, stat, NAME=value..., "", arguments...].

    stat: the shell's line of /proc/PID/stat, "" when there was none: CPython ignores signals, and
    only a process before it can tell which ones the caller had ignored. NAME=value: variables
    that Python was started without, for the low-level runtime; LC_ALL is the launcher's if it is
    not among them.
    """
    launcher, stat = argv[1:3]
    end = argv.index("", 3)
    os.setenv("LC_ALL", None)
    for variable in argv[3:end]:
        name, _, value = variable.partition("=")
        os.setenv(name, value)
    _die_of_interrupts()
    from ocishim.entry import main  # noqa: PLC0415 - after the environment is right

    sys.exit(main(launcher, argv[end + 1 :], ignored_signals(stat)))


def ignored_signals(stat: str) -> int:
    """Return the mask of ignored signals from a line of /proc/PID/stat (proc(5), field 33)."""
    fields = stat.rpartition(")")[2].split()  # the second field, a name, may hold anything
    return int(fields[30]) if len(fields) > 30 else 0


def _die_of_interrupts() -> None:
    """Let SIGINT end the process as it ends the runtimes: no traceback in a container's output."""
    from _signal import (  # type: ignore[import-not-found]  # noqa: PLC0415
        SIG_DFL,
        SIGINT,
        default_int_handler,
        getsignal,
        signal,
    )

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)
