"""What can be done with an O_PATH descriptor: say what it is, open it, set its mode.

An O_PATH descriptor (a handle) holds a file without opening it, so that a fifo or device of an
image does nothing yet. How the handle was found is rootfs.py's part.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import UnsafePathError
from ocishim.linux import const, syscalls

_KINDS = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def kind_of(mode: int) -> str:
    """What a st_mode is, in words: `fifo`, `directory`..."""
    return _KINDS.get(stat.S_IFMT(mode), "file of unknown type")


def reopen(handle: int, unsafe_path: str, flags: int, status: syscalls.Statx) -> int:
    """Open the file behind `handle`, whose `status` was looked at, with `flags`; caller closes.

    By the descriptor, never by a name again: whoever swaps the name, serves a false file system
    (FUSE) or plants a /proc gets an UnsafePathError, and so does who has no /proc.
    """
    try:
        fd = posixos.open(f"/proc/self/fd/{handle}", flags | posixos.O_CLOEXEC)
    except FileNotFoundError:
        text = (
            f"{unsafe_path!r} cannot be opened by its descriptor: it is gone, or there is no /proc"
        )
        raise UnsafePathError(text) from None
    except OSError as error:
        # Whose descriptor's number it was tells nobody anything.
        raise OSError(error.errno, error.strerror, unsafe_path) from None
    try:
        if syscalls.statx(fd).same_file(status):
            return fd
    except BaseException:
        posixos.close(fd)
        raise
    posixos.close(fd)
    raise UnsafePathError(f"{unsafe_path!r} changed while it was opened")


def set_mode(handle: int, mode: int) -> None:
    """Chmod what is behind `handle`. A link has no mode: that is for the caller to check."""
    try:
        syscalls.fchmodat2(handle, "", mode, const.AT_EMPTY_PATH)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # Linux 6.6 brought it
            raise
        posixos.chmod(f"/proc/self/fd/{handle}", mode)
