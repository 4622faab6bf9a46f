"""`make bench`: what pyshim adds to the bare low-level runtime, beside the peer; JSON in bench/out.

Usage: python -m bench [--rounds N] [--compare OLD.json] [CASE...]
       python -m bench --curves | --budget [--rounds N]
       python -m bench --write-docs
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import budget, cases, curves, document, leftovers, node, paired, report
from bench.case import Place
from tools.lab import namespace

NO_PEER = """\
bench: the peer is not in peers/; pyshim's own numbers only. To compare: make peers
"""


def arguments() -> argparse.Namespace:
    """Read the command line; ends the program for a wrong one."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases.CASES))
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="an earlier result")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--curves", action="store_true", help="how the costs grow, with a plot")
    what.add_argument("--budget", action="store_true", help="what the milliseconds are made of")
    what.add_argument(
        "--write-docs",
        action="store_true",
        help="put the last results into docs/performance.md",
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.cases) - set(cases.CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if chosen.compare and not chosen.compare.exists():
        parser.error(f"no such file: {chosen.compare}")
    if not chosen.write_docs and not node.FILE.exists():
        parser.error(f"{node.FILE} is not there: make binary")
    if os.geteuid() != 0 and not chosen.write_docs:
        parser.error("needs root, for device nodes and containers: sudo make bench")
    return chosen


def main() -> int:
    """Measure what was asked for; return the exit status."""
    chosen = arguments()
    if chosen.write_docs:
        return document.main()
    if not node.has_peer():
        sys.stderr.write(NO_PEER)
    leftovers.end_in_order()
    namespace.enter()
    namespace.adopt_orphans()
    facts = paired.pin()
    # /run is a tmpfs of our own: what cannot be removed, mounts, dies with this process.
    with tempfile.TemporaryDirectory(
        prefix="pyshim-bench-",
        dir="/run",
        ignore_cleanup_errors=True,
    ) as folder:
        try:
            return measure(chosen, Place(Path(folder), node.install(Path(folder))), facts)
        finally:
            leftovers.clear(node.TOKEN)


def measure(chosen: argparse.Namespace, place: Place, facts: dict[str, object]) -> int:
    """Measure, print, write; return the exit status."""
    others = {"curves": curves.main, "budget": budget.main}
    for name, main_of in others.items():
        if getattr(chosen, name):
            return main_of(place, facts, chosen.rounds)
    rows = []
    for name in chosen.cases or cases.CASES:
        case = cases.CASES[name]
        here = place._replace(folder=place.folder / name)
        samples = paired.measure(case.sides(here), chosen.rounds or case.rounds)
        mine = [row.result(samples) for row in case.rows]
        report.show(mine)
        rows += mine
    report.goals(rows)
    if chosen.compare:
        report.compare(rows, chosen.compare)
    # The documents show the whole table only.
    print(f"written: {report.write('some' if chosen.cases else 'bench', rows, facts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
