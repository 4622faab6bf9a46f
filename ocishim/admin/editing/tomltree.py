"""Write changes into a TOML text by tomlkit's tree, which keeps its form.

tomlkit cannot keep every valid order of tables; then it raises, or says something else, and
tomlfile.py takes the other way.
"""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import AoT, InlineTable, Whitespace

Keys = tuple[str, ...]


class Tree:
    """The text as a tree; every method may raise anything tomlkit raises."""

    def __init__(self, text: str) -> None:
        self._document: Any = tomlkit.parse(text)
        if self.text() != text:
            raise ValueError("tomlkit cannot keep this form")

    def set(self, keys: Keys, value: Any) -> None:
        """Set a plain value, tables included."""
        table = self._open(keys[:-1])
        before = table.get(keys[-1])
        if not (isinstance(before, AoT) and isinstance(value, list) and _edited(before, value)):
            table[keys[-1]] = item(value, inline=isinstance(table, InlineTable))

    def single(self, keys: Keys, raw: str, comment: str) -> None:
        """Set a value that is written `raw`, and the comment behind it ("" for none)."""
        table = self._open(keys[:-1])
        table[keys[-1]] = tomlkit.value(raw)
        if not isinstance(table, InlineTable):
            trivia = _raw(table, keys[-1]).trivia
            trivia.comment = comment
            trivia.comment_ws = (trivia.comment_ws or " ") if comment else ""

    def remove(self, keys: Keys) -> None:
        """Remove what is there."""
        table = self._document
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]

    def text(self) -> str:
        """Return the text."""
        text: str = tomlkit.dumps(self._document)
        return text

    def _open(self, keys: Keys) -> Any:
        table = self._document
        for key in keys:
            if key not in table:
                inside = isinstance(table, InlineTable)
                table[key] = tomlkit.inline_table() if inside else tomlkit.table(True)
            table = table[key]
        return table


def _edited(tables: AoT, wanted: list[Any]) -> bool:
    """Make the tables those `wanted` where they stand; False when they have to be written anew.

    One is known by its `name`: what is left keeps its comments and its order, new ones follow.
    """
    names = [one.get("name") if isinstance(one, dict) else None for one in wanted]
    there = [one.get("name") for one in tables]
    left = [name for name in there if name in names]
    if not left or left != names[: len(left)] or len({*there}) < len(there):
        return False
    tails = [_cut_tail(table) for table in tables]
    for index in reversed(range(len(there))):
        if there[index] not in names:
            del tables[index]
            gone = tails.pop(index)
            tails[max(index - 1, 0)] += gone if index else []
    for table, value in zip(tables, wanted, strict=False):
        for key in [key for key in table if key not in value]:
            del table[key]
        for key, below in value.items():
            if table.get(key) != below:
                table[key] = item(below)
    new = wanted[len(left) :]
    for table, tail in zip(tables, tails, strict=True):
        table.value.body.extend([(None, tomlkit.nl())] if new and tail is tails[-1] else tail)
    for value in new:
        tables.append(item(value))
    if new:
        tables[-1].value.body.extend(tails[-1])
    return True


def _cut_tail(table: Any) -> list[Any]:
    """Take what follows the last setting's paragraph out of a table, and return it.

    That are comments on what comes next in the file.
    """
    body = table.value.body
    last = max((at for at, (key, _) in enumerate(body) if key is not None), default=-1)
    blank = (at for at, (_, one) in enumerate(body) if at > last and isinstance(one, Whitespace))
    start = next(blank, len(body))
    tail = body[start:]
    del body[start:]
    return list(tail)


def _raw(table: Any, key: str) -> Any:
    """Return tomlkit's item under `key`; a look-up by [] turns booleans into bare values."""
    if isinstance(table, OutOfOrderTableProxy):
        return dict.__getitem__(table, key)
    return (table if isinstance(table, Container) else table.value).item(key)


def item(value: Any, *, inline: bool = False) -> Any:
    """Make a table of a dict: its own tables last, as TOML wants it, and no empty headers."""
    if not isinstance(value, dict):
        return value
    only_tables = bool(value) and all(isinstance(below, dict) for below in value.values())
    table = tomlkit.inline_table() if inline else tomlkit.table(is_super_table=only_tables)
    for key, below in sorted(value.items(), key=lambda pair: isinstance(pair[1], dict)):
        table[key] = item(below, inline=inline)
    return table
