"""Rows of numbers: summaries, the table of goals, JSON and comparisons with earlier JSON."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import node
from bench.node import PYSHIM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.case import Result

OUT = Path(__file__).parent / "out"


def unit(row: Result) -> str:
    """Return the unit of a row's numbers."""
    return "MiB" if row["of"] == "peak" else "ms"


def show(rows: Sequence[Result]) -> None:
    """Print the numbers of one measurement's rows; rows of the same numbers share a table."""
    shown: set[str] = set()
    for row in rows:
        if row["kind"] == "peer" or row["of"] not in shown:
            _show(row)
        shown.add(row["of"])


def _show(row: Result) -> None:
    print(f"{row['title']}: {row['rounds']} rounds, {unit(row)}")
    print(f"   {'':<36}{'median':>9}{'min':>9}   middle half")
    lines = list(row["sides"].items())
    if row["baseline"]:
        lines += [(f"{side} adds", numbers) for side, numbers in row["adds"].items()]
    for side, numbers in lines:
        half = f"{numbers['quarter']:.2f} to {numbers['three_quarters']:.2f}"
        print(f"   {side:<36}{numbers['median']:>9.2f}{numbers['min']:>9.2f}   {half}")
    print(flush=True)


def goals(rows: Sequence[Result]) -> None:
    """Print the table of goals: medians, those of the minima in brackets."""
    titles = {
        "peer": "pyshim / peer",
        "ms": "pyshim's own growth, ms",
        "times": "pyshim's own growth, times",
    }
    for kind, title in titles.items():
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        print(f"{title:<60}{'goal':>8}")
        for row in mine:
            goal = "-" if row["goal"] is None else row["goal"]
            print(f"{row['title']:<42}{cell(row):>18}{goal:>8}   {verdict(row)}")
        print()


def cell(row: Result) -> str:
    """Return the score, in brackets the one by minima; without a peer its own number."""
    score, least = row["score"], row["score_of_minima"]
    if score is None:
        return f"{row['adds'][PYSHIM]['median']:.2f} {unit(row)}"
    digits = {"peer": 3, "times": 2, "ms": 1}[row["kind"]]
    return f"{score:.{digits}f} ({least or 0:.{digits}f})"


def verdict(row: Result) -> str:
    """Say whether the goal is reached, by the medians."""
    if row["goal"] is None:
        return ""
    if row["score"] is None:
        return "no peer: pyshim's own number"
    return "ok" if row["score"] <= row["goal"] else "MISSED"


def compare(rows: Iterable[Result], earlier: Path) -> None:
    """Print what each side took then and now."""
    document = json.loads(earlier.read_text())
    then = {row["name"]: row for row in document["rows"]}
    print(f"against {earlier} of {document['machine']['time']}: medians of what each adds")
    print(f"{'':<42}{'side':<12}{'then':>10}{'now':>10}{'now/then':>10}")
    for row in rows:
        for side, numbers in row["adds"].items():
            before = then.get(row["name"], {"adds": {}})["adds"].get(side)
            if before:
                old, new = before["median"], numbers["median"]
                change = f"{new / old:.2f}" if old else "-"
                print(f"{row['title']:<42}{side:<12}{old:>10.2f}{new:>10.2f}{change:>10}")
    print()


def write(name: str, rows: Sequence[Result], facts: Mapping[str, object]) -> Path:
    """Write bench/out/NAME.json and return its path; `facts` say how it was measured."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"machine": {**machine(), **facts}, "rows": rows}, indent=1) + "\n")
    return path


def read(name: str) -> Result | None:
    """Return what was last written as NAME; None when nothing was."""
    path = OUT / f"{name}.json"
    if not path.exists():
        return None
    document: Result = json.loads(path.read_text())
    return document


def machine() -> Result:
    """Return what a reader needs to compare the numbers with others."""
    runc = subprocess.run(
        [str(shutil.which("runc")), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "file": hashlib.sha256(node.FILE.read_bytes()).hexdigest()[:12],
        "runc": runc.stdout.partition("\n")[0],
        "peer": node.PEER_VERSION.read_text().strip() if node.has_peer() else "",
        "file_system": "tmpfs",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
