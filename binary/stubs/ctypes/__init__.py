"""What pyroute2 takes of ctypes: the C library's syscall(2), to enter a network namespace.

There is no shared library in a static file, so there is nothing else to call.
"""

from __future__ import annotations

from _pyshim import get_errno as get_errno
from _pyshim import syscall


class CDLL:
    """The C library, of which there is one function."""

    def __init__(self, *_: object, **__: object) -> None:
        self.syscall = syscall
