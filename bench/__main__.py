"""`make bench`: what pyshim adds to the bare low-level runtime, beside the peer; JSON in bench/out.

Usage: python -m bench [--rounds N] [--compare OLD.json] [--curves] [CASE...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import cases, curves, node, paired, report
from tools.lab import namespace

NO_PEER = """\
bench: the peer is not in peers/; pyshim's own numbers only. To compare: make peers
"""


def main() -> int:
    """Measure the cases named, or all; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases.CASES))
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="an earlier result")
    parser.add_argument("--curves", action="store_true", help="how the costs grow, with a plot")
    chosen = parser.parse_args()
    names = chosen.cases or list(cases.CASES)
    if unknown := set(names) - set(cases.CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("needs root, for device nodes and containers: sudo make bench")
    if not node.has_peer():
        sys.stderr.write(NO_PEER)
    namespace.enter()
    namespace.adopt_orphans()
    cores = paired.pin()
    # /run is a tmpfs of our own: what cannot be removed, mounts, dies with this process.
    with tempfile.TemporaryDirectory(
        prefix="pyshim-bench-", dir="/run", ignore_cleanup_errors=True,
    ) as folder:
        place = cases.Place(Path(folder), node.install(Path(folder)))
        if chosen.curves:
            return curves.main(place, cores, chosen.rounds)
        rows = [row for name in names for row in measure(name, place, chosen.rounds)]
    report.ratios(rows)
    if chosen.compare:
        report.compare(rows, chosen.compare)
    print(f"\nwritten: {report.write('bench', rows, cores)}")
    return 0


def measure(name: str, place: cases.Place, rounds: int | None) -> list[report.Result]:
    """Measure one case and print its rows."""
    case = cases.CASES[name]
    samples = paired.measure(case.sides(place), rounds or case.rounds)
    rows = [report.result(row, samples) for row in case.rows]
    for row in rows:
        report.show(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
