"""What lies in the spec dirs right now: names and identities, nothing is opened.

Which files count follows the reference (HEAD): direct children ending in .json or .yaml, in byte
order; a dir that is not there is passed over, one that cannot be read ends the scan; a spec dir
that is a symlink is followed. What the files say is left to compiled.py.

The result is mostly bytes, because it is compared with the one that the compiled registry
remembers: 1,000 files as tuples of integers are 290 page faults and 1.5 ms, as bytes half of it.
"""

from __future__ import annotations

from struct import Struct

from ocishim import posixos

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # One spec dir: its files' names, joined by "/", and their identities, joined; or the errno
    # that opening it gave. The scan ends at an errno other than ENOENT.
    Listing = tuple[str, str, bytes] | tuple[str, int]

SUFFIXES = (".json", ".yaml")
# Device, inode, size, mtime and ctime (ns): as in cache.identity, and as the kernel sizes them.
_IDENTITY = Struct("=QQqqq")
_NO_FILE = -1


class Scan:
    """The spec dirs at one moment. `key` is equal for two scans that saw the same."""

    __slots__ = ("_names", "key")

    def __init__(self) -> None:
        self.key: list[Listing] = []
        self._names: list[tuple[str, list[str]]] = []

    def add(self, directory: str) -> bool:
        """Look at one more dir, of higher priority than those before; False if that ends it."""
        try:
            names, identities = _list(directory)
        except OSError as e:
            self.key.append((directory, e.errno or -1))
            return isinstance(e, FileNotFoundError)
        self.key.append((directory, "/".join(names), identities))
        self._names.append((_join(directory), names))
        return True

    def files(self) -> Iterator[tuple[int, str, bytes]]:
        """(priority, path, identity) of each file, in the order in which the reference reads."""
        for priority, listing in enumerate(self.key):
            if len(listing) == 3 and listing[1]:
                prefix = _join(listing[0])
                for number, name in enumerate(listing[1].split("/")):
                    at = number * _IDENTITY.size
                    yield priority, prefix + name, listing[2][at : at + _IDENTITY.size]

    def path(self, number: int) -> str:
        """The path of the `number`th file of `files`, without walking over the others."""
        for prefix, names in self._names:
            if number < len(names):
                return prefix + names[number]
            number -= len(names)
        raise IndexError(number)


def scan(spec_dirs: list[str]) -> Scan:
    """Look at the spec dirs, in the order of rising priority. Never raises."""
    found = Scan()
    for directory in spec_dirs:
        if not found.add(_clean(directory)):
            break  # the reference gives up here, without a word, and so must we
    return found


def pack(st: posixos.stat_result) -> bytes:
    """The identity of a file in one state (cache.identity), as bytes."""
    return _IDENTITY.pack(st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def stat_errno(identity: bytes) -> int:
    """Why stat(2) did not follow a name (a dangling symlink); 0 if it did."""
    _device, number, size, _mtime, _ctime = _IDENTITY.unpack(identity)
    return number if size == _NO_FILE else 0


def _list(directory: str) -> tuple[list[str], bytes]:
    # Names relative to a descriptor: 1.9 ms for 1,000 files, 2.6 ms by path.
    fd = posixos.open(directory, posixos.O_RDONLY | posixos.O_DIRECTORY | posixos.O_CLOEXEC)
    try:
        names = [name for name in posixos.listdir(fd) if name.endswith(SUFFIXES)]
        _sort(names)
        return names, b"".join([_identity(name, fd) for name in names])
    finally:
        posixos.close(fd)


def _identity(name: str, fd: int) -> bytes:
    try:
        return pack(posixos.stat(name, dir_fd=fd))
    except OSError as e:
        return _IDENTITY.pack(0, e.errno or 1, _NO_FILE, 0, 0)


def _sort(names: list[str]) -> None:
    # Code points sort as UTF-8 bytes do, except those that stand for undecodable bytes.
    if all(map(str.isascii, names)):
        names.sort()
    else:
        names.sort(key=posixos.fsencode)


def _clean(path: str) -> str:
    """`path` as Go's filepath.Clean has it; normpath keeps a leading "//"."""
    path = posixos.path.normpath(path)
    return path[1:] if path.startswith("//") else path


def _join(directory: str) -> str:
    """What stands before a file's name, as Go's filepath.Join has it."""
    if directory == ".":
        return ""
    return directory if directory == "/" else directory + "/"
