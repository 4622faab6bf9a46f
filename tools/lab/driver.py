"""Driver roots: what a CDI spec's hostPaths point at, made from the spec itself.

The nodes carry harmless numbers unless the spec names others; libraries carry the SONAMEs that
the real ones carry. Leaves compiling to compiler.py.
"""

from __future__ import annotations

import os
import shutil
import stat
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.compiler import Compiler

Document = dict[str, Any]

PLACEHOLDER = "@DRIVER_ROOT@"
# Debian's name of the library folder: x86_64-linux-gnu, aarch64-linux-gnu.
MULTIARCH: str = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
_NULL = os.makedev(1, 3)
# Version 1 is the rule; these two keep the dispatcher's version 0.
_SONAME_VERSION = {"libEGL_nvidia.so": "0", "libGLX_nvidia.so": "0"}


def soname_of(file_name: str) -> str:
    """Return the SONAME of a driver library: `libcuda.so.1` for `libcuda.so.580.126.20`."""
    stem = file_name[: file_name.index(".so") + len(".so")]
    return f"{stem}.{_SONAME_VERSION.get(stem, '1')}"


def text_of(template: Path, driver_root: Path) -> str:
    """Return the CDI spec `template` for `driver_root` and this machine's library folder."""
    text = template.read_text()
    return text.replace(PLACEHOLDER, str(driver_root)).replace("x86_64-linux-gnu", MULTIARCH)


def all_edits(document: Document) -> Iterator[Document]:
    """Yield the container edits of the spec and of each device."""
    yield document.get("containerEdits", {})
    for device in document["devices"]:
        yield device.get("containerEdits", {})


def build(text: str, compiler: Compiler) -> Document:
    """Make everything that the CDI spec `text` needs of the host; return the parsed spec.

    Files that are there already stay: a caller may have put the real driver's there.
    """
    document: Document = yaml.safe_load(text)
    for edits in all_edits(document):
        for node in edits.get("deviceNodes", []):
            _make_node(Path(node.get("hostPath", node["path"])), node)
        for mount in edits.get("mounts", []):
            _make_file(Path(mount["hostPath"]), compiler)
    return document


def add_mount_points(document: Document, rootfs: Path) -> None:
    """Make the empty files that the mounts of a spec need in a rootfs that cannot be written."""
    for edits in all_edits(document):
        for mount in edits.get("mounts", []):
            target = rootfs / mount["containerPath"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


def _make_node(path: Path, node: Document) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    device = os.makedev(node["major"], node.get("minor", 0)) if "major" in node else _NULL
    os.mknod(path, stat.S_IFCHR | 0o666, device)
    path.chmod(0o666)  # mknod(2) obeys the umask


def _make_file(path: Path, compiler: Compiler) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".so." in path.name:
        shutil.copyfile(compiler.library(soname_of(path.name)), path)
        path.chmod(0o755)
    elif path.parent.name == "bin":
        path.write_text(f"#!/bin/sh\necho '{path.name}: stand-in, no GPU here'\n")
        path.chmod(0o755)
    else:
        path.write_text(f"{path.name}\n")
