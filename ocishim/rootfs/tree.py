"""The container's root directory as a descriptor: what its paths lead to, and reading.

The image chooses what a path leads to. openat2(2) with RESOLVE_IN_ROOT makes the kernel treat
the root as "/" for absolute links and "..", RESOLVE_NO_MAGICLINKS keeps /proc/PID/fd links from
leading out, and a file is looked at (O_PATH) before it is opened by that descriptor, away from the
kernel's own file systems (linux/kernelfs.py). Writing is rootfs.py's. Linux 5.6 is the floor.

A refusal is an UnsafePathError that names the path and what it is, or a ForeignMountError where
the place is somebody else's; what the kernel merely cannot do (ENOENT, EROFS, ENOSPC...) stays an
OSError.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import ForeignMountError, UnsafePathError
from ocishim.linux import const, syscalls
from ocishim.oci.container import Container
from ocishim.rootfs.handle import kind_of, reopen
from ocishim.rootfs.ownmounts import OwnMounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_RESOLVE = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS
_READ_LIMIT = 1 << 20  # bytes; an ld.so.conf of Debian has 35
_LIST_LIMIT = 10_000  # names


class Tree:
    """A root directory held open. Owns `fd`; `path` is for messages only.

    container: what is known of the container, asked when it matters. mounts: which of its mounts
    are its own.
    """

    __slots__ = ("container", "fd", "mounts", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.container: Callable[[], Container] = Container
        self.mounts = OwnMounts(fd, self.resolve, lambda: self.container().tmpfs)

    @classmethod
    def open_dir(cls, path: str) -> Self:
        """Open the directory `path` of the host; its own links are followed."""
        if "\0" in path:
            raise UnsafePathError(f"rootfs path {path!r} holds a NUL byte")
        flags = posixos.O_PATH | posixos.O_DIRECTORY | posixos.O_CLOEXEC
        return cls(posixos.open(path, flags), path)

    @classmethod
    def from_fd(cls, fd: int, path: str) -> Self:
        """Take over `fd`, a directory (O_PATH is enough): close() closes it."""
        return cls(fd, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            posixos.close(self.fd)
            self.fd = -1

    def resolve(
        self,
        unsafe_path: str,
        flags: int = posixos.O_PATH,
        *,
        follow: bool = True,
        cross: bool = True,
    ) -> int:
        """Return a descriptor of `unsafe_path` in the root; the caller closes it.

        With `follow=False` a link at the end is itself the result. UnsafePathError: link loops,
        magic links, what was moved out of the root meanwhile, a NUL. With `cross=False` a way
        that leaves the mount of the rootfs, if only to come back, is a ForeignMountError.
        """
        if "\0" in unsafe_path:
            raise UnsafePathError(f"path {unsafe_path!r} holds a NUL byte")
        flags |= 0 if follow else posixos.O_NOFOLLOW
        how = _RESOLVE if cross else _RESOLVE | const.RESOLVE_NO_XDEV
        try:
            return syscalls.openat2(self.fd, unsafe_path, flags, 0, how)
        except OSError as error:
            if error.errno == errno.ELOOP:
                message = f"path {unsafe_path!r} is refused: a magic link, or too many links"
                raise UnsafePathError(message) from error
            if error.errno == errno.EXDEV:
                if not cross:
                    raise self._foreign(unsafe_path, follow=follow) from error
                message = f"path {unsafe_path!r} is refused: it leaves the rootfs"
                raise UnsafePathError(message) from error
            raise

    def _foreign(self, unsafe_path: str, *, follow: bool) -> ForeignMountError:
        fd = self.resolve(unsafe_path, follow=follow)
        try:
            return self.mounts.foreign(fd, unsafe_path)
        finally:
            posixos.close(fd)

    def lstat(self, unsafe_path: str) -> posixos.stat_result:
        """The status of `unsafe_path`; of the link itself when it is one."""
        fd = self.resolve(unsafe_path, follow=False)
        try:
            return posixos.fstat(fd)
        finally:
            posixos.close(fd)

    def mode(self, unsafe_path: str) -> int:
        """The type and mode of `unsafe_path`, or of the link itself; 0 when it is not there.

        For names out of listdir(): who shares a volume may take them away meanwhile.
        """
        try:
            return self.lstat(unsafe_path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def exists(self, unsafe_path: str) -> bool:
        """Whether `unsafe_path` leads to something in the root, or to what nobody is to know."""
        try:
            posixos.close(self.resolve(unsafe_path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (PermissionError, UnsafePathError):
            pass
        return True

    def readlink(self, unsafe_path: str) -> str:
        """The text of the link at `unsafe_path`; OSError(EINVAL or ENOENT) when it is none."""
        fd = self.resolve(unsafe_path, follow=False)
        try:
            if not stat.S_ISLNK(posixos.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, f"{unsafe_path!r} is not a symbolic link")
            return posixos.readlink("", dir_fd=fd)
        finally:
            posixos.close(fd)

    def listdir(self, unsafe_path: str, limit: int = _LIST_LIMIT) -> list[str]:
        """The names in a directory, sorted; UnsafePathError when there are more than `limit`."""
        fd = self._open_checked(unsafe_path, stat.S_IFDIR, posixos.O_RDONLY | posixos.O_DIRECTORY)
        names = []
        try:
            with posixos.scandir(fd) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > limit:
                        message = f"directory {unsafe_path!r} holds more than {limit} names"
                        raise UnsafePathError(message)
        except OSError as error:
            raise OSError(error.errno, error.strerror, unsafe_path) from None
        finally:
            posixos.close(fd)
        return sorted(names)

    def open(self, unsafe_path: str, *, follow: bool = True, cross: bool = True) -> int:
        """Return a read-only descriptor of a regular file; the caller closes it.

        UnsafePathError names what else is there: opening a fifo or a device of the image could
        hang, or act, and a file of the kernel's would tell what is not the container's.
        """
        flags = posixos.O_RDONLY | posixos.O_NONBLOCK | posixos.O_NOCTTY
        return self._open_checked(unsafe_path, stat.S_IFREG, flags, follow=follow, cross=cross)

    def read(self, unsafe_path: str, limit: int = _READ_LIMIT, *, cross: bool = True) -> bytes:
        """The content of a regular file of at most `limit` bytes; else UnsafePathError."""
        return self.read_whose(unsafe_path, limit, cross=cross)[0]

    def read_whose(
        self, unsafe_path: str, limit: int = _READ_LIMIT, *, cross: bool = True
    ) -> tuple[bytes, bool]:
        """Do the same, and say whether the file lies on the mount of the root itself."""
        fd = self.open(unsafe_path, cross=cross)
        try:
            own = self.mounts.is_root(fd, syscalls.statx(fd))
            # The size says nothing about one that grows meanwhile.
            data = b""
            while len(data) <= limit:
                chunk = posixos.read(fd, min(limit + 1 - len(data), 1 << 16))
                if not chunk:
                    return data, own
                data += chunk
        except OSError as error:
            raise OSError(error.errno, error.strerror, unsafe_path) from None
        finally:
            posixos.close(fd)
        raise UnsafePathError(f"{unsafe_path!r} is larger than {limit} bytes")

    def _open_checked(
        self, unsafe_path: str, file_type: int, flags: int,
        *, follow: bool = True, cross: bool = True,
    ) -> int:  # fmt: skip
        """Open `unsafe_path` with `flags` once it is known to be of `file_type`."""
        handle = self.resolve(unsafe_path, follow=follow, cross=cross)
        try:
            return reopen(handle, unsafe_path, flags, self.look(handle, unsafe_path, file_type))
        finally:
            posixos.close(handle)

    def look(self, handle: int, unsafe_path: str, file_type: int = stat.S_IFREG) -> syscalls.Statx:
        """Return the status of `handle`, which is to be opened.

        UnsafePathError when it is not of `file_type`, or on a file system of the kernel's.
        """
        status = syscalls.statx(handle)
        if stat.S_IFMT(status.mode) != file_type:
            found, wanted = kind_of(status.mode), kind_of(file_type)
            raise UnsafePathError(f"{unsafe_path!r} is a {found}, not a {wanted}")
        if not self.mounts.is_root(handle, status):
            name = kernels(handle)
            if name:
                raise UnsafePathError(f"{unsafe_path!r} lies on {name}, which is the kernel's")
        return status


def kernels(fd: int) -> str:
    """Return the name of the kernel's own file system that `fd` lies on, "" for any other."""
    from ocishim.linux import kernelfs  # noqa: PLC0415 - most files are the image's

    return kernelfs.name(syscalls.fstatfs_type(fd))
