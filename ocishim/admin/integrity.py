"""Whether a folder that nobody changes still is what was put there: its list, and what differs.

The list is one JSON file in the folder, written when all else is in place: each entry with its
mode and its content, and who owns them. Knows nothing of what the files are for.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from ocishim.admin import files
from ocishim.errors import reason

LIST = "files.json"
_FILE = "a file"
_FOLDER = "a folder"
_LINK = "a link to "
_ELSE = "neither file nor folder"


class Fault(NamedTuple):
    """What is wrong with one entry: `path` below the folder, and a half sentence.

    lost: what it said cannot be had from the folder any more.
    """

    path: str
    what: str
    lost: bool


class Listed(NamedTuple):
    """A folder's list. owner: user and group of all entries. facts: what its maker noted.

    entries: path -> (mode, content): "a folder", "a link to TARGET", or a file's SHA-256.
    """

    owner: tuple[int, int]
    facts: dict[str, str]
    entries: dict[str, tuple[int, str]]


def write(folder: str, facts: dict[str, str]) -> None:
    """Write the list of what is in `folder` now, with its maker's `facts`."""
    own = os.lstat(folder)
    entries = {path: _entry(f"{folder}/{path}") for path in _walk(folder)}
    document = {"owner": [own.st_uid, own.st_gid], "facts": facts, "entries": entries}
    files.replace(f"{folder}/{LIST}", json.dumps(document, indent=0).encode(), 0o644)


def read(folder: str) -> Listed | None:
    """Return the list in `folder`; None when there is none that can be used."""
    try:
        document: Any = json.loads(files.content(f"{folder}/{LIST}"))
        owner, group = map(int, document["owner"])
        facts = {str(key): str(value) for key, value in document["facts"].items()}
        listed = document["entries"].items()
        entries = {str(path): (int(mode), str(content)) for path, (mode, content) in listed}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return Listed((owner, group), facts, entries)


def faults(folder: str, listed: Listed) -> list[Fault]:
    """Return how `folder` differs from the list, by path."""
    there = set(_walk(folder))
    found = [Fault(path, "does not belong there", False) for path in there - set(listed.entries)]
    for path, (mode, content) in {**listed.entries, LIST: (0o644, "")}.items():
        found += _differences(folder, path, (mode, content), listed.owner)
    return sorted(found)


def mend(folder: str, fresh: str) -> None:
    """Make `folder` what `fresh` is, which is used up; each file by one rename.

    Both have the same names; what `folder` says of itself does not count.
    """
    listed, own = read(fresh), read(folder)
    if listed is None:
        raise ValueError(f"{fresh} has no list")
    if own is not None and own.entries.keys() == listed.entries.keys():
        # Bytecode is not the same twice: what was right stays.
        listed = own
    for _ in range(2):  # behind a link that stood for a folder all may have looked right
        for path, _what, _lost in faults(folder, listed):  # sorted: a folder before its files
            _put(f"{fresh}/{path}", f"{folder}/{path}", wanted=path in listed.entries)
    write(folder, listed.facts)


def _put(source: str, target: str, *, wanted: bool) -> None:
    """Make `target` what `source` is; a folder's content is not looked at."""
    kind = _kind(source)
    if kind is None and wanted:
        return  # it has been put there already
    if kind is None or _kind(target) not in (kind, None):
        _remove(target)
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


def _remove(path: str) -> None:
    kind = _kind(path)
    if kind == stat.S_IFDIR:
        shutil.rmtree(path)
    elif kind is not None:
        os.unlink(path)


def _walk(folder: str) -> list[str]:
    """Return `folder`, ".", and the path of everything below it but the list, no link followed."""
    found = ["."]
    for place, folders, names in os.walk(folder):
        below = os.path.relpath(place, folder)
        found += [os.path.normpath(f"{below}/{name}") for name in (*folders, *names)]
    return [path for path in found if path != LIST]


def _entry(path: str) -> tuple[int, str]:
    found = os.lstat(path)
    shape = _shape(path, found.st_mode)
    return stat.S_IMODE(found.st_mode), _digest(path) if shape == _FILE else shape


def _shape(path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return _LINK + os.readlink(path)
    return _FOLDER if stat.S_ISDIR(mode) else _FILE if stat.S_ISREG(mode) else _ELSE


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _differences(
    folder: str, path: str, wanted: tuple[int, str], owner: tuple[int, int]
) -> Iterator[Fault]:
    """Yield how the entry differs; content "" stands for any file."""
    place = f"{folder}/{path}"
    mode, content = wanted
    wanted_shape = content if content == _FOLDER or content.startswith(_LINK) else _FILE
    try:
        found = os.lstat(place)
        shape = _shape(place, found.st_mode)
        if shape != wanted_shape:
            yield Fault(path, f"is {shape}, not {wanted_shape}", wanted_shape == _FILE)
            return
        if stat.S_IMODE(found.st_mode) != mode:
            yield Fault(path, f"has mode {stat.S_IMODE(found.st_mode):04o}, not {mode:04o}", False)
        own = (found.st_uid, found.st_gid)
        if own != owner and _sees_all_owners():
            yield Fault(path, "belongs to {}:{}, not {}:{}".format(*own, *owner), False)
        if shape == _FILE and content and _digest(place) != content:
            yield Fault(path, "is empty" if not found.st_size else "was changed", True)
    except (FileNotFoundError, NotADirectoryError):
        yield Fault(path, "is missing", wanted_shape == _FILE)
    except OSError as err:
        yield Fault(path, f"cannot be read: {reason(err)}", True)


@functools.cache
def _sees_all_owners() -> bool:
    """Whether every user has a number here: not in a user namespace (user_namespaces(7))."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", str(2**32 - 1)]
