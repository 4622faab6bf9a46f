"""Rows of numbers: from samples to summaries, tables, JSON and comparisons with earlier JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paired
from bench.node import BARE, INSTALLED, PEER, PYSHIM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.cases import Row

OUT = Path(__file__).parent / "out"
OURS = (PYSHIM, INSTALLED)
Result = dict[str, Any]


def result(row: Row, samples: Mapping[str, Sequence[paired.Sample]]) -> Result:
    """Return a row's document: each side's numbers, what each adds to the bare runtime, ratios."""
    values = {side: [row.value(sample) for sample in taken] for side, taken in samples.items()}
    adds = {
        side: paired.added(values, side, BARE) if BARE in values else paired.summary(values[side])
        for side in values if side != BARE
    }
    return {
        "name": row.name, "title": row.title, "goal": row.goal, "of": row.of,
        "rounds": len(next(iter(values.values()))), "baseline": BARE in values,
        "sides": {side: paired.summary(taken) for side, taken in values.items()},
        "adds": adds,
        "ratio": {side: _ratio(adds, side, "median") for side in OURS},
        "ratio_of_minima": {side: _ratio(adds, side, "min") for side in OURS},
        "values": {side: [round(value, 4) for value in taken] for side, taken in values.items()},
    }


def _ratio(adds: Mapping[str, Mapping[str, float]], side: str, of: str) -> float | None:
    if PEER not in adds or adds[PEER][of] <= 0:
        return None
    return round(adds[side][of] / adds[PEER][of], 4)


def show(row: Result) -> None:
    """Print one row's numbers."""
    unit = "MiB" if row["of"] == "peak" else "ms"
    print(f"{row['title']}: {row['rounds']} rounds, {unit}")
    print(f"   {'':<16}{'median':>9}{'min':>9}   middle half")
    lines = [(side, numbers) for side, numbers in row["sides"].items()]
    if row["baseline"]:
        lines += [(f"{side} adds", numbers) for side, numbers in row["adds"].items()]
    for side, numbers in lines:
        half = f"{numbers['quarter']:.2f} to {numbers['three_quarters']:.2f}"
        print(f"   {side:<16}{numbers['median']:>9.2f}{numbers['min']:>9.2f}   {half}")
    print(flush=True)


def ratios(rows: Iterable[Result]) -> None:
    """Print the table of goals: ratios pyshim / peer of medians, those of minima in brackets."""
    print(f"{'pyshim / peer':<34}{PYSHIM:>16}{INSTALLED:>16}{'goal':>8}")
    for row in rows:
        cells = "".join(f"{_cell(row, side):>16}" for side in OURS)
        print(f"{row['title']:<34}{cells}{row['goal']:>8}   {verdict(row)}")


def _cell(row: Result, side: str) -> str:
    if row["ratio"][side] is None:
        return f"{row['adds'][side]['median']:.2f}"
    return f"{row['ratio'][side]:.3f} ({row['ratio_of_minima'][side] or 0:.3f})"


def verdict(row: Result) -> str:
    """Say whether both of ours reach the goal, by their medians."""
    numbers = [row["ratio"][side] for side in OURS]
    if None in numbers:
        return "no peer: pyshim's own number"
    return "met" if max(numbers) <= row["goal"] else "MISSED"


def compare(rows: Iterable[Result], earlier: Path) -> None:
    """Print what each side took then and now."""
    document = json.loads(earlier.read_text())
    then = {row["name"]: row for row in document["rows"]}
    print(f"\nagainst {earlier} of {document['machine']['time']}: medians of what each adds")
    print(f"{'':<34}{'side':<12}{'then':>10}{'now':>10}{'now/then':>10}")
    for row in rows:
        for side, numbers in row["adds"].items():
            before = then.get(row["name"], {"adds": {}})["adds"].get(side)
            if before:
                old, new = before["median"], numbers["median"]
                change = f"{new / old:.2f}" if old else "-"
                print(f"{row['title']:<34}{side:<12}{old:>10.2f}{new:>10.2f}{change:>10}")


def write(name: str, rows: Sequence[Result], cores: Sequence[int]) -> Path:
    """Write bench/out/NAME.json and return its path."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    document = {"machine": machine(cores), "rows": rows}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def machine(cores: Sequence[int]) -> Result:
    """Return what a reader needs to compare the numbers with others."""
    runc = subprocess.run(
        [str(shutil.which("runc")), "--version"], capture_output=True, text=True, check=True,
    )
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(), "machine": platform.machine(), "cores": os.cpu_count(),
        "pinned": list(cores), "load": os.getloadavg(), "python": platform.python_version(),
        "runc": runc.stdout.partition("\n")[0],
    }
