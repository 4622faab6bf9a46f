"""What can be done with an O_PATH descriptor: say what it is, open it, set its mode.

An O_PATH descriptor (a handle) holds a file without opening it, so that a fifo or device of an
image does nothing yet. How the handle was found is rootfs.py's part.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos as os
from ocishim.errors import UnsafePathError
from ocishim.linux import const, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Opener = Callable[[int], int]

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


def reopen(handle: int, unsafe_path: str, flags: int, by_name: Opener) -> int:
    """Open the file behind `handle` with `flags`; the caller closes the result and the handle.

    Without /proc (after a pivot into an image) `by_name(flags)` opens the path once more. Who
    swaps the name in between, or plants a /proc, gets an UnsafePathError.
    """
    try:
        fd = os.open(f"/proc/self/fd/{handle}", flags | os.O_CLOEXEC)
    except FileNotFoundError:
        fd = by_name(flags)
    if os.path.samestat(os.fstat(fd), os.fstat(handle)):
        return fd
    os.close(fd)
    raise UnsafePathError(f"{unsafe_path!r} changed while it was opened")


def set_mode(handle: int, mode: int, unsafe_path: str, by_name: Opener) -> None:
    """Chmod what is behind `handle`. A link has no mode: that is for the caller to check."""
    try:
        syscalls.fchmodat2(handle, "", mode, const.AT_EMPTY_PATH)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # Linux 6.6 brought it
            raise
    else:
        return
    try:
        os.chmod(f"/proc/self/fd/{handle}", mode)
    except FileNotFoundError:
        kind = os.fstat(handle).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise  # opening a device or fifo to change its mode is not worth the risk
        fd = reopen(handle, unsafe_path, os.O_RDONLY | os.O_NONBLOCK, by_name)
        try:
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
