"""Write the table of docs/generate.md anew: python -m tools.generate_matrix [--check] (root, gcc).

For each layout: how much of what a container should be given pyshimctl and nvidia-ctk put into
their specs, and what is wrong there: another driver's or package's file, or a path that does not
exist. nvidia-ctk (peers/nvidia-ctk, make peers) asks a stand-in for NVML that lies in the layout.
Exit status 1: the peer finds more in some row, or with --check the table is another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.generate_matrix.layouts import LAYOUTS, UUID, Host
from tools.lab.driverroot import VERSION

ROOT = Path(__file__).parents[2]
PEER = ROOT / "peers/nvidia-ctk"
DOCUMENT = ROOT / "docs/generate.md"
BEGIN, END = "<!-- make generate-matrix -->\n", "<!-- end -->\n"


def nvml() -> bytes:
    """Build the stand-in for libnvidia-ml."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f'-DVERSION="{VERSION}"', f'-DUUID="{UUID}"',
             "-Wl,-soname,libnvidia-ml.so.1", str(Path(__file__).with_name("nvml.c")),
             "-o", f"{folder}/ml"],
            check=True,
        )  # fmt: skip
        return Path(folder, "ml").read_bytes()


def ours(root: Path) -> dict[str, Any]:
    """Return pyshimctl's spec; an empty one when it writes none."""
    argv = [sys.executable, "-m", "ocishim.admin", "cdi", "generate", "--mode", "nvidia"]
    return _spec([*argv, "--driver-root", str(root), "--format", "json"])


def peers(root: Path) -> dict[str, Any]:
    """Return nvidia-ctk's spec; an empty one when it writes none."""
    argv = [str(PEER), "--quiet", "cdi", "generate", "--mode", "nvml"]
    return _spec([*argv, "--driver-root", str(root), "--format", "json"])


def _spec(argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return {}


def names(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each thing in a spec, and where it lies on the host."""
    devices = spec.get("devices") or ()
    for edits in (spec.get("containerEdits") or {}, *(one["containerEdits"] for one in devices)):
        for mount in edits.get("mounts") or ():
            yield os.path.basename(mount["containerPath"]), mount["hostPath"]
        for node in edits.get("deviceNodes") or ():
            yield f"node {os.path.basename(node['path'])}", node.get("hostPath") or node["path"]
    for device in devices:
        yield f"device {device['name']}", "/"


def judged(spec: dict[str, Any], expected: set[str], root: Path) -> tuple[set[str], set[str]]:
    """Return the names that are found, and those that are wrong."""
    found: set[str] = set()
    wrong: set[str] = set()
    for name, path in names(spec):
        there = os.path.exists(path) and (path == "/" or path.startswith(f"{root}/"))
        (found if name in expected and there else wrong).add(name)
    return found, wrong - found


def row(title: str, make: Callable[[Host], None], library: bytes) -> tuple[str, bool]:
    """Return a layout's line of the table, and whether the peer finds nothing that we miss."""
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder), library)
        make(host)
        cells, found, told = [], [], []
        for spec in (ours(host.root), peers(host.root) if PEER.exists() else {}):
            right, wrong = judged(spec, host.expected, host.root)
            found.append(right)
            missed = len(host.expected) - len(right)
            cells += [f"{len(right)} \\| {missed} \\| {len(wrong)}" if spec else "no spec"]
            told += [f"missed {name}" for name in sorted(host.expected - right) if spec]
            told += [f"wrong {name}" for name in sorted(wrong)]
    print(f"{title}: {', '.join(told) or 'all'}", file=sys.stderr)
    return f"| {title} | {len(host.expected)} | {' | '.join(cells)} |", found[1] <= found[0]


def main() -> int:
    """Write the table, or compare it."""
    library = nvml()
    rows = [row(title, make, library) for title, make in LAYOUTS.items()]
    head = "| layout | entries | pyshimctl: found \\| missed \\| wrong | nvidia-ctk v1.20.0 |\n"
    table = head + "|---|---|---|---|\n" + "".join(f"{line}\n" for line, _ in rows)
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    print(table, end="")
    if "--check" in sys.argv[1:]:
        return int(old != table or not all(good for _, good in rows))
    DOCUMENT.write_text(before + BEGIN + table + END + after)
    return int(not all(good for _, good in rows))


if __name__ == "__main__":
    sys.exit(main())
