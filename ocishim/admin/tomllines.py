"""Write changes into a TOML text line by line, and read what stands on a line.

Sees headers and settings of one line each; what it does not see (inline tables, values of several
lines) makes a text that says something else, which tomlfile.py finds out and refuses.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import tomlkit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Keys = tuple[str, ...]


class Lines:
    """The text as lines."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def entry(self, keys: Keys) -> tuple[str, str]:
        """Return the value at `keys` as it is written, and the comment behind it ("" for none).

        Both are "" when no line is a setting of that name.
        """
        found = self._find(keys)
        if found is None:
            return "", ""
        line = self._lines[found]
        length = _code_length(line)
        return line[:length].partition("=")[2].strip(), line[length:].strip()

    def set(self, keys: Keys, value: Any) -> None:
        """Set a plain value; a table by its values."""
        if not isinstance(value, dict):
            found = self._find(keys)
            comment = self.entry(keys)[1] if found is not None else ""
            self.single(keys, tomlkit.item(value).as_string(), comment)
        for key, below in value.items() if isinstance(value, dict) else ():
            self.set((*keys, key), below)

    def single(self, keys: Keys, raw: str, comment: str) -> None:
        """Set a value that is written `raw`, and the comment behind it ("" for none)."""
        behind = f" {comment}" if comment else ""
        found = self._find(keys)
        if found is not None:
            before = self._lines[found].partition("=")[0]
            self._lines[found] = f"{before}= {raw}{behind}"
            return
        self._lines.insert(self._place(keys[:-1]), f"{_key(keys[-1])} = {raw}{behind}")

    def remove(self, keys: Keys) -> None:
        """Remove a setting's line, or a table with its sub-tables."""
        kept = []
        for line, table, setting in self._walk():
            path = table if setting is None else (*table, *setting)
            inside = path[: len(keys)] == keys and (setting is not None or line.strip() != "")
            if not inside or line.strip().startswith("#"):
                kept.append(line)
        self._lines = kept

    def text(self) -> str:
        """Return the text."""
        return "\n".join(self._lines) + "\n"

    def _walk(self) -> list[tuple[str, Keys, Keys | None]]:
        """Return each line with the table it stands in and the keys it sets, None for none."""
        table: Keys = ()
        found: list[tuple[str, Keys, Keys | None]] = []
        for line in self._lines:
            path = _path(line)
            setting = None
            if path is not None and line.lstrip().startswith("["):
                table = path
            else:
                setting = path
            found.append((line, table, setting))
        return found

    def _find(self, keys: Keys) -> int | None:
        for index, (_, table, setting) in enumerate(self._walk()):
            if setting is not None and (*table, *setting) == keys:
                return index
        return None

    def _place(self, table: Keys) -> int:
        """Return where a setting of `table` can stand; writes its header when there is none."""
        last = None
        for index, (line, inside, setting) in enumerate(self._walk()):
            header = setting is None and line.lstrip().startswith("[")
            if inside == table and (header or setting is not None):
                last = index
        if last is not None or not table:
            return 0 if last is None else last + 1
        self._lines += ["", f"[{'.'.join(map(_key, table))}]"]
        return len(self._lines)


def _path(line: str) -> Keys | None:
    """Return the keys that a line sets or opens, None for other lines."""
    if "=" not in line and not line.lstrip().startswith("["):
        return None
    try:
        tree: Any = tomllib.loads(line)
    except ValueError:
        return None
    keys = []
    while isinstance(tree, dict) and len(tree) == 1:
        key, tree = next(iter(tree.items()))
        keys.append(key)
        if "=" in line and not line.lstrip().startswith("[") and _is_value(line, keys):
            break
        if isinstance(tree, list) and line.lstrip().startswith("["):
            return (*keys, "[]")  # an array's element: no place for our settings
    return tuple(keys) or None


def _is_value(line: str, keys: list[str]) -> bool:
    """Whether `keys` are all the keys before the equals sign of `line`."""
    before: Any = tomllib.loads(f"{line.partition('=')[0]}= 0")
    for key in keys:
        before = before[key]
    return not isinstance(before, dict)


def _code_length(line: str) -> int:
    """Return the length of the setting on `line` without its comment."""
    whole = tomllib.loads(line)
    for match in re.finditer("#", line):
        try:
            if tomllib.loads(line[: match.start()]) == whole:
                return len(line[: match.start()].rstrip())
        except ValueError:
            continue
    return len(line)


def _key(key: str) -> str:
    """Return a key as TOML writes it."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else tomlkit.string(key).as_string()
