"""A TOML file of an engine: changed where we change it, as it came everywhere else.

Comments, order and unknown keys stay (tomlkit). A value of the user's that we replace is kept in
a comment behind ours, so that it comes back when pyshim is taken out again. Knows nothing of
engines.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import InlineTable, Item

from ocishim.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Keys = tuple[str, ...]
_MARK = re.compile(
    r"# pyshim: (?:was (?P<old>\"[^\"#]*\"|'[^'#]*'|true|false|\d+)|was not there)(?P<rest> #.*)?$",
)


def plain(text: str, path: str) -> dict[str, Any]:
    """Return what the TOML text says. Raises ConfigError naming `path`."""
    try:
        tree: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(
            f"{path}: not valid TOML: {err}", hint="its engine cannot read it either",
        ) from None
    return tree


def find(tree: object, *keys: str) -> Any:
    """Return the value at the path `keys` in nested tables, None when it is not there."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return both trees as one, tables merged and other values of `over` winning."""
    result = dict(under)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


class TomlFile:
    """One file's text being edited; `path` is for messages."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.original = text
        self.wanted = plain(text, path)
        try:
            self._document: Any = tomlkit.parse(text)
        except Exception as err:  # noqa: BLE001 - it is valid, so this is tomlkit's own limit
            raise self._beyond_us(err) from None

    def get(self, *keys: str) -> Any:
        """Return the plain value at `keys`, None when it is not there."""
        return find(self.wanted, *keys)

    def table(self, keys: Keys) -> dict[str, Any]:
        """Return the plain table at `keys`, {} when it is not there.

        Raises ConfigError when something else is there.
        """
        found: Any = self.wanted
        for count, key in enumerate(keys, 1):
            found = found.get(key, {})
            if not isinstance(found, dict):
                raise ConfigError(f"{self.path}: expected table in '{'.'.join(keys[:count])}'")
        table: dict[str, Any] = found
        return table

    def set(self, keys: Keys, value: Any) -> None:
        """Set the value at `keys`, making the tables on the way."""
        if self.get(*keys) == value:
            return
        self.table(keys[:-1])
        try:
            table = self._open(keys[:-1])
            table[keys[-1]] = _item(value, inline=isinstance(table, InlineTable))
        except Exception as err:  # noqa: BLE001 - as above
            raise self._beyond_us(err) from None
        plain_value = value.unwrap() if isinstance(value, Item) else value
        self._plain(keys[:-1])[keys[-1]] = plain_value

    def replace(self, keys: Keys, value: Any) -> None:
        """Set a string or boolean value, with the old one in a comment for `restore`."""
        old = self.get(*keys)
        if old == value:
            return
        comment = self._comment(keys)
        if not _MARK.match(comment):
            was = "was not there" if old is None else f"was {self._raw(keys).as_string()}"
            comment = f"# pyshim: {was}{' ' + comment if comment else ''}"
        self._set_single(keys, value, comment)

    def restore(self, keys: Keys) -> None:
        """Undo `replace`; a value without our comment is the user's and stays."""
        mark = _MARK.match(self._comment(keys))
        if mark is None:
            return
        if mark["old"] is None:
            self.remove(keys)
            return
        self._set_single(keys, tomlkit.value(mark["old"]), (mark["rest"] or "").strip())

    def remove(self, keys: Keys) -> None:
        """Remove what is at `keys`, and the tables on the way that are empty then."""
        while keys and self.get(*keys) is not None:
            parents = keys[:-1]
            try:
                del find(self._document, *parents)[keys[-1]]
            except Exception as err:  # noqa: BLE001 - as above
                raise self._beyond_us(err) from None
            del self._plain(parents)[keys[-1]]
            if self._plain(parents):
                break
            keys = parents

    def text(self) -> str:
        """Return the text. Raises ConfigError when it does not say what was wanted."""
        text: str = tomlkit.dumps(self._document)
        try:
            same = tomllib.loads(text) == self.wanted
        except ValueError:
            same = False
        if not same:
            raise ConfigError(
                f"{self.path}: cannot be edited without changing what else it says",
                hint="edit it by hand, as docs/quickstart-containerd.md shows",
            )
        return text

    def _beyond_us(self, err: Exception) -> ConfigError:
        """Return the error for a file that tomlkit, which keeps its form, cannot work on."""
        return ConfigError(
            f"{self.path}: valid, but cannot be edited in this form ({type(err).__name__}: {err})",
            hint="put each table before its sub-tables, [a.b] before [a.b.c], and try again",
        )

    def _open(self, keys: Keys) -> Any:
        table = self._document
        for key in keys:
            if key not in table:
                inside = isinstance(table, InlineTable)
                table[key] = tomlkit.inline_table() if inside else tomlkit.table(True)
            table = table[key]
        return table

    def _plain(self, keys: Keys) -> dict[str, Any]:
        tree = self.wanted
        for key in keys:
            tree = tree.setdefault(key, {})
        return tree

    def _comment(self, keys: Keys) -> str:
        """Return the comment behind the single value at `keys`, "" when there is none."""
        item = self._raw(keys)
        return str(item.trivia.comment) if hasattr(item, "trivia") else ""

    def _raw(self, keys: Keys) -> Any:
        """Return tomlkit's item at `keys`; a look-up by [] turns booleans into bare values."""
        table, key = find(self._document, *keys[:-1]), keys[-1]
        if table is None or key not in table:
            return None
        if isinstance(table, OutOfOrderTableProxy):
            return dict.__getitem__(table, key)
        return (table if isinstance(table, Container) else table.value).item(key)

    def _set_single(self, keys: Keys, value: Any, comment: str) -> None:
        self.set(keys, value)
        if isinstance(find(self._document, *keys[:-1]), InlineTable):
            return  # there is no room for comments
        trivia = self._raw(keys).trivia
        trivia.comment = comment
        trivia.comment_ws = (trivia.comment_ws or " ") if comment else ""


def _item(value: Any, *, inline: bool = False) -> Any:
    """Make a table of a dict: its own tables last, as TOML wants it, and no empty headers."""
    if not isinstance(value, dict):
        return value
    only_tables = bool(value) and all(isinstance(below, dict) for below in value.values())
    table = tomlkit.inline_table() if inline else tomlkit.table(is_super_table=only_tables)
    for key, below in sorted(value.items(), key=lambda pair: isinstance(pair[1], dict)):
        table[key] = _item(below, inline=inline)
    return table


def dumps(tree: dict[str, Any]) -> str:
    """Return a tree of plain values as TOML text."""
    document = tomlkit.document()
    for key, value in sorted(tree.items(), key=lambda pair: isinstance(pair[1], dict)):
        document[key] = _item(value)
    return tomlkit.dumps(document)
