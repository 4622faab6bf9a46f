"""Read-only root file systems: EROFS and squashfs images, and read-only binds.

Mounted in the caller's mount namespace, which must be private (namespace.py).
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAKERS = {
    "erofs": ("mkfs.erofs", "{image}", "{tree}"),
    "squashfs": ("mksquashfs", "{tree}", "{image}", "-quiet", "-no-progress", "-noappend"),
}
"""The program that makes an image of each kind of file system, and its arguments."""


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


class Mounts:
    """What was mounted, until the `with` ends; loop devices go with their mount (autoclear)."""

    def __init__(self) -> None:
        self.targets: list[Path] = []

    def __enter__(self) -> Mounts:  # noqa: PYI034 - Self is Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        for target in reversed(self.targets):
            _run("umount", str(target))

    def add(self, kind: str, tree: Path, target: Path) -> Path:
        """Mount a read-only copy of `tree` at `target`; `kind` is one of MAKERS, or `bind`."""
        target.mkdir(parents=True, exist_ok=True)
        if kind == "bind":
            _run("mount", "--bind", str(tree), str(target))
            self.targets.append(target)
            _run("mount", "-o", "remount,bind,ro", str(target))
        else:
            image = target.with_name(f"{target.name}.{kind}")
            _run(*(part.format(image=image, tree=tree) for part in MAKERS[kind]))
            _run("mount", "-t", kind, "-o", "loop,ro", str(image), str(target))
            self.targets.append(target)
        return target
