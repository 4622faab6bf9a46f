"""Write changes into a TOML text by tomlkit's tree, which keeps its form.

tomlkit cannot keep every valid order of tables; then it raises, or says something else, and
tomlfile.py takes the other way.
"""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import InlineTable

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
