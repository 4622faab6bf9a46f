"""What the host has under a device path: type, numbers and mode; whether nodes can be made.

What else edits.py asks of the host, where user namespaces are, is userns.py's.
"""

from __future__ import annotations

import _stat
import errno

from ocishim import posixos
from ocishim.errors import UnresolvedDeviceError

_TYPES = {_stat.S_IFBLK: "b", _stat.S_IFCHR: "c", _stat.S_IFIFO: "p"}


class HostDevice:
    """A device node or fifo on the host; `mode` without the file type bits."""

    __slots__ = ("major", "minor", "mode", "type")

    def __init__(self, type_: str, major: int, minor: int, mode: int) -> None:
        self.type = type_
        self.major = major
        self.minor = minor
        self.mode = mode


class NodeError(UnresolvedDeviceError):
    """A device node that the host cannot give: the reference's sentence.

    subject: the sentence without its reason. path: the host's. number: the errno, or 0.
    """

    def __init__(self, subject: str, why: str, path: str, number: int) -> None:
        super().__init__(f"{subject}: {why}" if why else subject)
        self.subject = subject
        self.path = path
        self.number = number


class Kernel:
    """What edits.plan() asks where user namespaces may be; userns.py has the other half."""

    __slots__ = ()

    def maps_owners(self, source: str, *, recursive: bool) -> bool:  # noqa: ARG002 - nothing is known
        """Whether a bind mount of `source` can have its files' owners mapped."""
        return False

    def makes_no_nodes(self) -> bool:
        """Whether the low-level runtime is in a user namespace, where nobody makes devices."""
        return not posixos.sees_all_ids()


def nobody_makes_nodes(*, mapped: bool) -> bool:
    """Whether the container, `mapped` by a user namespace or not, gets the host's nodes alone."""
    return mapped or Kernel().makes_no_nodes()


def stat(path: str) -> HostDevice:
    """The device node or fifo at `path`, its last component not followed.

    The reference asks with lstat, so that a symbolic link is not a device.
    Raises OSError; one without an errno, `not a device node`, for any other kind of file, and for a
    relative path, which leads wherever the engine happens to be.
    """
    if not path.startswith("/"):
        raise OSError("the path is not absolute")
    if "\0" in path:
        raise OSError(errno.EINVAL, posixos.strerror(errno.EINVAL))
    # Bytes: the locale's encoding must not decide which file a CDI spec means.
    info = posixos.lstat(path.encode(errors="surrogateescape"))
    kind = _TYPES.get(_stat.S_IFMT(info.st_mode))
    if kind is None:
        raise OSError("not a device node")
    mode = info.st_mode & ~_stat.S_IFMT(info.st_mode)
    return HostDevice(kind, posixos.major(info.st_rdev), posixos.minor(info.st_rdev), mode)
