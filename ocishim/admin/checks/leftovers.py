"""What a killed create or a crashed machine may have left behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ocishim import config as settings
from ocishim.admin.finding import Finding
from ocishim.admin.node import Node


def check(node: Node) -> Iterator[Finding]:
    """Yield what lies around on `node` and a compiled cache nobody can use."""
    folder = node.host.real(settings.cache_dir())
    try:
        found = os.lstat(folder)
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        yield Finding(
            "cache",
            "warning",
            "the compiled cache is not used",
            evidence=f"{settings.cache_dir()}: owner {found.st_uid}, "
            f"mode {stat.S_IMODE(found.st_mode):04o}",
            why="every create parses the CDI specs again",
            next_step=f"rm -r {settings.cache_dir()}; the next create makes it anew",
        )
    mounts = [line.split()[4] for line in node.read("/proc/self/mountinfo").splitlines()]
    left = [path for path in mounts if path.startswith(settings.cache_dir() + "/")]
    if left:
        yield Finding(
            "mounts",
            "warning",
            "mounts of ended containers are left",
            evidence=", ".join(left[:3]),
            why="they hold memory",
            next_step="pyshimctl doctor --fix",
        )
