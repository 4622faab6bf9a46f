"""One name in an open directory: compare it, or replace it in one step.

The directory is a descriptor that its caller resolved safely (rootfs.py); the name has no slash
and is never followed. Whatever was there before stays whole until the step that replaces it.

What has to be prepared beside the name has one fixed name, `.pyshim-NAME`: a killed run's
leftover is found and removed by the next one.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import UnsafePathError
from ocishim.linux import const, syscalls
from ocishim.rootfs.handle import reopen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[int], syscalls.Statx]

_PREFIX = ".pyshim-"
_TRIES = 16
# What O_TMPFILE gives where the file system (or an overlay before 6.1) has no unnamed files.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def temporary(name: str) -> str:
    """The name under which `name` is prepared."""
    return posixos.fsdecode((_PREFIX.encode() + posixos.fsencode(name))[:255])


def has_link(parent: int, name: str, target: str) -> bool:
    """Whether `name` is a symbolic link with exactly this text."""
    try:
        return posixos.readlink(name, dir_fd=parent) == target
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return False
        raise


def put_link(parent: int, name: str, target: str) -> None:
    """Make `name` a symbolic link to `target`, whatever but a directory is there."""
    _repeat(
        name,
        lambda: _placed(parent, name, lambda where: posixos.symlink(target, where, dir_fd=parent)),
    )


def has_content(parent: int, name: str, data: bytes, mode: int, look: Look) -> bool:
    """Whether `name` is a regular file with exactly this content and these permission bits.

    A device or fifo there is not opened: what `look` (a descriptor's status, or an error) saw is
    what is read.
    """
    try:
        handle = posixos.open(
            name, posixos.O_PATH | posixos.O_NOFOLLOW | posixos.O_CLOEXEC, dir_fd=parent
        )
    except FileNotFoundError:
        return False
    try:
        status = look(handle)
        expected = (stat.S_IFREG | mode, len(data))
        return (status.mode, status.size) == expected and _holds(handle, name, data, status)
    finally:
        posixos.close(handle)


def _holds(handle: int, name: str, data: bytes, status: syscalls.Statx) -> bool:
    try:
        fd = reopen(handle, name, posixos.O_RDONLY | posixos.O_NONBLOCK | posixos.O_NOCTTY, status)
    except (OSError, UnsafePathError):
        return False  # not to be had: replacing it is right in any case
    try:
        return _equals(fd, data)
    finally:
        posixos.close(fd)


def _equals(fd: int, data: bytes) -> bool:
    view = memoryview(data)
    while view:
        chunk = posixos.read(fd, len(view))
        if not chunk or view[: len(chunk)] != chunk:
            return False
        view = view[len(chunk) :]
    return not posixos.read(fd, 1)


def put_content(parent: int, name: str, data: bytes, mode: int) -> None:
    """Make `name` a regular file with this content and these permission bits.

    A file without a name is filled and then linked, so that a killed run leaves nothing; where
    the file system cannot do that, `.pyshim-NAME` is filled.
    """
    _repeat(name, lambda: _filled(parent, name, data, mode))


def _filled(parent: int, name: str, data: bytes, mode: int) -> bool:
    """One try of put_content: a file that lost its name cannot get another, so a new one each."""
    try:
        fd = posixos.open(
            ".", posixos.O_WRONLY | posixos.O_CLOEXEC | posixos.O_TMPFILE, 0o600, dir_fd=parent
        )
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        return _filled_by_name(parent, name, data, mode)
    try:
        _fill(fd, data, mode)
        return _placed(parent, name, lambda where: _link(fd, parent, where))
    except FileNotFoundError:  # no /proc here
        return _filled_by_name(parent, name, data, mode)
    finally:
        posixos.close(fd)


def _filled_by_name(parent: int, name: str, data: bytes, mode: int) -> bool:
    _refuse_append_only(parent)
    fd = -1
    try:
        fd = _open_named(parent, temporary(name))
        _fill(fd, data, mode)
        return _renamed(parent, name)
    except BaseException:  # a deadline's may come right after the call that makes it
        _remove(parent, temporary(name))
        raise
    finally:
        if fd >= 0:
            posixos.close(fd)


def _open_named(parent: int, name: str) -> int:
    _remove(parent, name)
    flags = (
        posixos.O_WRONLY | posixos.O_CREAT | posixos.O_EXCL | posixos.O_NOFOLLOW | posixos.O_CLOEXEC
    )
    return posixos.open(name, flags, 0o600, dir_fd=parent)


def _fill(fd: int, data: bytes, mode: int) -> None:
    view = memoryview(data)
    while view:
        view = view[posixos.write(fd, view) :]
    posixos.fchmod(fd, mode)


def _link(fd: int, parent: int, name: str) -> None:
    """Give the unnamed file `fd` a name; by /proc, as open(2) shows for O_TMPFILE."""
    posixos.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)


def _repeat(name: str, attempt: Callable[[], bool]) -> None:
    """Try until it is done: hooks of other containers may be at work in the same volume."""
    for _ in range(_TRIES):
        if attempt():
            return
    raise OSError(errno.EBUSY, f"{name!r} changes faster than it can be replaced")


def _placed(parent: int, name: str, create: Callable[[str], None]) -> bool:
    """Run `create(name)`; where something exists, create beside it and rename over it."""
    try:
        create(name)
    except FileExistsError:
        pass
    else:
        return True
    _refuse_directory(parent, name)
    _refuse_append_only(parent)
    try:
        create(temporary(name))
        return _renamed(parent, name)
    except FileExistsError:
        _remove(parent, temporary(name))  # a killed run's
        return False
    except BaseException:  # a deadline's may come right after the call that makes it
        _remove(parent, temporary(name))
        raise


def _refuse_directory(parent: int, name: str) -> None:
    """OSError(EISDIR) when `name` is a directory: `ln -f` does not replace those either."""
    try:
        status = posixos.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, f"{name!r} is a directory")


def _refuse_append_only(parent: int) -> None:
    """OSError(EPERM) for a folder that keeps every name (chattr +a), also a prepared one."""
    if syscalls.statx(parent).attributes & const.STATX_ATTR_APPEND:
        raise OSError(errno.EPERM, posixos.strerror(errno.EPERM))


def _renamed(parent: int, name: str) -> bool:
    """Whether the prepared name could be renamed; False when somebody took it."""
    try:
        posixos.rename(temporary(name), name, src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _remove(parent: int, name: str) -> None:
    try:
        posixos.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
