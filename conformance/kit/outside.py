"""A folder of the host that a hostile image must not reach; the images are areas/hostile.py's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kit.case import check
from kit.rootfs import put

if TYPE_CHECKING:
    from kit.lab import Lab


def outside(lab: Lab) -> str:
    """Make the host folder that nothing may happen to; return its path."""
    path = f"{lab.dir}/outside"
    put(f"{path}/file", "host\n")
    put(f"{path}/ld.so.conf", "include nothing\n")
    os.symlink("x", f"{path}/present")
    os.chmod(path, 0o750)
    return path


def look(path: str) -> list[tuple[Any, ...]]:
    """Return what there is to see of a folder: names, types, modes, sizes, targets, contents."""
    seen: list[tuple[Any, ...]] = []
    for at, folders, files in os.walk(path):
        for name in [".", *sorted(folders + files)]:
            entry = f"{at}/{name}"
            found = os.lstat(entry)
            content: object = None
            if os.path.islink(entry):
                content = os.readlink(entry)
            elif os.path.isfile(entry):
                with open(entry, "rb") as file:
                    content = file.read()
            seen.append((entry, found.st_mode, found.st_uid, found.st_mtime_ns, content))
    return seen


def untouched(path: str, before: list[tuple[Any, ...]]) -> None:
    """Check that a folder looks as it did."""
    after = look(path)
    changed = [entry for entry in before if entry not in after]
    check(
        after == before,
        f"outside of the rootfs: {changed} became "
        f"{[entry for entry in after if entry not in before]}",
    )
