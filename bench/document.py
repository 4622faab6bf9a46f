"""docs/performance.md from the last results: `python -m bench --write-docs`.

Only what lies between `<!-- NAME: written by make bench -->` and the next `<!-- end -->` is
replaced; a part whose result is not there stays as it is. The prose is people's.
"""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

from bench import curves, report
from bench.node import PEER, PYSHIM
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.case import Result

DOCUMENT = REPOSITORY / "docs/performance.md"
PLOT = REPOSITORY / "docs/curves.png"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def machine(found: Result) -> str:
    """Return the sentence that says where a result comes from."""
    facts = found["machine"]
    load = facts["load"][0]
    return (
        f"{facts['time']}, {facts['processor'] or facts['machine']}, {facts['cores']} cores, load "
        f"{load:.1f}, Linux {facts['kernel']}, {facts['runc']}, "
        f"pyshim {facts['file']}, peer {facts['peer'] or 'not there'}, "
        f"bundles on {facts['file_system']}.\n\n"
    )


def _milliseconds(row: Result, side: str) -> str:
    if side not in row["adds"]:
        return "-"
    numbers = row["adds"][side]
    return f"{_short(numbers['median'])} ({_short(numbers['min'])})"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}"


def _goal(row: Result) -> str:
    return "-" if row["goal"] is None else f"≤ {row['goal']}"


def results(found: Result) -> str:
    """Return the table of goals and that of pyshim's own growth."""
    rows = [
        [
            row["title"],
            *(_milliseconds(row, side) for side in (PEER, PYSHIM)),
            report.cell(row),
            _goal(row),
            report.verdict(row),
        ]
        for row in found["rows"]
        if row["kind"] == "peer"
    ]
    head = ("work", "peer", "pyshim", "pyshim / peer", "goal", "")
    own = [
        [row["title"], report.cell(row), _goal(row), report.verdict(row)]
        for row in found["rows"]
        if row["kind"] != "peer"
    ]
    return (
        machine(found)
        + markdown(head, rows)
        + "\nOn a node with claims, pyshim alone:\n\n"
        + markdown(("work, ms or times", "pyshim", "goal", ""), own)
    )


def grown(found: Result) -> str:
    """Return the tables of the curves and copy the plot."""
    parts = [machine(found)]
    if (plot := report.OUT / "curves.png").exists():
        shutil.copyfile(plot, PLOT)
    for name, curve in curves.CURVES.items():
        rows = [
            [
                str(row["value"]),
                *(_milliseconds(row, side) for side in (PEER, PYSHIM)),
                report.cell(row),
            ]
            for row in found["rows"]
            if row["curve"] == name
        ]
        head = (curve.title, "peer", "pyshim", "pyshim / peer")
        parts.append(markdown(head, rows) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def budget(found: Result) -> str:
    """Return the table of costs."""
    rows = [
        [
            row["title"],
            *(f"{row[of]['median']:.2f} ({row[of]['min']:.2f})" for of in ("wall", "cpu")),
            row["done"],
        ]
        for row in found["rows"]
    ]
    head = ("cost", "ms, median (min)", "CPU ms", "what was done about it")
    return machine(found) + markdown(head, rows)


PARTS: dict[str, tuple[str, Callable[[Result], str]]] = {
    "results": ("bench", results),
    "curves": ("curves", grown),
    "budget": ("budget", budget),
}
"""Part of the document -> name of its result in bench/out, and what writes it."""


def replaced(text: str, name: str, body: str) -> str:
    """Return `text` with the part `name` replaced; ValueError when it has none."""
    part = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    if not part.search(text):
        raise ValueError(f"{DOCUMENT}: no part '{name}'")
    return part.sub(lambda match: match[1] + "\n" + body + "\n" + match[2], text, count=1)


def main() -> int:
    """Write the document; return the exit status."""
    text = DOCUMENT.read_text()
    for name, (result, write) in PARTS.items():
        found = report.read(result)
        if found is None:
            print(f"bench: no {report.OUT}/{result}.json; '{name}' stays", file=sys.stderr)
            continue
        text = replaced(text, name, write(found))
    DOCUMENT.write_text(text)
    print(f"written: {DOCUMENT}")
    return 0
