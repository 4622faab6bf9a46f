"""The container's root directory: every path of an image is read and written through here.

Reading is tree.py's. Writing happens on the container's own mounts alone (ownmounts.py), which is
decided on the descriptor that is written to; names are replaced by dirent.py. What to write, and
whether a refusal matters, is for the hooks to decide.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import ForeignMountError, PyshimError, UnsafePathError
from ocishim.linux import syscalls
from ocishim.rootfs import dirent, tree
from ocishim.rootfs.handle import kind_of, set_mode
from ocishim.rootfs.tree import Tree

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MOST_LINKS = 40  # MAXSYMLINKS, path_resolution(7)


def _split(unsafe_path: str) -> tuple[str, str]:
    """(parent, name); trailing slashes do not count. UnsafePathError when there is no name."""
    parent, _, name = unsafe_path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise UnsafePathError(f"path {unsafe_path!r} names no file in the rootfs")
    return parent or "/", name


class Rootfs(Tree):
    """The tree, to be written as well.

    links: those that put_symlink has seen to, as (device, inode) of the folder, and the name.
    refused: library folders that a hook has decided against, as (device, inode).
    """

    __slots__ = ("links", "refused")

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd, path)
        self.links: set[tuple[object, int, str]] = set()
        self.refused: set[tuple[int, int]] = set()

    def is_shut_out(self, unsafe_path: str, error: OSError) -> bool:
        """Whether `error`, about `unsafe_path`, is of a mount that is somebody else's.

        One that may not be entered or written, as a folder of the user's in a container whose root
        is another: the deepest folder above that can be reached tells whose it is.
        """
        if error.errno not in _DENIED:
            return False
        parent = unsafe_path.rstrip("/").rpartition("/")[0]
        return self._foreign_of(parent or "/", unsafe_path) is not None

    def left_to_others(self, refused: UnsafePathError, unsafe_path: str) -> PyshimError:
        """Return what to raise for `refused`: a ForeignMountError on somebody else's mount.

        What the kernel itself shows, as its magic links, is nobody's.
        """
        return self._foreign_of(unsafe_path, unsafe_path, kernels=False) or refused

    def _foreign_of(
        self, unsafe_path: str, told: str, *, kernels: bool = True
    ) -> ForeignMountError | None:
        """Return the error about `told` when `unsafe_path` belongs to somebody else, else None.

        So it does where a link on the way does, whatever that leads to. Of what cannot be reached,
        the deepest folder on the way that can be tells.
        """
        place, links = "/", 0
        todo = unsafe_path.split("/")[::-1]
        while todo and links <= _MOST_LINKS:
            name = todo.pop()
            if name in ("", "."):
                continue
            try:
                fd = self.resolve(f"{place}/{name}", follow=False)
            except (OSError, UnsafePathError):
                break
            try:
                if not stat.S_ISLNK(posixos.fstat(fd).st_mode):
                    place = posixos.path.normpath(f"{place}/{name}")
                    continue
                if tree.kernels(fd):
                    return None  # a magic link
                if error := self.mounts.refusal(fd, told):
                    return error
                links += 1
                target = posixos.readlink("", dir_fd=fd)
            finally:
                posixos.close(fd)
            place = "/" if target.startswith("/") else place
            todo += target.split("/")[::-1]
        while (fd := self._there(place)) < 0:  # taken away meanwhile
            place = posixos.path.dirname(place)
        try:
            error = self.mounts.refusal(fd, told)
            return error if kernels or not tree.kernels(fd) else None
        finally:
            posixos.close(fd)

    def _there(self, place: str) -> int:
        try:
            return self.resolve(place, follow=False)
        except (OSError, UnsafePathError):
            if place == "/":
                raise
            return -1

    def owns(self, unsafe_path: str) -> bool:
        """Whether `unsafe_path` leads to something on the mount of the root itself."""
        try:
            fd = self.resolve(unsafe_path)
        except (OSError, UnsafePathError):
            return False
        try:
            return self.mounts.is_root(fd, syscalls.statx(fd))
        finally:
            posixos.close(fd)

    def mkdir_all(self, unsafe_path: str, mode: int = 0o755) -> int:
        """Make `unsafe_path` a directory with its parents; return an O_PATH descriptor of it.

        The caller closes it. Links inside the root are walked, absolute ones too; a dangling
        link or a file on the way is an UnsafePathError, a ForeignMountError when that, or a folder
        that would have to be made, lies on another mount. `mode` is subject to the umask.
        """
        try:
            return self._mkdir_all(unsafe_path, mode)
        except UnsafePathError as error:
            raise self.left_to_others(error, unsafe_path) from error.__cause__

    def _mkdir_all(self, unsafe_path: str, mode: int) -> int:
        flags = posixos.O_PATH | posixos.O_DIRECTORY
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
                posixos.close(parent)
        return fd

    def _enter(self, parent: int, walked: str, name: str, mode: int) -> int:
        """The directory `walked`, whose parent is open, made if it is missing."""
        try:
            return self._into(parent, walked, name)
        except FileNotFoundError:
            self.mounts.require(parent, walked)
            try:
                posixos.mkdir(name, mode, dir_fd=parent)
            except FileExistsError:
                pass  # another hook was faster, or a dangling link: the next look tells
        except NotADirectoryError as error:
            raise UnsafePathError(self._not_a_directory(walked)) from error
        try:
            return self._into(parent, walked, name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnsafePathError(self._not_a_directory(walked)) from error

    def _into(self, parent: int, walked: str, name: str) -> int:
        """Open the directory `walked`: by its name alone where that leads down, and no link does.

        Of 2,000 folders to be made, each would else be a walk of up to 2,000 steps.
        """
        flags = posixos.O_PATH | posixos.O_DIRECTORY
        if name != "..":
            try:
                how = flags | posixos.O_NOFOLLOW | posixos.O_CLOEXEC
                return posixos.open(name, how, dir_fd=parent)
            except NotADirectoryError:
                pass  # a link, or in the way
        return self.resolve(walked, flags)

    def _not_a_directory(self, walked: str) -> str:
        try:
            status = self.lstat(walked)
        except OSError as error:
            return f"{walked!r} changed while directories were made: {error.strerror}"
        if stat.S_ISLNK(status.st_mode):
            return f"{walked!r} is a symbolic link that leads to no directory in the rootfs"
        if stat.S_ISDIR(status.st_mode):
            return f"{walked!r} changed while directories were made"
        return f"{walked!r} is a {kind_of(status.st_mode)}, not a directory"

    def put_symlink(self, target: str, unsafe_path: str) -> bool:
        """`chroot ROOT ln -f -s target unsafe_path`: True when something changed.

        Parents are made; a file or another link there is replaced at once (rename), the same
        link is left alone. OSError: EISDIR when a directory is there.
        """
        if not target or "\0" in target:
            raise UnsafePathError(f"symbolic link {unsafe_path!r} to {target!r}: not a path")
        parent_path, name = _split(unsafe_path)
        parent = self.mkdir_all(parent_path)
        try:
            return self.put_symlink_at(parent, name, target, unsafe_path)
        finally:
            posixos.close(parent)

    def put_symlink_at(self, parent: int, name: str, target: str, unsafe_path: str) -> bool:
        """Do the same in a folder that is open; `unsafe_path` is for messages only."""
        status = syscalls.statx(parent)
        self.links.add((status.device, status.inode, name))
        if dirent.has_link(parent, name, target):
            return False
        self.mounts.require(parent, unsafe_path)
        try:
            dirent.put_link(parent, name, target)
        except OSError:
            self._require_name(parent, name, unsafe_path)
            raise
        return True

    def put_file(self, unsafe_path: str, data: bytes, mode: int = 0o644) -> bool:
        """Make `unsafe_path` a regular file with `data` and `mode`: True when something changed.

        Parents are made. The name is replaced at once (rename) and never written through: a link
        there goes, and a hard link's other names keep their content.
        """
        parent_path, name = _split(unsafe_path)
        parent = self.mkdir_all(parent_path)
        try:
            self.mounts.require(parent, unsafe_path)

            def look(handle: int) -> syscalls.Statx:
                return self.mounts.require(handle, unsafe_path)

            if dirent.has_content(parent, name, data, mode, look):
                return False
            dirent.put_content(parent, name, data, mode)
        finally:
            posixos.close(parent)
        return True

    def _require_name(self, parent: int, name: str, unsafe_path: str) -> None:
        """ForeignMountError when something is mounted on `name`, which is why it stays."""
        try:
            fd = posixos.open(
                name, posixos.O_PATH | posixos.O_NOFOLLOW | posixos.O_CLOEXEC, dir_fd=parent
            )
        except OSError:
            return
        try:
            self.mounts.require(fd, unsafe_path)
        finally:
            posixos.close(fd)

    def chmod(self, unsafe_path: str, mode: int) -> bool:
        """Set the permission bits (setuid, setgid, sticky included): True when they changed.

        Links on the way stay in the root; one at the end is refused, and so is a file with
        further hard links, which may be names outside of the root. ForeignMountError: on another
        mount, whatever it is there.
        """
        try:
            fd = self.resolve(unsafe_path, follow=False)
        except UnsafePathError as error:
            raise self.left_to_others(error, unsafe_path) from error.__cause__
        try:
            status = syscalls.statx(fd)
            if stat.S_IMODE(status.mode) == mode and not stat.S_ISLNK(status.mode):
                return False
            self.mounts.require(fd, unsafe_path)
            if stat.S_ISLNK(status.mode):
                raise UnsafePathError(f"{unsafe_path!r} is a symbolic link: its mode is not set")
            if stat.S_ISREG(status.mode) and status.links > 1:
                links = f"{unsafe_path!r} has {status.links} hard links"
                raise UnsafePathError(f"{links}: its mode is not set")
            set_mode(fd, mode)
        finally:
            posixos.close(fd)
        return True
