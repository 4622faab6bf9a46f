"""Print tables.c: the words that the C side shares with the Python side, from where they are kept.

Usage: PYTHONPATH=REPOSITORY python3 binary/tables.py >tables.c
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from ocishim.create import argv
from ocishim.lowlevel import lowlevel
from ocishim.settings import defaults


def _list(name: str, words: Iterable[str]) -> str:
    rows = "".join(f"    {json.dumps(word)},\n" for word in words)
    return f"const char *const {name}[] = {{\n{rows}    0,\n}};\n"


def _text(name: str, value: str) -> str:
    return f"const char {name}[] = {json.dumps(value)};\n"


def main() -> None:
    """Write the file to standard output."""
    sys.stdout.write(
        '#include "tables.h"\n\n'
        + _list("commands", sorted(argv.COMMANDS))
        + _list("edited", argv.EDITED)
        + _list("valued", sorted(argv.VALUED))
        + _list("switches", sorted(argv.SWITCHES))
        + _list("default_runtimes", defaults.DEFAULTS["runtimes"])
        + _text("default_config", defaults.DEFAULT_PATH)
        + _text("usual_dirs", ":".join(lowlevel.USUAL_DIRS))
    )


if __name__ == "__main__":
    main()
