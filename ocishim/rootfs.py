"""The container's root directory as a descriptor: every path of an image goes through here.

The image chooses what a path leads to. openat2(2) with RESOLVE_IN_ROOT makes the kernel treat
the root as "/" for absolute links and "..", RESOLVE_NO_MAGICLINKS keeps /proc/PID/fd links from
leading out, and a file is looked at (O_PATH) before it is opened. What to write, and whether a
refusal matters, is for the hooks to decide. Linux 5.6 is the floor.

A refusal is an UnsafePathError that names the path and what it is; what the kernel merely cannot
do (ENOENT, EROFS, ENOSPC...) stays an OSError.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import dirent
from ocishim import posixos as os
from ocishim.errors import UnsafePathError
from ocishim.handle import kind_of, reopen, set_mode
from ocishim.linux import const, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_RESOLVE = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS
_READ_LIMIT = 1 << 20  # bytes; an ld.so.conf of Debian has 35
_LIST_LIMIT = 10_000  # names


def _split(unsafe_path: str) -> tuple[str, str]:
    """(parent, name); trailing slashes do not count. UnsafePathError when there is no name."""
    parent, _, name = unsafe_path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise UnsafePathError(f"path {unsafe_path!r} names no file in the rootfs")
    return parent or "/", name


class Rootfs:
    """A root directory held open. Owns `fd`; `path` is for messages only."""

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def open_dir(cls, path: str) -> Rootfs:
        """Open the directory `path` of the host; its own links are followed."""
        if "\0" in path:
            raise UnsafePathError(f"rootfs path {path!r} holds a NUL byte")
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        return cls(os.open(path, flags), path)

    @classmethod
    def from_fd(cls, fd: int, path: str) -> Rootfs:
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
            os.close(self.fd)
            self.fd = -1

    def read_only(self) -> bool:
        """Whether the root's own mount or file system cannot be written."""
        return bool(os.fstatvfs(self.fd).f_flag & os.ST_RDONLY)

    def resolve(self, unsafe_path: str, flags: int = os.O_PATH, *, follow: bool = True) -> int:
        """Return a descriptor of `unsafe_path` in the root; the caller closes it.

        With `follow=False` a link at the end is itself the result. UnsafePathError: link loops,
        magic links, what was moved out of the root meanwhile, a NUL.
        """
        if "\0" in unsafe_path:
            raise UnsafePathError(f"path {unsafe_path!r} holds a NUL byte")
        flags |= 0 if follow else os.O_NOFOLLOW
        try:
            return syscalls.openat2(self.fd, unsafe_path, flags, 0, _RESOLVE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                message = f"path {unsafe_path!r} is refused: a magic link, or too many links"
                raise UnsafePathError(message) from error
            if error.errno == errno.EXDEV:
                message = f"path {unsafe_path!r} is refused: it leaves the rootfs"
                raise UnsafePathError(message) from error
            raise

    def lstat(self, unsafe_path: str) -> os.stat_result:
        """The status of `unsafe_path`; of the link itself when it is one."""
        fd = self.resolve(unsafe_path, follow=False)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, unsafe_path: str) -> bool:
        """Whether `unsafe_path` leads to something in the root."""
        try:
            os.close(self.resolve(unsafe_path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def readlink(self, unsafe_path: str) -> str:
        """The text of the link at `unsafe_path`; OSError(EINVAL or ENOENT) when it is none."""
        fd = self.resolve(unsafe_path, follow=False)
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, f"{unsafe_path!r} is not a symbolic link")
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def listdir(self, unsafe_path: str, limit: int = _LIST_LIMIT) -> list[str]:
        """The names in a directory, sorted; UnsafePathError when there are more than `limit`."""
        fd = self._open_checked(unsafe_path, stat.S_IFDIR, os.O_RDONLY | os.O_DIRECTORY)
        names = []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > limit:
                        message = f"directory {unsafe_path!r} holds more than {limit} names"
                        raise UnsafePathError(message)
        finally:
            os.close(fd)
        return sorted(names)

    def open(self, unsafe_path: str, *, follow: bool = True) -> int:
        """Return a read-only descriptor of a regular file; the caller closes it.

        UnsafePathError names what else is there: opening a fifo or a device of the image could
        hang, or act.
        """
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        return self._open_checked(unsafe_path, stat.S_IFREG, flags, follow=follow)

    def read(self, unsafe_path: str, limit: int = _READ_LIMIT) -> bytes:
        """The content of a regular file of at most `limit` bytes; else UnsafePathError."""
        fd = self.open(unsafe_path)
        try:
            # The size says nothing about files in /proc, nor about one that grows meanwhile.
            data = b""
            while len(data) <= limit:
                chunk = os.read(fd, min(limit + 1 - len(data), 1 << 16))
                if not chunk:
                    return data
                data += chunk
        finally:
            os.close(fd)
        raise UnsafePathError(f"{unsafe_path!r} is larger than {limit} bytes")

    def _open_checked(
        self, unsafe_path: str, file_type: int, flags: int, *, follow: bool = True
    ) -> int:
        """Open `unsafe_path` with `flags` once it is known to be of `file_type`."""
        handle = self.resolve(unsafe_path, follow=follow)
        try:
            status = os.fstat(handle)
            if stat.S_IFMT(status.st_mode) != file_type:
                found, wanted = kind_of(status.st_mode), kind_of(file_type)
                raise UnsafePathError(f"{unsafe_path!r} is a {found}, not a {wanted}")
            return reopen(
                handle, unsafe_path, flags, lambda flags: self.resolve(unsafe_path, flags)
            )
        finally:
            os.close(handle)

    def mkdir_all(self, unsafe_path: str, mode: int = 0o755) -> int:
        """Make `unsafe_path` a directory with its parents; return an O_PATH descriptor of it.

        The caller closes it. Links inside the root are walked, absolute ones too; a dangling
        link or a file on the way is an UnsafePathError. `mode` is subject to the umask.
        """
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            return self.resolve(unsafe_path, flags)
        except (FileNotFoundError, NotADirectoryError):
            pass  # the walk makes it, or says what is in the way
        fd = self.resolve("/", flags)
        walked = ""
        for name in unsafe_path.split("/"):
            if name in ("", "."):
                continue
            walked += "/" + name
            parent = fd
            try:
                fd = self._enter(parent, walked, name, mode)
            finally:
                os.close(parent)
        return fd

    def _enter(self, parent: int, walked: str, name: str, mode: int) -> int:
        """The directory `walked`, whose parent is open, made if it is missing."""
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            return self.resolve(walked, flags)
        except FileNotFoundError:
            try:
                os.mkdir(name, mode, dir_fd=parent)
            except FileExistsError:
                pass  # another hook was faster, or a dangling link: the next look tells
        except NotADirectoryError as error:
            raise UnsafePathError(self._not_a_directory(walked)) from error
        try:
            return self.resolve(walked, flags)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnsafePathError(self._not_a_directory(walked)) from error

    def _not_a_directory(self, walked: str) -> str:
        try:
            status = self.lstat(walked)
        except OSError as error:
            return f"{walked!r} changed while directories were made: {error.strerror}"
        if stat.S_ISLNK(status.st_mode):
            return f"{walked!r} is a symbolic link that leads to no directory in the rootfs"
        return f"{walked!r} is a {kind_of(status.st_mode)}, not a directory"

    def put_symlink(self, target: str, unsafe_path: str) -> bool:
        """`chroot ROOT ln -f -s target unsafe_path`: True when something changed.

        Parents are made; a file or another link there is replaced at once (rename), the same
        link is left alone. OSError: EISDIR when a directory is there, EBUSY on a mount point.
        """
        if not target or "\0" in target:
            raise UnsafePathError(f"symbolic link {unsafe_path!r} to {target!r}: not a path")
        parent_path, name = _split(unsafe_path)
        parent = self.mkdir_all(parent_path)
        try:
            if dirent.has_link(parent, name, target):
                return False
            dirent.put_link(parent, name, target)
        finally:
            os.close(parent)
        return True

    def put_file(self, unsafe_path: str, data: bytes, mode: int = 0o644) -> bool:
        """Make `unsafe_path` a regular file with `data` and `mode`: True when something changed.

        Parents are made. The name is replaced at once (rename) and never written through: a link
        there goes, and a hard link's other names keep their content.
        """
        parent_path, name = _split(unsafe_path)
        parent = self.mkdir_all(parent_path)
        try:
            if dirent.has_content(parent, name, data, mode):
                return False
            dirent.put_content(parent, name, data, mode)
        finally:
            os.close(parent)
        return True

    def chmod(self, unsafe_path: str, mode: int) -> bool:
        """Set the permission bits (setuid, setgid, sticky included): True when they changed.

        Links on the way stay in the root; one at the end is refused, and so is a file with
        further hard links, which may be names outside of the root.
        """
        fd = self.resolve(unsafe_path, follow=False)
        try:
            status = os.fstat(fd)
            if stat.S_ISLNK(status.st_mode):
                raise UnsafePathError(f"{unsafe_path!r} is a symbolic link: its mode is not set")
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                links = f"{unsafe_path!r} has {status.st_nlink} hard links"
                raise UnsafePathError(f"{links}: its mode is not set")
            if stat.S_IMODE(status.st_mode) == mode:
                return False
            set_mode(fd, mode, unsafe_path, lambda flags: self.resolve(unsafe_path, flags))
        finally:
            os.close(fd)
        return True

    def unlink(self, unsafe_path: str) -> None:
        """Remove a file or link, never what a link leads to; OSError when there is none."""
        parent_path, name = _split(unsafe_path)
        parent = self.resolve(parent_path, os.O_PATH | os.O_DIRECTORY)
        try:
            os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)
