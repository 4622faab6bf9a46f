"""Root file systems of containers: busybox, and on request what a glibc program needs.

Leaves config.json to bundle.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_FOLDERS = ("bin", "dev", "etc", "lib", "proc", "run", "sys", "tmp", "usr/bin", "usr/lib", "var")


@cache
def _busybox() -> tuple[str, tuple[str, ...]]:
    program = shutil.which("busybox") or "/bin/busybox"
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    return program, tuple(applets.stdout.split())


def make_busybox(rootfs: Path) -> Path:
    """Fill `rootfs` with a static busybox, its commands and the usual folders."""
    program, applets = _busybox()
    for folder in _FOLDERS:
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(program, rootfs / "bin/busybox")
    for applet in applets:
        if applet != "busybox":
            (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    return rootfs


def add_program(rootfs: Path, program: Path, destination: str) -> None:
    """Copy `program` with its loader and libraries into `rootfs`, each at its host path."""
    target = rootfs / destination.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, target)
    target.chmod(0o755)
    add_dependencies(rootfs, program)


def add_dependencies(rootfs: Path, program: Path) -> None:
    """Copy what the program or library needs to be loaded into `rootfs`, each at its host path."""
    listing = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True)
    for library in re.findall(r"(/\S+)", listing.stdout):
        copy = rootfs / os.path.normpath(library).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(library), copy)
