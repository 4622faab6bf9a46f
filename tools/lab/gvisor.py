"""gVisor's runsc on a machine without virtualisation, networks or cgroups of its own to give.

Leaves calling it to tools/lab/runtime.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BACKPORTS = REPOSITORY / "build/runsc-backports"

# Every sandbox here is private to a test: no network, no cgroup. How system calls are intercepted
# is left to each version: by ptrace(2) in 2022, by systrap today, whose ptrace panics as Go 1.26
# builds it.
_WRAPPER = """#!/bin/sh
exec {program} --network=none --ignore-cgroups "$@"
"""


def wrapper(folder: Path, program: Path | str) -> Path:
    """Write a program called `runsc` into `folder` that runs `program` with the lab's flags."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runsc"
    path.write_text(_WRAPPER.format(program=program))
    path.chmod(0o755)
    return path


def backports() -> str:
    """Return the path of runsc from Debian's backports, fetched once; "" where it cannot be had."""
    script = REPOSITORY / "tools/backports.sh"
    done = subprocess.run(
        [script, str(BACKPORTS), "usr/bin/runsc", "runsc"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def fake(folder: Path, version: str) -> Path:
    """Write a runsc that says it is `version` and, asked for anything else, what it was asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runsc"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo "runsc version {version}"\necho "$@"\n'
    )
    path.chmod(0o755)
    return path
