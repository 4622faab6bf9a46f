"""Which NVIDIA driver: the module that runs says it first, then what the libraries' links lead to.

Numbers are compared as numbers: 550.54.15 is older than 550.163.01.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Read = Callable[[str], str]
"""The text of a file of the root, "" when it cannot be read."""

_PROC = "/proc/driver/nvidia/version"
_SYS = "/sys/module/nvidia/version"
_VERSION = re.compile(r"(?<![\d.])\d{2,}\.\d+(?:\.\d+)?(?![\d.])")


def module(read: Read) -> str:
    """Return the version of the kernel module that runs, "" when nothing tells it."""
    lines = [line for line in read(_PROC).splitlines() if line.startswith("NVRM version")]
    for text in (*lines, read(_SYS)):
        found = _VERSION.search(text)
        if found:
            return found[0]
    return ""


def of_name(name: str, stem: str) -> str:
    """Return VERSION of the file name `STEM.so.VERSION`, "" when it is none of a driver.

    A Jetson's libcuda.so.1.1 is none, and neither is the link libcuda.so.1.
    """
    suffix = name.removeprefix(f"{stem}.so.")
    return suffix if suffix != name and _VERSION.fullmatch(suffix) else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return what versions are ordered by."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def choose(running: str, there: set[str], linked: list[str]) -> str:
    """Return the driver's version: of those `there` the one that runs, that is linked, or newest.

    linked: where the SONAMEs' links lead, the most telling first. "" when none is there.
    """
    for version in (running, *linked):
        if version in there:
            return version
    return max(there, key=numbers, default="")
