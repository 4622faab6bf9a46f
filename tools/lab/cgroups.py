"""Control groups of the lab's own: made in every hierarchy, and removed with all below them.

Names carry the lab's token, so that nobody else's group is ever touched.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# A process that has been killed leaves its group a moment after its parent heard of it.
_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Return the mount points: one for cgroup v2, else one a hierarchy."""
    if (ROOT / "cgroup.procs").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if (path / "cgroup.procs").exists()]


def make(name: str) -> list[Path]:
    """Make the group `name` in every hierarchy, and return its folders."""
    folders = [hierarchy / name for hierarchy in hierarchies()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A group of cgroup v1 takes no process before it has CPUs and memory.
            if folder.parent.name == "cpuset" and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
    return folders


def remove(prefix: str) -> None:
    """Remove the groups whose names begin with `prefix`, with all below them.

    Raises OSError (EBUSY) when one has a process that does not end.
    """
    deadline = time.monotonic() + _SECONDS
    for folder in [path for hierarchy in hierarchies() for path in hierarchy.glob(f"{prefix}*")]:
        for path, _, _ in os.walk(folder, topdown=False):
            _rmdir(path, deadline)


def _rmdir(path: str, deadline: float) -> None:
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as err:
            if err.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
