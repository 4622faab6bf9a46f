"""A bare Debian that packages are installed in: an overlay, so that what they leave is seen."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import missing
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

# $1: the bare root, $2: where the new one and its layer lie.
_MOUNTS = """
mount -t tmpfs -o mode=755 packaged "$2"
cd "$2"
mkdir upper work root
mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" packaged root
cd root
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
"""
_OWN = ("var/lib/dpkg/", "var/log/", "var/cache/")
"""What dpkg writes for itself."""


class Root:
    """The root of a machine at `path`; `layer` has what was changed since it was bare."""

    def __init__(self, folder: Path, bare: Path) -> None:
        self.path = folder / "root"
        self.layer = folder / "upper"
        self.bare = bare

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the machine as root."""
        return subprocess.run(
            ["chroot", str(self.path), *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    def done(self, *argv: str) -> str:
        """Run a program that has to succeed without a word on stderr; what it printed."""
        done = self.run(*argv)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def left(self) -> list[str]:
        """Return the files and folders that are new or other than in the bare root."""
        names = (str(path.relative_to(self.layer)) for path in self.layer.rglob("*"))
        return sorted(
            name
            for name in names
            if not name.startswith(_OWN)
            and not ((self.layer / name).is_dir() and (self.bare / name).is_dir())
        )


@contextlib.contextmanager
def root(suite: str, folder: Path) -> Iterator[Root]:
    """Make the root of a bare Debian with runc in `folder`, in this mount namespace."""
    bare = REPOSITORY / f"build/packages-{suite}"
    script = [f"{REPOSITORY}/tools/debootstrap.sh", suite, str(bare), "runc,busybox-static"]
    if subprocess.run(script, check=False, timeout=900).returncode:
        missing(f"a bare {suite} cannot be made")
    folder.mkdir()
    subprocess.run(["sh", "-euc", _MOUNTS, "sh", bare, folder], check=True)
    try:
        yield Root(folder, bare)
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)
