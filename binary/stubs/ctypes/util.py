"""Where a shared library would be, if there were one."""

from __future__ import annotations


def find_library(name: str) -> None:
    """Return None: the C library is in the file."""
    del name
