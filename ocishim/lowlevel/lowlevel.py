"""The low-level runtime: find it, know its version, become it.

The static file makes the same look-up in C for commands that pass through (binary/command.c); the
two are held together by tests/unit/test_choice.py and test_binary.py.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.cache import identity
from ocishim.errors import LowlevelError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from ocishim.cache import Cache

    Answer = TypeVar("Answer")

USUAL_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_TIMEOUT = 5  # seconds; runc --version takes 3 ms


def find(runtimes: Sequence[str], search_path: str, own_path: str, config_path: str) -> str:
    """Return the path of the first entry of `runtimes` that can be executed.

    An entry with a slash is a path; a name is looked up in `search_path` (colon-separated), then
    in the usual directories. own_path is pyshim's own, which is never the answer.
    Raises LowlevelError when there is none, or when the one found is pyshim itself.
    """
    unusable: list[str] = []
    for entry in runtimes:
        for candidate in _candidates(entry, search_path):
            status = _judge(candidate, own_path)
            if status == "":
                return candidate
            if status == "itself":
                what = "another runtime" if "/" in entry else f"the path of the real {entry}"
                raise LowlevelError(
                    f"the low-level runtime {candidate} is pyshim itself",
                    hint=f"write {what} in 'runtimes' of {config_path}",
                )
            if status != "missing":
                unusable.append(f"{candidate} {status}")
    names = ", ".join(f"'{entry}'" for entry in runtimes)
    detail = f" ({'; '.join(unusable)})" if unusable else ""
    raise LowlevelError(
        f"no low-level runtime found: looked for {names}{detail}",
        hint=f"install one or name its path in 'runtimes' of {config_path}",
    )


def _candidates(entry: str, search_path: str) -> list[str]:
    if "/" in entry:
        return [entry]
    dirs = [directory for directory in search_path.split(":") if directory.startswith("/")]
    return [f"{directory}/{entry}" for directory in (*dirs, *USUAL_DIRS)]


def _judge(candidate: str, own_path: str) -> str:
    """Return "" for a usable program, else why not."""
    try:
        found = posixos.stat(candidate)
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        return "is not a file"
    if not posixos.access(candidate, posixos.X_OK):
        return "is not executable"
    try:
        own = posixos.stat(own_path)
    except OSError:
        return ""
    same = (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
    return "itself" if same else ""


def become(
    path: str, args: Sequence[str], restore: Callable[[], None] = posixos.end_at_writes
) -> None:
    """Replace this process by the low-level runtime; returns only by raising LowlevelError.

    restore: gives signals that are ignored meanwhile the actions that it is to inherit.
    """
    restore()
    try:
        posixos.execv(path, [path, *args])
    except OSError as err:
        # It was there a moment ago, so what is missing is what its first line or ELF header names.
        why = "its interpreter does not exist" if err.errno == errno.ENOENT else reason(err)
        raise LowlevelError(
            f"the low-level runtime {path} cannot be executed: {why}",
            hint="check that it is a program for this machine",
        ) from None


class Version:
    """Which runtime it is: kind ("runc", "crun", "youki", "runsc" or "") and its version.

    number is a tuple to compare with: (1, 8, 1) for crun 1.8.1, (20240729,) for a dated runsc.
    """

    __slots__ = ("kind", "number", "text")

    def __init__(self, kind: str, number: tuple[int, ...], text: str) -> None:
        self.kind = kind
        self.number = number
        self.text = text


def version(path: str, cache: Cache) -> Version:
    """Return the runtime's kind and version from its `--version`, remembered per binary.

    A runtime that does not answer, or answers in words of its own, has kind "" and no number.
    """
    return parse_version(remembered("lowlevel-version", path, cache, str, _ask_version))


def remembered(
    entry: str, path: str, cache: Cache, kind: type[Answer], ask: Callable[[str], Answer]
) -> Answer:
    """Return ask(path), a `kind`, which is kept in the cache's `entry` while the binary stays."""
    key = (path, identity(posixos.stat(path)))
    known = cache.get(entry, key)
    if isinstance(known, kind):
        return known
    answer = ask(path)
    cache.put(entry, key, answer)
    return answer


def asked(path: str, word: str) -> tuple[int, bytes]:
    """Run the runtime with one word; return exit status and output, (-1, b"") when it cannot be."""
    import subprocess  # noqa: PLC0415 - once per binary

    try:
        done = subprocess.run(
            [path, word],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return -1, b""
    return done.returncode, done.stdout


def _ask_version(path: str) -> str:
    return asked(path, "--version")[1][:4096].decode("utf-8", "backslashreplace")


def parse_version(text: str) -> Version:
    """Read the answer to `--version`.

    `runc version 1.1.5+ds1`, `crun version 1.8.1`, `youki version: 0.7.0`,
    `runsc version release-20260520.0` and Debian's `runsc version 0.0~20240729.0`.
    """
    words = text.split()
    if len(words) < 3 or words[1] not in ("version", "version:"):
        return Version("", (), text)
    kind, _, number = words[0], words[1], words[2]
    digits = number.removeprefix("release-").removeprefix("0.0~")
    return Version(kind, _numbers(digits), number)


def _numbers(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split("."):
        leading = part[: len(part) - len(part.lstrip("0123456789"))]
        if leading:
            numbers.append(int(leading))
        if leading != part:
            break
    return tuple(numbers)
