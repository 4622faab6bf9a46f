"""`make bench`: what pyshim adds to the bare low-level runtime, in ms; JSON in bench/out.

Usage: python -m bench [--rounds N] [CASE...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import node, paired
from tools.lab import namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OUT = Path(__file__).parent / "out"


class Case:
    """One row of the table: who competes, how often, and what pyshim may add."""

    def __init__(
        self, title: str, sides: Callable[[node.Node], list[paired.Side]], rounds: int, goal: float,
    ) -> None:
        self.title = title
        self.sides = sides
        self.rounds = rounds
        self.goal = goal


CASES = {
    "state": Case("state (pass-through)", node.state, 200, 1.5),
    "create": Case("create, nvidia-dgx-a100.yaml, all", node.create, 40, 40.0),
}


def main() -> int:
    """Measure the cases named, or all; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    chosen = parser.parse_args()
    names = chosen.cases or list(CASES)
    if unknown := set(names) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("needs root, for device nodes and containers: sudo make bench")
    namespace.enter()
    namespace.adopt_orphans()
    OUT.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="pyshim-bench-") as folder:
            case = CASES[name]
            sides = case.sides(node.Node(Path(folder)))
            times = paired.measure(sides, chosen.rounds or case.rounds)
        report(name, case, times)
    return 0


def report(name: str, case: Case, times: Mapping[str, Sequence[float]]) -> None:
    """Print a case's table and write bench/out/NAME.json."""
    rows = {side: paired.summary(values) for side, values in times.items()}
    for side in list(times)[1:]:
        rows[f"{side} adds"] = paired.added(times, side, node.BARE)
    print(f"{case.title}: {len(times[node.BARE])} rounds")
    print(f"   {'ms':<16}{'median':>9}{'min':>9}   middle half")
    for side, row in rows.items():
        half = f"{row['quarter']:.2f} to {row['three_quarters']:.2f}"
        print(f"   {side:<16}{row['median']:>9.2f}{row['min']:>9.2f}   {half}")
    median = rows[f"{node.PYSHIM} adds"]["median"]
    verdict = "met" if median <= case.goal else "MISSED"
    print(f"   goal: pyshim adds at most {case.goal} ms: {verdict}\n", flush=True)
    document = {
        "case": name, "title": case.title, "goal_ms": case.goal, "machine": machine(),
        "summary_ms": rows, "rounds_ms": times,
    }
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def machine() -> dict[str, object]:
    """Return what a reader needs to compare the numbers with others."""
    runc = subprocess.run(
        [str(shutil.which("runc")), "--version"], capture_output=True, text=True, check=True,
    )
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(), "machine": platform.machine(), "cores": os.cpu_count(),
        "load": os.getloadavg(), "python": platform.python_version(),
        "runc": runc.stdout.partition("\n")[0],
    }


if __name__ == "__main__":
    sys.exit(main())
