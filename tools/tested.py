"""Writes a target's row of docs/tested.md: what was run, on which machine, with which result.

    python -m tools.tested TARGET [JUNIT.xml...]

Targets call it; without TESTED=yes it does nothing. Versions are asked of the programs in PATH.
The row before of that target on that system is replaced.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/tested.md"
BEGIN = "|---|---|---|---|---|\n"
PROGRAMS = {
    "runc": "runc --version",
    "crun": "crun --version",
    "runsc": "runsc --version",
    "containerd": "containerd --version",
    "containerd 2": "peers/containerd2/containerd --version",
    "Docker": "dockerd --version",
    "Podman": "podman --version",
}
CLUSTER = {
    "Kubernetes": "build/kubernetes/kubelet --version",
    "containerd 2": PROGRAMS["containerd 2"],
    "containerd": PROGRAMS["containerd"],
    "runc": PROGRAMS["runc"],
}
"""Those of make test-kubernetes."""
_VERSION = re.compile(r"\d[0-9.~]*\d")


def row(target: str, system: str, programs: str, result: str, date: str) -> str:
    """Return the table's line."""
    return f"| {date} | `make {target}` | {system} | {programs} | {result} |\n"


def put(page: str, line: str) -> str:
    """Return `page` with the line in its table; the target's on the same system is replaced."""
    head, begin, rest = page.partition(BEGIN)
    if not begin:
        raise ValueError(f"{PAGE} has no table")
    count = next((n for n, one in enumerate(rest.splitlines()) if not one.startswith("|")), 0)
    lines = rest.splitlines(keepends=True)
    key = line.split("|")[2:4]
    kept = [one for one in lines[:count] if one.split("|")[2:4] != key]
    return head + begin + "".join(sorted([*kept, line], reverse=True)) + "".join(lines[count:])


def system() -> str:
    """Return this machine in words: distribution, kernel, control groups, Python."""
    name = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    groups = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{name}, Linux {kernel}, cgroup {groups}, Python {platform.python_version()}"


def programs(target: str = "") -> str:
    """Return the engines and runtimes that are here for a target, with their versions."""
    found = []
    for name, command in (CLUSTER if target == "test-kubernetes" else PROGRAMS).items():
        try:
            told = subprocess.run(
                command.split(), capture_output=True, text=True, check=False, timeout=20
            )
        except OSError:
            continue
        if version := _VERSION.search(told.stdout):
            found.append(f"{name} {version[0]}")
    return ", ".join(found)


def result(reports: list[Path]) -> str:
    """Return the sum of JUnit reports in words."""
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            for name in counts:
                counts[name] += int(suite.get(name, 0))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    return f"{passed} passed, {failed} failed, {counts['skipped']} skipped"


def main(target: str, reports: list[str]) -> None:
    """Write the row, if that was asked for."""
    if os.environ.get("TESTED") != "yes":
        return
    told = result([Path(one) for one in reports]) if reports else "passed"
    line = row(target, system(), programs(target), told, time.strftime("%Y-%m-%d", time.gmtime()))
    PAGE.write_text(put(PAGE.read_text(), line))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
