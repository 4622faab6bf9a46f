"""`pyshim` by an ordinary interpreter: from a clone, or as pip installed it.

Slower than the static file, whose start is binary/'s, and for its interpreter's upgrades: it reads
PYTHONPATH and the loader's variables like any Python program, and cannot know whether the caller
ignored SIGPIPE or SIGXFSZ, which the low-level runtime gets with their default actions.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def pyshim() -> NoReturn:
    """Run the command line of this process."""
    die_of_interrupts()
    restore_locale()
    from ocishim.entry import main  # noqa: PLC0415 - after the environment is right

    sys.exit(main(os.path.abspath(sys.argv[0]), sys.argv[1:]))


def restore_locale() -> None:
    """Give LC_CTYPE back its value, which CPython replaces in the C locale (PEP 538).

    What it was stands in /proc/PID/environ (proc(5)); without that the replaced value stays.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return
    name = b"LC_CTYPE="
    before = next((entry for entry in entries if entry.startswith(name)), None)
    if before is None:
        os.environ.pop("LC_CTYPE", None)
    else:
        os.environb[b"LC_CTYPE"] = before.removeprefix(name)


def die_of_interrupts() -> None:
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
