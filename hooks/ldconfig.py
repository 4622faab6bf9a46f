"""The host's ldconfig at work on the container's folders: finding, sealing, asking it for a cache.

Only ever a program of the host (CVE-2024-0136): what the image calls /sbin/ldconfig is never
looked at. It makes and removes no links, reads no file that names folders and writes nowhere but
in its sandbox; what it wrote is taken for a suggestion: entries count only where they name a
library in a folder that it was told.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import DocumentError, HookError, UsageError
from ocishim.hooks import arch, elf, ldcache, libview, sandbox, soname
from ocishim.linux import memfd
from ocishim.oci import hooktable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocishim.hooks.libview import Folder, View

DEFAULT_PATH = "/sbin/ldconfig"
TIMEOUT = 10.0  # seconds, without an alarm
# Of the time that is left; in the rest pyshim looks through the folders itself.
_SHARE = 0.6
_NAME = "ld.so.cache"
_SIGBUS = 7  # the same on every architecture we have numbers for
# What it says of a library that it leaves out, and goes on; glibc 2.36, elf/readlib.c, ldconfig.c.
_UNREAD = (
    ("ldconfig: Input file /", " not found."),
    ("ldconfig: Cannot fstat file /", "."),
    ("ldconfig: Cannot mmap file /", "."),
    ("ldconfig: Cannot lstat /", f": {posixos.strerror(errno.EIO)}"),
)


class Library:
    """What ldconfig found: `entry` of the cache, and the folder and file its path stands for."""

    __slots__ = ("entry", "file", "folder")

    def __init__(self, entry: ldcache.Entry, folder: Folder, file: str) -> None:
        self.entry = entry
        self.folder = folder
        self.file = file  # relative to the folder


class NoCacheError(HookError):
    """There is no cache, and maybe no fault of the host's ldconfig: not there, or killed by us."""


def run(path: str, view: View) -> bytes:
    """Have the host's ldconfig `path` look through the view's folders; return the cache it wrote.

    A warning in the view names the libraries that it could not read.
    NoCacheError: there is no such file, a library became shorter while it read it, or it is not
    done in time: more than half of ours where the hook program has set an alarm, else 10 s.
    HookError: it cannot be used, fails, or leaves no cache.
    """
    program = _sealed(path)
    try:
        tree = sandbox.scratch(len(view.folders))
        try:
            unread = _unread(_work(program, view.folders, tree), view.folders)
            if unread:
                view.warn(f"ldconfig could not read, and so left out: {', '.join(unread)}")
            return _output(tree)
        finally:
            posixos.close(tree)
    finally:
        posixos.close(program)


def explained(data: bytes, folders: Sequence[Folder]) -> tuple[ldcache.Cache, list[Library]]:
    """Read the cache of `folders`, which lie at "/0", "/1"... in it; HookError if it is none.

    Entries have no path yet. What names no library in one of the folders is left out.
    """
    try:
        cache = ldcache.parse(data)
    except DocumentError as error:
        raise HookError(f"ldconfig: {error.message}") from error
    shown = {b"%d" % number: folder for number, folder in enumerate(folders)}
    found = [_library(entry, shown) for entry in cache.entries]
    return cache, [library for library in found if library is not None]


def _work(program: int, folders: Sequence[Folder], tree: int) -> sandbox.Result:
    timeout = _time_left()
    # -X: no links. -f /: no file with folders (a directory reads as empty). -i: no auxiliary
    # cache. -c new: alone, without the format that went out with libc5.
    args = ["ldconfig", "-X", "-i", "-f", "/", "-c", "new", "-C", f"/{sandbox.OUT}/{_NAME}"]
    args += [f"/{number}" for number in range(len(folders))]
    result = sandbox.run(sandbox.Job(tree, folders, program, args, timeout=timeout))
    if result.timed_out:
        # A file of 5 MB can keep it busy for hours: 65,535 segments of one lot of properties.
        raise NoCacheError(f"ldconfig was not done after {timeout:.3g} s, and was killed")
    if posixos.WIFSIGNALED(result.status) and posixos.WTERMSIG(result.status) == _SIGBUS:
        # It reads by mmap(2), also from volumes that others share.
        raise NoCacheError("a library became shorter, or its disk failed, as ldconfig read it")
    if result.status:
        raise HookError(f"ldconfig: {result.describe()}")
    return result


def _unread(result: sandbox.Result, folders: Sequence[Folder]) -> list[str]:
    """Return the files of the folders that ldconfig says it could not read, with their folders."""
    found = []
    for line in posixos.fsdecode(result.output).split("\n"):
        for start, end in _UNREAD:
            if not (line.startswith(start) and line.endswith(end)):
                continue
            number, _, name = line[len(start) : -len(end)].partition("/")
            if number.isdecimal() and int(number) < len(folders):
                folder = folders[int(number)]
                if name in folder.files:
                    found.append(f"{folder.path.rstrip('/')}/{name}")
    return found


def _output(tree: int) -> bytes:
    """What ldconfig left, which may be anything; HookError when it is no file."""
    flags = posixos.O_RDONLY | posixos.O_NOFOLLOW | posixos.O_NONBLOCK | posixos.O_CLOEXEC
    try:
        fd = posixos.open(f"{sandbox.OUT}/{_NAME}", flags, dir_fd=tree)
    except OSError as error:
        raise HookError(f"ldconfig left no cache: {error.strerror}") from error
    try:
        status = posixos.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > sandbox.LARGEST_OUTPUT:
            raise HookError("ldconfig left no cache: not a file of a cache's size")
        return _whole(fd)
    finally:
        posixos.close(fd)


def _whole(fd: int) -> bytes:
    data = b""
    while chunk := posixos.read(fd, 1 << 20):
        data += chunk
    return data


def _library(entry: ldcache.Entry, shown: dict[bytes, Folder]) -> Library | None:
    """Explain one entry; None for one that names no library in a folder that was shown.

    A library says its SONAME itself: `../../data/current` is one that was tried.
    """
    start, number, file = (*entry.path.split(b"/", 2), b"", b"")[:3]
    folder = shown.get(number)
    if start or folder is None or not soname.is_sane(posixos.fsdecode(entry.name)):
        return None
    if b"/" in file and {b"", b".", b".."}.intersection(file.split(b"/")):
        return None
    if not libview.is_library(posixos.fsdecode(file[file.rfind(b"/") + 1 :])):
        return None
    return Library(entry, folder, posixos.fsdecode(file))


def _time_left() -> float:
    """Seconds that ldconfig may take."""
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - `signal` costs 3 ms

    left: float = _signal.getitimer(_signal.ITIMER_REAL)[0]
    return left * _SHARE if left else TIMEOUT


def folder(unsafe_path: str) -> str:
    """Return a --folder value as an absolute path; UsageError when ldconfig could not name it."""
    if not hooktable.is_folder(unsafe_path):
        raise UsageError(f"--folder {unsafe_path!r} is not a path that ld.so.conf can hold")
    return "/" + unsafe_path.strip("/")


def _sealed(path: str) -> int:
    """A sealed copy of the program; the caller closes."""
    # Debian and Ubuntu have wrapped ldconfig in a script that ends by calling ldconfig.real; specs
    # written there are used on hosts that have none.
    real, plain = f"{path}.real", path.removesuffix(".real")
    if posixos.path.exists(real):
        path = real
    elif not posixos.path.exists(path) and posixos.path.exists(plain):
        path = plain
    try:
        program = memfd.sealed(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoCacheError(f"the host has no ldconfig {path!r}") from error
    except OSError as error:
        raise HookError(f"ldconfig {path!r} of the host: {error.strerror}") from error
    try:
        elf.require_static_program(
            lambda size, offset: posixos.pread(program, size, offset), arch.host().elf_machine
        )
    except DocumentError as error:
        posixos.close(program)
        raise HookError(f"ldconfig {path!r} of the host: {error.message}") from error
    return program
