"""`pyshim` by an ordinary interpreter: from a clone, or as pip installed it.

The static file starts by binary/'s. This is slower, reads PYTHONPATH and the loader's variables
like any Python program, and cannot know whether the caller ignored SIGPIPE or SIGXFSZ: the
low-level runtime gets their default actions.
"""

from __future__ import annotations

import os
import sys

from ocishim import posixos

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def pyshim() -> NoReturn:
    """Run the command line of this process."""
    posixos.die_of_interrupts()
    restore_locale()
    from ocishim.create.entry import main  # noqa: PLC0415 - after the environment is right

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
