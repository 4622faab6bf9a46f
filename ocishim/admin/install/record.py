"""What an installation remembers of what it made: installed.json, for uninstall and upgrades.

Key -> texts; who writes a key says what they are.
"""

from __future__ import annotations

import json
import os

from ocishim.admin.editing import files
from ocishim.admin.install import integrity

NAME = "installed.json"
_MAX_BYTES = 16 << 20

Record = dict[str, list[str]]


def read(path: str) -> tuple[Record, bool]:
    """Return what of the record can be understood, and whether that is all of it."""
    try:
        found = json.loads(files.content(path, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}, False
    if not isinstance(found, dict):
        return {}, False
    known = {key: value for key, value in found.items() if _are_texts(value)}
    return known, known == found


def write(path: str, record: Record) -> None:
    """Write the record `path`, whatever stands there."""
    if os.path.islink(path) or not os.path.isfile(path):
        integrity.remove(path)
    files.replace(path, (json.dumps(record, indent=2) + "\n").encode())


def _are_texts(value: object) -> bool:
    """Whether `value` is a list of texts that can be paths, as all the record's are."""
    return isinstance(value, list) and all(isinstance(one, str) and _can_be(one) for one in value)


def _can_be(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
