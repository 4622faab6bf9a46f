"""The one compiled cache: parsed files kept as marshal data under /run/pyshim.

An entry is used only when it cannot be anything but what pyshim itself wrote for the same key:
the folder and the file are ours and nobody else can write them, the entry was made by this
pyshim and this marshal format, its checksum is right and its key is equal. Everything else reads
as "not there", which costs time, never correctness. What belongs into a key is the caller's
business; `identity` is the part of it that names one state of one file.
"""

from __future__ import annotations

import _stat as stat
import errno
import marshal
import sys
from _imp import source_hash  # SipHash of a builtin module: always loaded, 0.2 ms for 1 MB

from ocishim import __version__, posixos

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Place = tuple[int, int]

FORMAT = 2
_LARGEST = 256 << 20  # bytes of an entry; a thousand spec files have 3 MiB
# Before any data is unmarshalled it must be known to be in this interpreter's format.
MARK = f"pyshim {__version__} {FORMAT} {marshal.version} {sys.byteorder}\n".encode()
_SEED = 0x70797368696D
_START = len(MARK) + len(source_hash(_SEED, b""))


def identity(st: posixos.stat_result) -> tuple[int, int, int, int, int]:
    """What changes when a file is replaced or written: inode, size and both times (ns).

    ctime is in it because nobody can set it: a write that restores mtime is seen too.
    """
    return (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def digest(data: bytes) -> str:
    """Sixteen hexadecimal digits that tell contents apart; not a defence against a forger."""
    return source_hash(_SEED, data).hex()


class Cache:
    """Entries in `directory`, one file each; a file may hold several (see `put_all`)."""

    __slots__ = ("directory",)

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def get(self, name: str, key: object, place: Place | None = None) -> object | None:
        """The value put under `name` with an equal `key`, or None. Never raises.

        `place` (offset and length, as `put_all` returned it) picks one entry of several.
        """
        try:
            data = self._read(name, place)
        except OSError:
            return None
        return _unframe(data, key)

    def put(self, name: str, key: object, value: object) -> None:
        """Replace the entry `name` by one rename; a failure leaves the old one and no litter."""
        self.put_all(name, [(key, value)])

    def put_all(self, name: str, entries: Iterable[tuple[object, object]]) -> list[Place]:
        """Replace `name` by several entries in one file; returns the place of each.

        The places are right even when the file could not be written: a later `get` there
        finds nothing.
        """
        frames = [_frame(key, value) for key, value in entries]
        try:
            self._write(name, b"".join(frames))
        except OSError:
            pass  # a full disk, a read-only /run, somebody else's folder: work without a cache
        return _places(frames)

    def append(self, name: str, data: bytes, limit: int, span: int) -> None:
        """Add `data` to the file `name` in one write. Never raises.

        Past `limit` bytes, or when its last write was in an earlier span of that many seconds, the
        file becomes NAME.old in place of the one before: between one and two spans are kept.
        """
        try:
            self._append(name, data, limit, span)
        except FileNotFoundError:
            try:
                posixos.mkdir(self.directory, 0o700)
                self._append(name, data, limit, span)
            except OSError:
                pass
        except OSError:
            pass

    def _append(self, name: str, data: bytes, limit: int, span: int) -> None:
        import time  # noqa: PLC0415 - builtin

        with _Folder(self.directory) as folder:
            fd = _opened_to_append(name, folder)
            try:
                found = posixos.fstat(fd)
                posixos.write(fd, data)
                old = found.st_size and found.st_mtime // span != time.time() // span
                if old or found.st_size > limit:
                    _turn(name, fd, folder)
            finally:
                posixos.close(fd)

    def lines(self, name: str) -> list[bytes]:
        """Return the lines that were appended to `name` and are kept, the oldest first."""
        read = []
        for each in (f"{name}.old", name):
            try:
                read.append(self._read(each, None))
            except OSError:
                pass
        return b"".join(read).splitlines()

    def names(self) -> list[str]:
        """The names of all entries and left-over temporary files; empty when there are none."""
        try:
            with _Folder(self.directory) as folder:
                return posixos.listdir(folder)
        except OSError:
            return []

    def remove(self, name: str) -> None:
        """Remove the entry `name`, if it is there and ours to remove."""
        try:
            with _Folder(self.directory) as folder:
                posixos.unlink(name, dir_fd=folder)
        except OSError:
            pass

    def age(self, name: str) -> float:
        """Seconds since `name` was written; negative when the clock has stepped back."""
        import time  # noqa: PLC0415 - only when stale files are removed

        try:
            with _Folder(self.directory) as folder:
                written = posixos.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0
        return time.time() - written

    def _read(self, name: str, place: Place | None) -> bytes:
        flags = posixos.O_RDONLY | posixos.O_CLOEXEC | posixos.O_NOFOLLOW | posixos.O_NONBLOCK
        with _Folder(self.directory) as folder:
            fd = posixos.open(name, flags, dir_fd=folder)
            try:
                st = posixos.fstat(fd)
                if not _only_ours(st, stat.S_IFREG, 0o022):
                    return b""
                offset, length = place or (0, st.st_size)
                if length > _LARGEST:
                    return b""
                return posixos.pread(fd, length, offset)
            finally:
                posixos.close(fd)

    def _write(self, name: str, data: bytes) -> None:
        try:
            posixos.mkdir(self.directory, 0o700)
        except FileExistsError:
            pass
        with _Folder(self.directory) as folder:
            temporary = f"{name}.{posixos.getpid()}.tmp"
            try:
                _write_new(temporary, data, folder)
                posixos.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                posixos.unlink(temporary, dir_fd=folder)
                raise


class _Folder:
    """The cache folder's descriptor, proven to be a real folder that only we can enter."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> int:
        flags = posixos.O_RDONLY | posixos.O_DIRECTORY | posixos.O_NOFOLLOW | posixos.O_CLOEXEC
        self.fd = posixos.open(self.path, flags)
        if not _only_ours(posixos.fstat(self.fd), stat.S_IFDIR, 0o077):
            posixos.close(self.fd)
            raise PermissionError(f"{self.path} is not a private folder of ours")
        return self.fd

    def __exit__(self, *_exc: object) -> None:
        posixos.close(self.fd)


def _only_ours(st: posixos.stat_result, kind: int, forbidden: int) -> bool:
    return (
        stat.S_IFMT(st.st_mode) == kind
        and st.st_uid == posixos.geteuid()
        and not st.st_mode & forbidden
    )


def _opened_to_append(name: str, folder: int) -> int:
    """Open the file `name`; a link, a FIFO or what is not ours alone makes way for a new one."""
    flags = posixos.O_RDWR | posixos.O_APPEND | posixos.O_CREAT
    flags |= posixos.O_CLOEXEC | posixos.O_NOFOLLOW | posixos.O_NONBLOCK
    for _ in range(2):
        try:
            fd = posixos.open(name, flags, 0o600, dir_fd=folder)
        except OSError as err:
            if err.errno != errno.ELOOP:
                raise
        else:
            if _only_ours(posixos.fstat(fd), stat.S_IFREG, 0o077):
                return fd
            posixos.close(fd)
        posixos.unlink(name, dir_fd=folder)
    raise PermissionError(f"{name} is not a private file of ours")


def _write_new(name: str, data: bytes, folder: int) -> None:
    """Write `data` to a file that did not exist. No fsync: a torn file fails its checksum."""
    flags = posixos.O_WRONLY | posixos.O_CREAT | posixos.O_EXCL | posixos.O_CLOEXEC
    try:
        fd = posixos.open(name, flags, 0o600, dir_fd=folder)
    except FileExistsError:  # left by a killed process that had our pid
        posixos.unlink(name, dir_fd=folder)
        fd = posixos.open(name, flags, 0o600, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[posixos.write(fd, view) :]
    finally:
        posixos.close(fd)


def _turn(name: str, fd: int, folder: int) -> None:
    """Let the file `name`, open as `fd`, be the old one, unless another process has done so."""
    import fcntl  # noqa: PLC0415 - rare

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: another process is at it
    if posixos.fstat(fd).st_ino == posixos.stat(name, dir_fd=folder, follow_symlinks=False).st_ino:
        posixos.rename(name, f"{name}.old", src_dir_fd=folder, dst_dir_fd=folder)


def _frame(key: object, value: object) -> bytes:
    body = marshal.dumps((key, value))  # type: ignore[arg-type]  # plain data by contract
    return MARK + source_hash(_SEED, body) + body


def _unframe(data: bytes, key: object) -> object | None:
    if not data.startswith(MARK):
        return None
    body = memoryview(data)[_START:]  # a copy of 1 MB costs 250 page faults
    if source_hash(_SEED, body) != data[len(MARK) : _START]:
        return None
    try:
        stored_key, value = marshal.loads(body)  # noqa: S302 - our own bytes, see above
    except (ValueError, EOFError, TypeError):
        return None
    return value if stored_key == key else None


def _places(frames: list[bytes]) -> list[Place]:
    places = []
    offset = 0
    for frame in frames:
        places.append((offset, len(frame)))
        offset += len(frame)
    return places
