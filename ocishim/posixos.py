"""The part of `os` that the hot path uses, without the 0.9 ms that `import os` takes.

The system calls are those of `posix`, which is what `os` hands on as well; what `os` and `os.path`
add has their names and results here, for `str` only.
A path that is not plain is left to `os.path`. tests/unit/test_posixos.py compares them all.
What only a rare path needs imports `os` itself.
"""

from __future__ import annotations

import sys
from posix import *  # noqa: F403 - all of it, as os does; `environ` is posix's, of bytes
from posix import _exit as _exit  # noqa: PLC0414 - handed on, which * leaves out
from posix import environ, lstat, stat, unsetenv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result
    from types import ModuleType

IS_STATIC = "_pyshim" in sys.builtin_module_names
"""Whether this is the static file, not an ordinary interpreter."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_COMPATIBLE = {"i686": "x86_64", "armv8l": "aarch64"}
_S_IFMT, _S_IFLNK, _S_IFDIR = 0o170000, 0o120000, 0o040000


def fsencode(path: str | bytes) -> bytes:
    """Return `path` as the kernel has it (os.fsencode)."""
    return path if isinstance(path, bytes) else path.encode(_ENCODING, _ERRORS)


def fsdecode(path: str | bytes) -> str:
    """Return `path` as text, undecodable bytes as surrogates (os.fsdecode)."""
    return path if isinstance(path, str) else path.decode(_ENCODING, _ERRORS)


def environment() -> list[str]:
    """Return what this process was given, NAME=VALUE each, to be handed on whole."""
    loaded = sys.modules.get("os")
    entries = loaded.environb if loaded else environ
    return [fsdecode(name + b"=" + value) for name, value in entries.items()]


def getenv(name: str, default: str = "") -> str:
    """Return an environment variable's value, as `os` has it where that is loaded."""
    loaded = sys.modules.get("os")
    if loaded is not None:
        return str(loaded.environ.get(name, default))
    value = environ.get(fsencode(name))
    return default if value is None else fsdecode(value)


def clearenv() -> None:
    """Remove every environment variable; clearenv, section 3 of the manual."""
    for name in environ:
        unsetenv(name)
    environ.clear()


def machine() -> str:
    """Return the machine this program is for; to a process under linux32(8) uname names another."""
    name = uname().machine  # noqa: F405 - posix's
    return _COMPATIBLE.get(name, name) if sys.maxsize > 1 << 32 else name


def sees_all_ids() -> bool:
    """Whether every user of the machine has a number here: not in a user namespace of another's.

    Without /proc nobody can tell; that is an initramfs or the like, which has no such namespace.
    Source: user_namespaces(7).
    """
    try:
        return contents("/proc/self/uid_map").split() == [b"0", b"0", b"4294967295"]
    except FileNotFoundError:
        return True


def open_standard() -> None:
    """Put something where 0, 1 or 2 was left closed: what is opened next must not become one."""
    try:
        while (fd := _open_nowhere()) <= 2:
            pass
    except OSError:  # no descriptor is left: these three are taken
        return
    close(fd)  # noqa: F405 - posix's


def _open_nowhere() -> int:
    try:
        return open("/dev/null", O_RDWR)  # noqa: F405
    except OSError:  # a root without /dev: a folder can neither be read nor written
        return open("/", O_RDONLY)  # noqa: F405


def die_of_interrupts() -> None:
    """Let SIGINT end the process as it ends the runtimes: no traceback in a container's output.

    Whoever imports _signal first has CPython catch it.
    """
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - signal pulls in enum

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def keep_children() -> object:
    """Keep ended children until they are waited for; return what to give `restore_children`.

    Who ignores SIGCHLD has nobody to wait for (wait(2)), and its programs inherit that.
    """
    import _signal  # noqa: PLC0415

    return _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def restore_children(action: object) -> None:
    """Give SIGCHLD its action back: a program that we become inherits it."""
    import _signal  # noqa: PLC0415

    _signal.signal(_signal.SIGCHLD, action)


def outlive_writes() -> None:
    """Let a write to what nobody reads, or beyond a limit of files, be an error and no end.

    CPython does so when it starts, the static file does not: for what becomes no other program.
    """
    _at_writes("SIG_IGN")


def end_at_writes() -> None:
    """Undo what CPython's start ignored: a program that we become inherits it."""
    _at_writes("SIG_DFL")


def _at_writes(action: str) -> None:
    import _signal  # noqa: PLC0415

    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, getattr(_signal, action))


class path:  # noqa: N801 - as it is called
    """What of os.path is used, with its results."""

    @staticmethod
    def join(first: str, *others: str) -> str:
        """Put one path after the other; one that is absolute starts anew."""
        for other in others:
            if other.startswith("/"):
                first = other
            else:
                first += other if not first or first.endswith("/") else "/" + other
        return first

    @staticmethod
    def dirname(name: str) -> str:
        """Return what stands before the last slash, without the slashes between."""
        head = name[: name.rfind("/") + 1]
        return head.rstrip("/") or head

    @staticmethod
    def isabs(name: str) -> bool:
        """Return whether it starts with a slash."""
        return name.startswith("/")

    @staticmethod
    def normpath(name: str) -> str:
        """Return it without empty steps, `.` and `..`."""
        return name if _is_plain(name) else str(_os_path().normpath(name))

    @staticmethod
    def realpath(name: str) -> str:
        """Return where its symlinks lead; what is not there is no link."""
        if not _is_plain(name) or _has_links(name):
            return str(_os_path().realpath(name))
        return name

    @staticmethod
    def exists(name: str) -> bool:
        """Return whether something is there."""
        return bool(_mode(name))

    @staticmethod
    def isdir(name: str) -> bool:
        """Return whether a directory is there."""
        return _mode(name) & _S_IFMT == _S_IFDIR

    @staticmethod
    def samestat(one: stat_result, other: stat_result) -> bool:
        """Return whether both are of one file."""
        return one.st_ino == other.st_ino and one.st_dev == other.st_dev


def contents(name: str) -> bytes:
    """Return the bytes of a file; built-in open() costs the static file 1.3 ms and 1 MiB."""
    descriptor = open(name, O_RDONLY | O_CLOEXEC)  # noqa: F405 - posix's
    try:
        parts = []
        while part := read(descriptor, 1 << 16):  # noqa: F405
            parts.append(part)
        return b"".join(parts)
    finally:
        close(descriptor)  # noqa: F405


def _mode(name: str) -> int:
    try:
        return stat(name).st_mode
    except (OSError, ValueError):
        return 0


def _is_plain(name: str) -> bool:
    """Whether it is absolute, and every step a name."""
    start, *steps = name.split("/")
    return not start and bool(steps) and not {"", ".", ".."}.intersection(steps)


def _has_links(name: str) -> bool:
    at = name.find("/", 1)
    while True:
        try:
            if lstat(name if at < 0 else name[:at]).st_mode & _S_IFMT == _S_IFLNK:
                return True
        except OSError:  # as os.path.realpath has it: the rest is what it says
            pass
        if at < 0:
            return False
        at = name.find("/", at + 1)


def _os_path() -> ModuleType:
    import posixpath  # noqa: PLC0415 - for what is rare

    return posixpath
