#!/usr/bin/env python3
"""A runtime that is wrong in one way: mutant.py NAME GOOD-RUNTIME ARGUMENTS...

Without arguments, the names and what must catch each. See check_mutants.py.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from mutants import bundles, cdi, commands, hooks, images, lives, logs, spec_files, volumes
from mutants.call import ALL, BROKEN, Call

TABLES = (bundles, cdi, commands, hooks, images, lives, logs, spec_files, volumes)


def main(argv: list[str]) -> int:
    """Behave like the good runtime, but for one thing."""
    if len(argv) < 2:
        print("\n".join(f"{each.name}\t{', '.join(each.caught)}" for each in ALL.values()))
        return 0
    call = Call([argv[1]], argv[2:])
    try:
        status = ALL[argv[0]].spoil(call)
    except Exception:
        # Whatever fails on a mutant that is broken proves nothing: check_mutants.py looks here.
        with open(BROKEN, "w", encoding="utf-8"):
            pass
        raise
    if status is None:
        os.execv(argv[1], [argv[1], *call.args])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
