"""What the host has under a device path: type, numbers and mode. The only I/O behind edits.py."""

from __future__ import annotations

import _stat
import errno

from ocishim import posixos as os

_TYPES = {_stat.S_IFBLK: "b", _stat.S_IFCHR: "c", _stat.S_IFIFO: "p"}


class HostDevice:
    """A device node or fifo on the host; `mode` without the file type bits."""

    __slots__ = ("major", "minor", "mode", "type")

    def __init__(self, type_: str, major: int, minor: int, mode: int) -> None:
        self.type = type_
        self.major = major
        self.minor = minor
        self.mode = mode


def stat(path: str) -> HostDevice:
    """The device node or fifo at `path`, its last component not followed.

    The reference asks with lstat, so that a symbolic link is not a device.
    Raises OSError; one without an errno, `not a device node`, for any other kind of file.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    # Bytes: the locale's encoding must not decide which file a CDI spec means.
    info = os.lstat(path.encode(errors="surrogateescape"))
    kind = _TYPES.get(_stat.S_IFMT(info.st_mode))
    if kind is None:
        raise OSError("not a device node")
    mode = info.st_mode & ~_stat.S_IFMT(info.st_mode)
    return HostDevice(kind, os.major(info.st_rdev), os.minor(info.st_rdev), mode)
