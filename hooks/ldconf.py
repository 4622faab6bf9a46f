"""/etc/ld.so.conf of an image, with its includes: which library folders it names, in what order.

Grammar as ldconfig(8) of glibc reads it: one folder on a line; "#" ends a line, there is no
quoting; `include PATTERN...`, patterns relative to the file they stand in, matches in byte order;
`hwcap` lines mean nothing any more. The files are the image's: each is read through Rootfs, and
their size, number and depth are bounded, so that an include bomb ends in an error.
"""

from __future__ import annotations

import _stat as stat

from ocishim import posixos
from ocishim.errors import UnsafePathError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocishim.rootfs.rootfs import Rootfs

MAIN = "/etc/ld.so.conf"

# Debian's largest image in use has 12 files and 30 folders.
_MOST_FILES = 256
_MOST_TEXT = 256 << 10  # bytes of all folders together; they end on a command line
_DEEPEST = 8
LARGEST_FILE = 64 << 10  # bytes
_LONGEST_FOLDER = 4095  # PATH_MAX
_MOST_NAMES = 10_000  # in a folder that a pattern looks through
_MOST_CANDIDATES = 1024  # paths a pattern may lead to
_MOST_STEPS = 1 << 20  # characters compared for all patterns; 0.3 s
_BLANKS = " \t\n\v\f\r"
_WILD = "*?["
_NOT = ("!", "^")


class Conf:
    """What was read: `files` in the order of reading, `folders` in the order of the text.

    unread: files and folders that may not be read.
    """

    __slots__ = ("_size", "_steps", "files", "folders", "unread")

    def __init__(self) -> None:
        self.files: list[str] = []
        self.unread: list[str] = []
        self.folders: dict[str, None] = {}  # a set that keeps its order
        self._size = 0
        self._steps = 0

    def add_folder(self, folder: str) -> None:
        """Append a folder unless it is known; UnsafePathError when there are too many."""
        if folder in self.folders:
            return
        self._size += len(folder)
        if self._size > _MOST_TEXT:
            raise refused(f"{MAIN!r} names folders of more than {_MOST_TEXT} bytes")
        self.folders[folder] = None

    def matching(self, names: list[str], pattern: str) -> list[str]:
        """Return those of `names` that match; UnsafePathError when all patterns cost too much."""
        hidden = pattern.startswith(".")
        # Each star but the last may have to be tried at every place of the name.
        width = len(pattern) if pattern.count("*") > 1 else 1
        self._steps += sum(map(len, names)) * width
        if self._steps > _MOST_STEPS:
            raise refused(f"{MAIN!r} includes by patterns that take too long: {pattern!r}")
        return [n for n in names if (hidden or not n.startswith(".")) and matches(n, pattern)]


def load(rootfs: Rootfs, *, without: tuple[str, ...] = ()) -> Conf:
    """Read /etc/ld.so.conf and what it includes; a missing file counts as empty.

    `without`: files that count as empty (`files` has them), ours of an earlier start.
    UnsafePathError: a file that is no regular file, is too large, or has too many includes.
    """
    conf = Conf()
    _load(rootfs, MAIN, conf, without, 0)
    return conf


def refused(message: str) -> UnsafePathError:
    """Return the error about a file that only who made the image can mend."""
    return UnsafePathError(message, hint="the image or a volume brings that file: mend it there")


def _load(rootfs: Rootfs, path: str, conf: Conf, without: tuple[str, ...], depth: int) -> None:
    if path in conf.files:
        return  # a cycle, or a file that two patterns match
    if depth > _DEEPEST or len(conf.files) >= _MOST_FILES:
        raise refused(
            f"{MAIN!r} includes more than {_MOST_FILES} files, or deeper than {_DEEPEST} levels"
        )
    conf.files.append(path)
    if path in without:
        return
    for word, value in entries(read(rootfs, path, conf)):
        if word == "include":
            for match in expand(rootfs, value, posixos.path.dirname(path), conf):
                _load(rootfs, match, conf, without, depth + 1)
        else:
            conf.add_folder(value)


def read(rootfs: Rootfs, path: str, conf: Conf) -> bytes:
    """Return the content; nothing where ldconfig would read nothing: a missing file, a folder.

    Nor what the container's user may not read: the folders' names are told to everybody.
    """
    try:
        return rootfs.read(path, LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except PermissionError:
        conf.unread.append(path)
        return b""
    except UnsafePathError as error:
        if _is_folder(rootfs, path):
            return b""
        raise refused(error.message) from error


def _is_folder(rootfs: Rootfs, path: str) -> bool:
    try:
        fd = rootfs.resolve(path)
    except (OSError, UnsafePathError):
        return False
    try:
        return stat.S_ISDIR(posixos.fstat(fd).st_mode)
    finally:
        posixos.close(fd)


def entries(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield ("folder", path) and ("include", pattern) in order; folders without slashes at the end.

    What is no absolute path means nothing to a program in the container and is left out.
    """
    for raw in posixos.fsdecode(data).split("\n"):
        line = raw.partition("#")[0].partition("\0")[0].strip(_BLANKS)
        words = line.split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                yield "include", pattern
        elif line.startswith("/"):
            # "=" was followed by a library type once; ldconfig still cuts there.
            folder = "/" + line.partition("=")[0].strip(_BLANKS).strip("/")
            if len(posixos.fsencode(folder)) <= _LONGEST_FOLDER:
                yield "folder", folder


def is_plain(folder: str) -> bool:
    """Whether `folder` can stand in the file: it has no quoting, "#" and "=" end a path."""
    return folder == folder.strip(_BLANKS) and not any(c in folder for c in "\n\0#=")


def expand(rootfs: Rootfs, pattern: str, base: str, conf: Conf) -> list[str]:
    """Return the paths in `rootfs` that match, as glob(3) would: sorted, none for no match.

    `conf` keeps count of what all patterns cost.
    """
    if not pattern.startswith("/"):
        pattern = f"{base}/{pattern}"
    found = [""]
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    for index, part in enumerate(parts):
        if not any(character in part for character in _WILD):
            found = [f"{path}/{part}" for path in found]
            continue
        last = index == len(parts) - 1
        found = [
            f"{path}/{name}"
            for path in found
            for name in conf.matching(_names(rootfs, path, conf), part)
        ]
        if len(found) > _MOST_CANDIDATES:
            raise refused(f"pattern {pattern!r} matches more than {_MOST_CANDIDATES} paths")
        if not last:
            found = [path for path in found if _is_folder(rootfs, path)]
    return found


def _names(rootfs: Rootfs, folder: str, conf: Conf) -> list[str]:
    if not _is_folder(rootfs, folder or "/"):
        return []
    try:
        return rootfs.listdir(folder or "/", _MOST_NAMES)
    except (FileNotFoundError, NotADirectoryError):
        return []  # taken away meanwhile, in a volume that others share
    except PermissionError:
        conf.unread.append(folder)
        return []
    except UnsafePathError as error:
        raise refused(error.message) from error


def matches(name: str, pattern: str) -> bool:
    r"""Whether `name` matches a shell pattern of `*`, `?`, `[a-z]`, `[!a]` and `\`.

    `fnmatch` would do, but imports `re` (5 ms). One star is remembered, so that no pattern takes
    more than len(name) * len(pattern) steps.
    """
    at, place = 0, 0
    star, star_at = -1, 0
    while at < len(name):
        step = _match_one(name[at], pattern, place)
        if step:
            at, place = at + 1, place + step
        elif place < len(pattern) and pattern[place] == "*":
            star, star_at = place, at
            place += 1
        elif star >= 0:
            star_at += 1
            at, place = star_at, star + 1
        else:
            return False
    return not pattern[place:].strip("*")


def _match_one(character: str, pattern: str, place: int) -> int:
    """How many characters of `pattern` at `place` match `character`; 0: none do."""
    if place >= len(pattern) or pattern[place] == "*":
        return 0
    if pattern[place] == "?":
        return 1
    if pattern[place] == "[":
        ranges, end = _set(pattern, place + 1)
        found = any(low <= character <= high for low, high in ranges)
        if end < 0 and not found:
            return 0
        if end > 0:
            negated = pattern[place + 1] in _NOT
            return end - place if found != negated else 0
    member, end = _member(pattern, place)
    return end - place if member == character else 0


def _set(pattern: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """The ranges of the set whose "[" is before `at`, and the place after its "]"; 0: it has none.

    As fnmatch(3) of glibc: "]" as the first member is one, "-" as the first or last, too. Without
    "]" it is a plain "[", but where the pattern ends within a range (-1): that matches nothing,
    unless a member before or the low end does.
    """
    at += pattern[at : at + 1] in _NOT
    ranges: list[tuple[str, str]] = []
    while at < len(pattern) and (not ranges or pattern[at] != "]"):
        low, at = _member(pattern, at)
        high = low
        if pattern[at:] == "-":
            return [*ranges, (low, low)], -1
        if pattern[at : at + 1] == "-" and pattern[at + 1] != "]":
            high, at = _member(pattern, at + 1)
        ranges.append((low, high))
    return ranges, at + 1 if at < len(pattern) else 0


def _member(pattern: str, at: int) -> tuple[str, int]:
    r"""The character at `at`, or after a `\` there ("" after the last one), and where it ends."""
    if pattern[at] == "\\":
        return pattern[at + 1 : at + 2], at + 2
    return pattern[at], at + 1
