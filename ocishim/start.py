"""The first lines of Python in `pyshim`: what the launcher passed, and undoing what CPython did."""

from __future__ import annotations

import os
import sys


def run(argv: list[str]) -> None:
    """Take the launcher's arguments: [script, launcher, LC_CTYPE as it was, arguments...].

    The third is "" when LC_CTYPE was unset, else "=" and its value: CPython sets the variable in
    a C locale (PEP 538), and the low-level runtime must not see that.
    """
    launcher, lc_ctype = argv[1], argv[2]
    if lc_ctype:
        os.environ["LC_CTYPE"] = lc_ctype[1:]
    else:
        os.environ.pop("LC_CTYPE", None)
    from ocishim.entry import main  # noqa: PLC0415 - after the environment is right

    sys.exit(main(launcher, argv[3:]))
