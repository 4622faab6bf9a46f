"""Whether a folder that nobody changes still is what was put there, and what differs.

Knows nothing of what the files are for.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ocishim.admin.editing import files
from ocishim.errors import reason
from ocishim.posixos import sees_all_ids

FOLDER = "a folder"
LINK = "a link to "
ANY = ""
_FILE = "a file"
_ELSE = "neither file nor folder"

Entries = dict[str, tuple[int, str]]
"""What belongs into a folder: path -> (mode, content).

content: FOLDER, LINK and the target, ANY of a file, or the first digits of its SHA-256.
"""


class Fault(NamedTuple):
    """What is wrong with one entry: `path` below the folder, and a half sentence."""

    path: str
    what: str


def digest(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    total = hashlib.sha256()
    with files.opened(path) as file:
        while part := file.read(1 << 20):
            total.update(part)
    return total.hexdigest()


def faults(folder: str, entries: Entries, owner: tuple[int, int]) -> list[Fault]:
    """Return how `folder` differs, by path. owner: user and group of all entries."""
    strangers = set(_walk(folder)) - set(entries)
    found = [Fault(path, "does not belong there") for path in strangers]
    for path, wanted in entries.items():
        found += differences(folder, path, wanted, owner)
    return sorted(found)


def own(folder: str, owner: tuple[int, int]) -> None:
    """Give `folder` and all in it to `owner`."""
    for path in _walk(folder):
        os.chown(f"{folder}/{path}", *owner, follow_symlinks=False)


def take(path: str, mode: int) -> None:
    """Make the file or folder `path` this user's, root's with root's group, with exactly `mode`."""
    os.chown(path, os.geteuid(), os.getegid() if os.geteuid() else 0)
    os.chmod(path, mode)


def mend(folder: str, fresh: str, entries: Entries) -> None:
    """Make `folder` what `fresh` is, which is used up; each file by one rename."""
    own = os.stat(fresh)
    for _ in range(2):  # behind a link that stood for a folder all may have looked right
        # Sorted: a folder comes before its files.
        for path, _what in faults(folder, entries, (own.st_uid, own.st_gid)):
            _put(f"{fresh}/{path}", f"{folder}/{path}", wanted=path in entries)


def _put(source: str, target: str, *, wanted: bool) -> None:
    """Make `target` what `source` is; a folder's content is not looked at."""
    kind = _kind(source)
    if kind is None and wanted:
        return  # it has been put there already
    if kind is None or _kind(target) not in (kind, None):
        remove(target)
    if kind == stat.S_IFDIR:
        own = os.lstat(source)
        os.makedirs(target, exist_ok=True)
        os.chown(target, own.st_uid, own.st_gid)
        os.chmod(target, stat.S_IMODE(own.st_mode))
    elif kind is not None:
        os.rename(source, target)


def _kind(path: str) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove(path: str) -> None:
    """Remove what is at `path`, if anything: a folder with all in it, a link alone."""
    kind = _kind(path)
    if kind == stat.S_IFDIR:
        shutil.rmtree(path)
    elif kind is not None:
        os.unlink(path)


def _walk(folder: str) -> list[str]:
    """Return `folder`, ".", and the path of everything below it, no link followed."""
    found = ["."]
    for place, folders, names in os.walk(folder):
        below = os.path.relpath(place, folder)
        found += [os.path.normpath(f"{below}/{name}") for name in (*folders, *names)]
    return found


def _shape(path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return LINK + os.readlink(path)
    return FOLDER if stat.S_ISDIR(mode) else _FILE if stat.S_ISREG(mode) else _ELSE


def differences(
    folder: str, path: str, wanted: tuple[int, str], owner: tuple[int, int]
) -> Iterator[Fault]:
    """Yield how the one entry `path` of `folder` differs, not what lies below it."""
    place = f"{folder}/{path}"
    mode, content = wanted
    wanted_shape = content if content == FOLDER or content.startswith(LINK) else _FILE
    try:
        found = os.lstat(place)
        shape = _shape(place, found.st_mode)
        if shape != wanted_shape:
            yield Fault(path, f"is {shape}, not {wanted_shape}")
            return
        if stat.S_IMODE(found.st_mode) != mode:
            yield Fault(path, f"has mode {stat.S_IMODE(found.st_mode):04o}, not {mode:04o}")
        own = (found.st_uid, found.st_gid)
        if own != owner and _sees_all_owners():
            yield Fault(path, "belongs to {}:{}, not {}:{}".format(*own, *owner))
        if shape == _FILE and content != ANY and not digest(place).startswith(content):
            yield Fault(path, "was changed" if found.st_size else "is empty")
    except (FileNotFoundError, NotADirectoryError):
        yield Fault(path, "is missing")
    except OSError as err:
        yield Fault(path, f"cannot be read: {reason(err)}")


@functools.cache
def _sees_all_owners() -> bool:
    """Whether every user has a number here: not in a user namespace (user_namespaces(7))."""
    return sees_all_ids()
