"""The library folders of a container as they are shown to the host's ldconfig, and to nobody else.

A folder is open by descriptor, with its names; what is mounted on a library in it (CDI mounts the
driver's so), and what a library's link leads to outside of the folder, is shown in that place.
Nothing else of the container is. Where folders come from is for the hooks; sandbox.py shows them.
"""

from __future__ import annotations

import errno

from ocishim import posixos
from ocishim.errors import HookError, UnsafePathError
from ocishim.hooks.outcome import Outcome
from ocishim.linux import mountinfo, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from ocishim.rootfs.rootfs import Rootfs

_S_IFDIR = 0o040000
_FOR_EVERYBODY, _FILE_FOR_EVERYBODY = 0o005, 0o004
# Each is an open file, here and in the sandbox's process; a soft limit of 1024 is usual.
_MOST_FOLDERS, _MOST_COVERS = 320, 160
# Of all folders: 60 MiB when they are long; as many again of those that are others'.
_MOST_NAMES = 200_000
# ldconfig compares each with half of the others: 0.3 s for 4,000, 40 s for 40,000.
_MOST_LIBRARIES_OF_OTHERS = 4096
NO_FAULT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
"""What the kernel says of a file that may be a library all the same."""
TOLD = (*NO_FAULT_OF_THE_FILE, errno.EACCES)
"""Why a library is not read, where whoever asks for it is told."""


def is_library(name: str) -> bool:
    """Whether ldconfig looks at a file of this name."""
    return name.startswith(("lib", "ld-", "ld.so", "ld64.so")) and ".so" in name


class Folder:
    """One folder: `path` for the container, `fd` (O_PATH), where mountinfo has it.

    files: names of regular files; links: of libraries' symbolic links, and their texts. covers:
    library names on which something else is shown: what is mounted there (`mounted`), and what a
    link leads to. own: it lies on the mount of the rootfs.
    """

    __slots__ = ("covers", "fd", "files", "links", "mounted", "own", "path", "place", "wanted")

    def __init__(self, path: str, fd: int, *, wanted: bool, own: bool) -> None:
        self.path = path
        self.fd = fd
        self.own = own
        self.wanted = wanted  # by the hook's request: its links by SONAME are to be there
        try:
            self.place = posixos.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            raise HookError(f"{path}: cannot be looked through: there is no /proc") from None
        self.files: set[str] = set()
        self.links: dict[str, str] = {}
        self.mounted: set[str] = set()
        self.covers: dict[str, int] = {}

    @property
    def identity(self) -> tuple[int, int]:
        """Which folder it is, by whatever path."""
        status = posixos.fstat(self.fd)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Close what is open."""
        for fd in (self.fd, *self.covers.values()):
            posixos.close(fd)

    def leads(self, name: str) -> bool:
        """Whether `name` leads to a library, in this folder or elsewhere."""
        return name in self.covers or bool(self.target(name))

    def target(self, name: str) -> str:
        """Return the file's name that `name` leads to in this folder, "" for none."""
        for _ in range(8):
            if name in self.files:
                return name
            name = self.links.get(name, "")
        return ""


class View:
    """The folders, each once, in order. Owns their descriptors: use it in a `with`.

    What lies on somebody else's mount takes no place from the image's own.
    """

    __slots__ = ("_covers", "_full", "_libraries", "_names", "_rootfs", "folders", "outcomes")

    def __init__(self, rootfs: Rootfs) -> None:
        self._rootfs = rootfs
        self._covers = 0
        self._full = False
        self._libraries = 0  # of others
        self._names = {True: 0, False: 0}  # of the image's own folders, of others
        self.folders: list[Folder] = []
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self.folders:
            folder.close()

    def add(self, paths: Iterable[str], wanted: Iterable[str]) -> None:
        """Open those of `paths` that are folders; `wanted` are the request's.

        One that cannot be shown is left out, and a warning among `outcomes` says why. Looked up as
        the container's user: the cache tells everybody of names below what that one cannot enter.
        """
        with self._rootfs.container().reading():
            self._add_all(paths, wanted)

    def _add_all(self, paths: Iterable[str], wanted: Iterable[str]) -> None:
        known: dict[tuple[object, int], Folder] = {}
        for path in paths:
            if len(self.folders) == _MOST_FOLDERS:
                self._leave_out(path, f"more than {_MOST_FOLDERS} folders")
                break
            try:
                self._add(path, known, wanted=path in wanted)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except UnsafePathError as error:
                self._leave_out(path, error.message)
            except OSError as error:
                self._leave_out(path, str(error.strerror))
        if self.folders:
            table = mountinfo.read()
            for folder in self.folders:
                self._cover_mounted(folder, table)
            for folder in sorted(self.folders, key=lambda folder: not folder.own):
                self._cover_linked(folder)

    def warn(self, text: str) -> None:
        """Add a warning to the outcomes."""
        self.outcomes.append(Outcome(text, warning=True))

    def _leave_out(self, path: str, why: str) -> None:
        self.warn(f"{path}: {why}: its libraries are left out")

    def _add(self, path: str, known: dict[tuple[object, int], Folder], *, wanted: bool) -> None:
        fd = self._rootfs.resolve(path, posixos.O_PATH | posixos.O_DIRECTORY)
        try:
            status = self._rootfs.look(fd, path, _S_IFDIR)
            same = known.get((status.device, status.inode))
            if same is not None:  # ldconfig, too, takes the first name
                same.wanted = same.wanted or wanted
                posixos.close(fd)
                return
            _require_readable(status)
            own = self._rootfs.mounts.is_root(fd, status)
            folder = Folder(path, fd, wanted=wanted, own=own)
            self._names[own] += self._scan(folder)
            if not own:
                self._count_libraries(folder)
        except BaseException:
            posixos.close(fd)
            raise
        known[status.device, status.inode] = folder
        self.folders.append(folder)

    def _scan(self, folder: Folder) -> int:
        """Take down and count the folder's names; UnsafePathError for too many of all folders."""
        fd = posixos.open(
            ".", posixos.O_RDONLY | posixos.O_DIRECTORY | posixos.O_CLOEXEC, dir_fd=folder.fd
        )
        before = count = self._names[folder.own]
        try:
            with posixos.scandir(fd) as entries:
                for count, entry in enumerate(entries, before + 1):
                    if count > _MOST_NAMES:
                        raise UnsafePathError(f"more than {_MOST_NAMES} names in library folders")
                    if entry.is_symlink():
                        if is_library(entry.name):
                            folder.links[entry.name] = _text(folder.fd, entry.name)
                    elif entry.is_file(follow_symlinks=False):
                        folder.files.add(entry.name)
        finally:
            posixos.close(fd)
        return count - before

    def _count_libraries(self, folder: Folder) -> None:
        """UnsafePathError for too many on somebody else's mounts."""
        count = len(folder.links) + sum(map(is_library, folder.files))
        if self._libraries + count > _MOST_LIBRARIES_OF_OTHERS:
            raise UnsafePathError(f"more than {_MOST_LIBRARIES_OF_OTHERS} libraries on volumes")
        self._libraries += count

    def _cover_mounted(self, folder: Folder, table: bytes) -> None:
        """Find what is mounted on libraries."""
        for name in mountinfo.below(table, folder.place):
            if is_library(name) and "/" not in name and self._show(folder, name, name):
                folder.mounted.add(name)
                folder.files.add(name)

    def _cover_linked(self, folder: Folder) -> None:
        """Find where libraries' links lead outside of the folder."""
        for name, text in folder.links.items():
            if "/" in text and name not in folder.covers:
                self._show(folder, name, self._inside(folder, name))

    def _inside(self, folder: Folder, name: str) -> str:
        root = posixos.readlink(f"/proc/self/fd/{self._rootfs.fd}").rstrip("/")
        return f"{folder.place.removeprefix(root)}/{name}"

    def _show(self, folder: Folder, name: str, path: str) -> bool:
        """Show the file `path`, a name of the folder or a path of the container, at `name`."""
        if self._covers == _MOST_COVERS:
            if not self._full:
                self._full = True
                more = (
                    f"more than {_MOST_COVERS} libraries that are mounted or linked from elsewhere"
                )
                self.warn(f"{folder.path}: {more}: the rest is left out")
            return False
        try:
            if path == name:
                flags = posixos.O_PATH | posixos.O_NOFOLLOW | posixos.O_CLOEXEC
                fd = posixos.open(name, flags, dir_fd=folder.fd)
            else:
                fd = self._rootfs.resolve(path)
        except UnsafePathError:
            return False
        except OSError as error:
            if error.errno in NO_FAULT_OF_THE_FILE:
                self.warn(f"{folder.path}/{name}: {posixos.strerror(error.errno)}: left out")
            return False
        try:
            self._rootfs.look(fd, path)
        except UnsafePathError:
            posixos.close(fd)
            return False
        self._covers += 1
        folder.covers[name] = fd
        return True


def _require_readable(status: syscalls.Statx) -> None:
    """UnsafePathError for a folder whose names are not for everybody: the cache tells them."""
    if status.mode & _FOR_EVERYBODY != _FOR_EVERYBODY:
        raise UnsafePathError(f"not everybody may read it (mode {status.mode & 0o7777:o})")


def _text(fd: int, name: str) -> str:
    try:
        return posixos.readlink(name, dir_fd=fd)
    except OSError:
        return ""  # gone meanwhile


def read_at(folder: Folder, rootfs: Rootfs, name: str) -> int:
    """Open the library `name` of the folder, or what is shown there, to be read; caller closes.

    UnsafePathError or OSError when it cannot be; EACCES for what is not for everybody: its SONAME
    is a name that everybody sees.
    """
    from ocishim.rootfs.handle import reopen  # noqa: PLC0415 - where a link is missing

    shown = folder.covers.get(name, -1)
    flags = posixos.O_PATH | posixos.O_NOFOLLOW | posixos.O_CLOEXEC
    handle = shown if shown >= 0 else posixos.open(name, flags, dir_fd=folder.fd)
    try:
        status: syscalls.Statx = rootfs.look(handle, name)
        if not status.mode & _FILE_FOR_EVERYBODY:
            raise OSError(errno.EACCES, "not everybody may read it")
        return reopen(
            handle, name, posixos.O_RDONLY | posixos.O_NONBLOCK | posixos.O_NOCTTY, status
        )
    finally:
        if handle != shown:
            posixos.close(handle)
