"""Read-only root file systems: EROFS and squashfs images, and read-only binds.

Mounted in the caller's mount namespace, which must be private (namespace.py).
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAKERS = {
    "erofs": ("mkfs.erofs", "{image}", "{tree}"),
    "squashfs": ("mksquashfs", "{tree}", "{image}", "-quiet", "-no-progress", "-noappend"),
}
"""The program that makes an image of each kind of file system, and its arguments."""


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


@contextmanager
def mounted(kind: str, tree: Path, target: Path) -> Iterator[Path]:
    """Mount a read-only copy of `tree` at `target`; `kind` is one of MAKERS, or `bind`.

    The loop device is freed with the mount (losetup's autoclear).
    """
    target.mkdir(parents=True, exist_ok=True)
    if kind == "bind":
        _run("mount", "--bind", str(tree), str(target))
        _run("mount", "-o", "remount,bind,ro", str(target))
    else:
        image = target.with_name(f"{target.name}.{kind}")
        _run(*(part.format(image=image, tree=tree) for part in MAKERS[kind]))
        _run("mount", "-t", kind, "-o", "loop,ro", str(image), str(target))
    try:
        yield target
    finally:
        _run("umount", str(target))
