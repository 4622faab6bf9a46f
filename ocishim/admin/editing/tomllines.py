"""Write changes into a TOML text line by line, and read what stands on a line.

Sees headers and settings of one line each; what it does not see (inline tables, values of several
lines) makes a text that says something else, which tomlfile.py finds out and refuses.
"""

from __future__ import annotations

import re
from typing import Any

import tomlkit

from ocishim.settings import configfile

Keys = tuple[str, ...]
_OURS = " # pyshim: "  # begins a comment of tomlfile.py's


class Lines:
    """The text as lines, which end with a line feed; the last one as it did."""

    def __init__(self, text: str) -> None:
        # Not str.splitlines: a comment may have U+0085 or U+2028, and TOML ends no line there.
        self._end = "\n" if text.endswith("\n") or not text else ""
        self._lines = text.removesuffix("\n").split("\n") if text else []

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

    def opens(self, table: Keys) -> bool:
        """Whether a line opens the table that we have not written for a setting of ours."""
        lines = (line for line, inside, _ in self._walk() if inside == table)
        return any(line.lstrip().startswith("[") and _OURS not in line for line in lines)

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
        found = self._find(keys)
        if found is None:
            behind = f" {comment}" if comment else ""
            place = self._place(keys[:-1], comment)
            self._lines.insert(place, f"{_key(keys[-1])} = {raw}{behind}")
            return
        line = self._lines[found]
        code, rest = line[: _code_length(line)], line[_code_length(line) :]
        name, _, value = code.partition("=")
        gap = value[: len(value) - len(value.lstrip())]
        space = rest[: len(rest) - len(rest.lstrip())] or " "
        self._lines[found] = f"{name}={gap}{raw}{space + comment if comment else ''}"

    def remove(self, keys: Keys) -> None:
        """Remove a setting's line, or a table, its sub-tables and the blank line before each."""
        kept: list[str] = []
        for line, table, setting in self._walk():
            path = table if setting is None else (*table, *setting)
            inside = path[: len(keys)] == keys and (setting is not None or line.strip() != "")
            if not inside or line.strip().startswith("#"):
                kept.append(line)
            elif setting is None and kept and not kept[-1].strip():
                kept.pop()  # which `_place` wrote with the header
        self._lines = kept
        self._remove_header(keys[:-1])

    def _remove_header(self, table: Keys) -> None:
        """Remove a header that `_place` wrote for a setting, when no other stands below it."""
        walked = self._walk()
        if any(inside == table and setting is not None for _, inside, setting in walked):
            return
        for index, (line, inside, _) in enumerate(walked):
            if inside == table and line.startswith("[") and "]" + _OURS in line:
                blank = index > 0 and not self._lines[index - 1].strip()
                del self._lines[index - blank : index + 1]
                return

    def text(self) -> str:
        """Return the text."""
        return "\n".join(self._lines) + self._end if self._lines else ""

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

    def _place(self, table: Keys, comment: str) -> int:
        """Return where a setting of `table` can stand; writes its header when there is none.

        The header gets the setting's comment, too: it goes with the last setting that has one.
        """
        last = None
        for index, (line, inside, setting) in enumerate(self._walk()):
            header = setting is None and line.lstrip().startswith("[")
            if inside == table and (header or setting is not None):
                last = index
        if last is not None:
            return last + 1
        if not table:
            return self._head()
        behind = f" {comment}" if comment else ""
        self._lines += ["", f"[{dotted(table)}]{behind}"]
        return len(self._lines)

    def _head(self) -> int:
        """Return where the comment that the file begins with ends."""
        ends = (i for i, line in enumerate(self._lines) if not line.startswith("#"))
        return next(ends, len(self._lines))


def _path(line: str) -> Keys | None:
    """Return the keys that a line sets or opens, None for other lines."""
    if "=" not in line and not line.lstrip().startswith("["):
        return None
    try:
        tree: Any = configfile.loads(line)
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
    before: Any = configfile.loads(f"{line.partition('=')[0]}= 0")
    for key in keys:
        before = before[key]
    return not isinstance(before, dict)


def _code_length(line: str) -> int:
    """Return the length of the setting on `line` without its comment."""
    whole = configfile.loads(line)
    for match in re.finditer("#", line):
        try:
            if configfile.loads(line[: match.start()]) == whole:
                return len(line[: match.start()].rstrip())
        except ValueError:
            continue
    return len(line)


def dotted(keys: Keys) -> str:
    """Return keys as TOML writes them in one."""
    return ".".join(map(_key, keys))


def _key(key: str) -> str:
    """Return a key as TOML writes it."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else tomlkit.string(key).as_string()
