"""Failures known beforehand, with their reason: expected.json. Leaves reporting to report.py."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.isolate import Verdict

FILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "expected.json")


def identify(runtime: Sequence[str]) -> tuple[str, str]:
    """Return name and version as `--version` gives them: runc, 1.1.5+ds1."""
    try:
        said = subprocess.run(
            [*runtime, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"^(\S+) version:? (\S+)", said, re.MULTILINE)
    return (found.group(1), found.group(2)) if found else (os.path.basename(runtime[0]), "")


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers; gVisor's releases count by their date alone."""
    dated = re.search(r"20[2-9]\d{5}.*", version)
    return tuple(int(part) for part in re.findall(r"\d+", dated.group() if dated else version))


def holds(versions: str, version: str) -> bool:
    """True when `versions` ("" or "<1.3", ">=1.26") covers `version`."""
    if versions.startswith("<"):
        return numbers(version) < numbers(versions)
    if versions.startswith(">="):
        return numbers(version) >= numbers(versions)
    return not versions


def annotate(verdicts: Sequence[Verdict], name: str, version: str) -> list[str]:
    """Give each failure its written reason; return the entries that have become untrue."""
    with open(FILE, encoding="utf-8") as file:
        entries = [
            entry
            for entry in json.load(file)
            if fnmatch.fnmatchcase(name, entry["runtime"])
            and holds(entry.get("versions", ""), version)
        ]
    stale = []
    for entry in entries:
        for pattern in entry["cases"]:
            met = [verdict for verdict in verdicts if verdict.case.matches(pattern)]
            for verdict in met:
                verdict.expected = verdict.expected or entry["reason"]
            never = met and all(verdict.outcome == "pass" for verdict in met)
            if never and not entry.get("chance"):
                stale.append(f"{pattern}: expected to fail on {name}, and passes")
    return stale
