"""/etc/ld.so.conf of an image, with its includes: which library folders it names, in what order.

Grammar as ldconfig(8) of glibc reads it: one folder on a line; "#" ends a line, there is no
quoting; `include PATTERN...`, patterns relative to the file they stand in, matches in byte order;
`hwcap` lines mean nothing any more. The files are the image's: each is read through Rootfs, and
their size, number and depth are bounded, so that an include bomb ends in an error. One on a volume
ends in a warning, and has bounds of its own: its other owner shall not keep the container from
starting.
"""

from __future__ import annotations

import _stat as stat

from ocishim import posixos
from ocishim.errors import ForeignMountError, UnsafePathError
from ocishim.hooks.wildcard import matches
from ocishim.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocishim.rootfs.rootfs import Rootfs

MAIN = "/etc/ld.so.conf"

_MOST_FILES = 256  # Debian's largest image in use has 12, and 30 folders
_MOST_TEXT = 256 << 10  # bytes of all folders together; they end on a command line
_DEEPEST = 8
LARGEST_FILE = 64 << 10  # bytes
_LONGEST_FOLDER = 4095  # PATH_MAX
_MOST_NAMES = 10_000  # in a folder that a pattern looks through
_MOST_CANDIDATES = 1024  # paths a pattern may lead to
_MOST_STEPS = 1 << 20  # characters compared for all patterns; 0.3 s
_STEPS_OF_A_PATH, _STEPS_OF_A_FOLDER = 16, 256  # as long as so many characters
_MOST_TOLD = 16  # sentences
_MOST_FOLDERS_OF_OTHERS = 128  # of the 320 that libview.py takes
_BLANKS = " \t\n\v\f\r"
_WILD = "*?["


class Bounds:
    """How much was read, of the image's own files, or of somebody else's and what these include.

    Each method raises UnsafePathError where that is too much. folders: as many as there may be.
    """

    __slots__ = ("_candidates", "_files", "_folders", "_pattern", "_steps", "_text")

    def __init__(self, folders: int) -> None:
        self._candidates = 0
        self._files = 0
        self._folders = folders
        self._pattern = ""
        self._steps = 0
        self._text = 0

    def add_file(self, depth: int) -> None:
        """Count a file that so many include one another to reach."""
        self._files += 1
        if depth > _DEEPEST or self._files > _MOST_FILES:
            raise refused(
                f"{MAIN!r} includes more than {_MOST_FILES} files, or deeper than {_DEEPEST} levels"
            )

    def add_folder(self, folder: str) -> None:
        """Count a folder."""
        self._text += len(folder)
        self._folders -= 1
        if self._text > _MOST_TEXT:
            raise refused(f"{MAIN!r} names folders of more than {_MOST_TEXT} bytes")
        if self._folders < 0:
            raise refused(f"{MAIN!r} names more than {_MOST_FOLDERS_OF_OTHERS} folders")

    def begin(self, pattern: str) -> None:
        """Count from none the paths that the next part of `pattern` leads to."""
        self._pattern = pattern
        self._candidates = 0

    def take(self, steps: int) -> None:
        """Count the work for the pattern."""
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise refused(f"{MAIN!r} includes by patterns that take too long: {self._pattern!r}")

    def matching(self, names: list[str], part: str) -> list[str]:
        """Return those of a folder's `names` that match `part` of the pattern."""
        hidden = part.startswith(".")
        # Each star but the last may have to be tried at every place of the name.
        width = len(part) if part.count("*") > 1 else 1
        self.take(sum(map(len, names)) * width)
        found = [n for n in names if (hidden or not n.startswith(".")) and matches(n, part)]
        self._candidates += len(found)
        if self._candidates > _MOST_CANDIDATES:
            raise refused(f"pattern {self._pattern!r} matches more than {_MOST_CANDIDATES} paths")
        return found


class Conf:
    """What was read: `files` in the order of reading, `folders` in the order of the text.

    without: files that count as empty. absent: those that are not there. left: why something was
    left out: the container's user may not read it, or it is too much, on somebody else's mount.
    """

    __slots__ = ("absent", "files", "folders", "left", "others", "own", "without")

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        self.without = without
        self.absent: set[str] = set()
        self.files: list[str] = []
        self.left: dict[str, None] = {}  # sets that keep their order
        self.folders: dict[str, None] = {}
        self.own = Bounds(_MOST_TEXT)
        self.others = Bounds(_MOST_FOLDERS_OF_OTHERS)

    def add_folder(self, folder: str, bounds: Bounds) -> None:
        """Append a folder unless it is known; UnsafePathError when there are too many."""
        if folder not in self.folders:
            bounds.add_folder(folder)
            self.folders[folder] = None

    def leave(self, why: str) -> None:
        """Note why something is left out; where it is much, that there is more."""
        enough = len(self.left) >= _MOST_TOLD
        self.left["and so is more" if enough else f"{why}: what it names is left out"] = None

    def leave_others(self, rootfs: Rootfs, path: str, error: UnsafePathError) -> bool:
        """Leave `path` out for `error` if it is somebody else's; False when it is the image's."""
        foreign = rootfs.left_to_others(error, path)
        if not isinstance(foreign, ForeignMountError):
            return False
        self.leave(f"{error.message}, on the mount {foreign.mount}")
        return True


def load(rootfs: Rootfs, *, without: tuple[str, ...] = ()) -> Conf:
    """Read /etc/ld.so.conf and what it includes; a missing file counts as empty.

    `without`: files that count as empty (`files` has them), ours of an earlier start.
    UnsafePathError: a file of the image is no regular file, is too large, or has too many includes.
    """
    conf = Conf(without)
    _load(rootfs, MAIN, conf, 0, conf.own)
    return conf


def refused(message: str) -> UnsafePathError:
    """Return the error about a file that only who made the image can mend."""
    return UnsafePathError(message, hint="the image or a volume brings that file: mend it there")


def _unsafe(path: str, error: OSError) -> UnsafePathError:
    return UnsafePathError(f"{path}: {posixos.strerror(error.errno or 0)}")


def _load(rootfs: Rootfs, path: str, conf: Conf, depth: int, bounds: Bounds) -> None:
    if path in conf.files:
        return  # a cycle, or a file that two patterns match
    conf.files.append(path)
    if path in conf.without:
        return
    data, own = read(rootfs, path, conf)
    bounds = bounds if own else conf.others
    try:
        bounds.add_file(depth)
        for word, value in entries(data):
            if word == "include":
                for match in expand(rootfs, value, posixos.path.dirname(path), conf, bounds):
                    _load(rootfs, match, conf, depth + 1, bounds)
            else:
                conf.add_folder(value, bounds)
    except UnsafePathError as error:
        if own or not conf.leave_others(rootfs, path, error):
            raise


def read(rootfs: Rootfs, path: str, conf: Conf) -> tuple[bytes, bool]:
    """Return the content, and whether it is the image's own.

    Nothing where ldconfig would read nothing: a missing file, a folder. Nor what the container's
    user may not read: the folders' names are told to everybody. Nor what is no file on a volume.
    """
    try:
        return rootfs.read_whose(path, LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        conf.absent.add(path)
        return b"", True
    except PermissionError:
        conf.leave(f"{path}: the container's user may not read it")
        return b"", True
    except UnsafePathError as error:
        if _is_folder(rootfs, path) or conf.leave_others(rootfs, path, error):
            return b"", True
        raise refused(error.message) from error
    except OSError as error:
        if not conf.leave_others(rootfs, path, _unsafe(path, error)):
            raise
        return b"", True


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


def expand(rootfs: Rootfs, pattern: str, base: str, conf: Conf, bounds: Bounds) -> list[str]:
    """Return the paths in `rootfs` that match, as glob(3) would: sorted, none for no match.

    `bounds` keep count of what all patterns cost, those of `conf` of what somebody else brings.
    """
    if not pattern.startswith("/"):
        pattern = f"{base}/{pattern}"
    bounds.begin(pattern)
    bounds.take(_STEPS_OF_A_PATH)
    found = [""]
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    for index, part in enumerate(parts):
        if not any(character in part for character in _WILD):
            found = [f"{path}/{part}" for path in found]
            continue
        bounds.begin(pattern)
        conf.others.begin(pattern)
        found = [
            f"{path}/{name}"
            for path in found
            for name in _matching(rootfs, path or "/", part, conf, bounds)
        ]
        if index < len(parts) - 1:
            bounds.take(_STEPS_OF_A_PATH * len(found))
            found = [path for path in found if _is_folder(rootfs, path)]
    return found


def _matching(rootfs: Rootfs, folder: str, part: str, conf: Conf, bounds: Bounds) -> list[str]:
    bounds.take(_STEPS_OF_A_FOLDER)
    try:
        if names := _names(rootfs, folder, conf):
            return _of_owner(rootfs, folder, conf, bounds).matching(names, part)
    except (FileNotFoundError, NotADirectoryError):
        pass  # taken away meanwhile, in a volume that others share
    except UnsafePathError as error:
        if bounds is conf.others or not conf.leave_others(rootfs, folder, error):
            raise
    except OSError as error:
        if not conf.leave_others(rootfs, folder, _unsafe(folder, error)):
            raise
    return []


def _of_owner(rootfs: Rootfs, folder: str, conf: Conf, bounds: Bounds) -> Bounds:
    """Return the bounds that the names in `folder`, which is there, count in."""
    fd = rootfs.resolve(folder)
    try:
        return bounds if rootfs.mounts.is_root(fd, syscalls.statx(fd)) else conf.others
    finally:
        posixos.close(fd)


def _names(rootfs: Rootfs, folder: str, conf: Conf) -> list[str]:
    if not _is_folder(rootfs, folder):
        return []
    try:
        return rootfs.listdir(folder, _MOST_NAMES)
    except PermissionError:
        conf.leave(f"{folder}: the container's user may not read it")
        return []
    except UnsafePathError as error:
        raise refused(error.message) from error
