"""A TOML file of an engine: changed where we change it, as it came everywhere else.

Comments, order, ends of lines and unknown keys stay. A value of the user's that we replace is kept
in a comment behind ours, or where there is no room for one in a line at the end, so that it comes
back when pyshim is taken out again. Two ways to write: line by line
(tomllines.py), which takes back what it wrote to the last blank line, and tomlkit's tree
(tomltree.py) for what does not stand on lines of its own, as in inline tables. Either way the text
must say exactly what was wanted. Knows nothing of engines.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import tomlkit

from ocishim.admin.editing.tomllines import Lines, dotted
from ocishim.admin.editing.tomltree import Tree, item
from ocishim.errors import ConfigError
from ocishim.settings import configfile

Keys = tuple[str, ...]
_OURS = "# pyshim: "
_WAS, _NOT_THERE = f"{_OURS}was ", "not there"


class _Mark(NamedTuple):
    """What a comment of ours tells: the value before, "" for none, and the comment behind it."""

    old: str
    rest: str


def plain(text: str, path: str) -> dict[str, Any]:
    """Return what the TOML text says. Raises ConfigError naming `path`."""
    try:
        tree: dict[str, Any] = configfile.loads(text)
    except (ValueError, RecursionError) as err:
        if text.startswith("\ufeff"):  # containerd 1.6 reads it, and newer ones do not
            raise configfile.byte_order_mark(path) from None
        raise ConfigError(
            f"{path}: not valid TOML: {err}",
            hint=f"correct {path}: its engine cannot read it either",
        ) from None
    return tree


def find(tree: object, *keys: str) -> Any:
    """Return the value at the path `keys` in nested tables, None when it is not there."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def find_table(tree: object, *keys: str) -> dict[str, Any]:
    """Return the table at the path `keys`, {} when there is none."""
    found = find(tree, *keys)
    return found if isinstance(found, dict) else {}


def newline(text: str) -> str:
    """Return what ends the lines of the text: CRLF where that ends each of them, else LF."""
    ends = text.count("\r\n")
    return "\r\n" if ends and ends == text.count("\n") else "\n"


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return both trees as one, tables merged and other values of `over` winning."""
    result = dict(under)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


class TomlFile:
    """One file's text being edited; `path` is for messages.

    traceless: line by line first, so that what is taken out again leaves not even a blank line.
    """

    def __init__(self, path: str, text: str, *, traceless: bool = False) -> None:
        self.path = path
        self._writers = (Lines, Tree) if traceless else (Tree, Lines)
        self.original = text
        self._text = text.replace("\r\n", "\n")
        self.wanted = plain(text, path)
        self._changes: list[tuple[Any, ...]] = []
        self._emptied: list[Keys] = []
        self._comments: dict[Keys, str] = {}  # those of ours that are to be there
        self._restored: list[Keys] = []

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
        if self.get(*keys) != value:
            self._want(keys, copy.deepcopy(value))
            self._changes.append(("set", keys, value))

    def replace(self, keys: Keys, value: Any) -> None:
        """Set a value, with the old one in a comment for `restore`."""
        old = self.get(*keys)
        if old == value:
            return
        raw, comment = Lines(self._text).entry(keys)
        if self._mark(keys) is None:
            raw = raw or (_NOT_THERE if old is None else tomlkit.item(old).as_string())
            comment = f"{_WAS}{raw}{' ' + comment if comment else ''}"
            self._comments[keys] = comment
        self._single(keys, tomlkit.item(value).as_string(), comment)

    def is_replaced(self, keys: Keys) -> bool:
        """Whether the value is one that `replace` wrote, and that `restore` would take back."""
        return self._mark(keys) is not None

    def restore(self, keys: Keys) -> None:
        """Undo `replace`; a value without our comment is the user's and stays."""
        mark = self._mark(keys)
        if mark is None:
            return
        self._restored.append(keys)
        if mark.old:
            self._single(keys, mark.old, mark.rest)
        else:
            self.remove(keys)

    def _mark(self, keys: Keys) -> _Mark | None:
        """Return what `replace` noted behind the value at `keys`, or at the end; None: nothing."""
        own, noted = _noted(keys), Lines(self._text).entry(keys)[1]
        lines = (line for line in self._text.split("\n") if line.startswith(own))
        return _told(noted) or _told(next(lines, "").replace(own, _WAS, 1))

    def remove(self, keys: Keys) -> None:
        """Remove what is at `keys`, and the tables on the way that are empty then.

        Traceless, one that a line of the user's opens stays: containerd 1.x does not start its CRI
        with an empty table of runtimes.
        """
        text = Lines(self._text if self._writers[0] is Lines else "")
        while keys and self.get(*keys) is not None:
            parents = keys[:-1]
            del self.table(parents)[keys[-1]]
            self._changes.append(("remove", keys))
            if self.table(parents) or text.opens(parents):
                break
            keys = parents

    def unset(self, keys: Keys) -> None:
        """Remove what is at `keys`; the table around it stays, with its comments.

        A table that is there by its keys alone, as in `a.b = 1` or [[a.b]], goes with the last.
        """
        if self.get(*keys) is not None:
            del self.table(keys[:-1])[keys[-1]]
            self._changes.append(("remove", keys))
            self._emptied.append(keys[:-1])

    def text(self) -> str:
        """Return the text. Raises ConfigError when no way leads to what was wanted."""
        if not self._changes:
            return self.original
        for writer in self._writers:
            text = self._written(writer)
            if text is not None:
                return self._noting(text).replace("\n", newline(self.original))
        raise ConfigError(
            f"{self.path}: cannot be edited without changing what else it says",
            hint="write its tables as [a.b.c], each on a line of its own, and try again",
        )

    def _written(self, writer: type[Tree | Lines]) -> str | None:
        try:
            document = writer(self._text)
            for change, *arguments in self._changes:
                getattr(document, change)(*arguments)
            text = document.text()
            said = configfile.loads(text)
            for keys in self._emptied:
                _made(said, keys)
            same: bool = said == self.wanted
        except Exception:  # noqa: BLE001 - the text is valid: whatever is raised is a writer's limit
            return None
        return text if same else None

    def _noting(self, text: str) -> str:
        """Return the text with the comments that found no room in a line each at its end."""
        gone = tuple(map(_noted, self._restored))
        lines = [line for line in text.split("\n") if not gone or not line.startswith(gone)]
        last = lines.pop() if not lines[-1] else None
        written = Lines(text)
        for keys, comment in self._comments.items():
            if written.entry(keys)[1] != comment:
                lines.append(comment.replace(_WAS, _noted(keys), 1))
        return "\n".join(lines if last is None else [*lines, last])

    def _single(self, keys: Keys, raw: str, comment: str) -> None:
        self._want(keys, configfile.loads(f"value = {raw}")["value"])
        self._changes.append(("single", keys, raw, comment))

    def _want(self, keys: Keys, value: Any) -> None:
        self.table(keys[:-1])
        _made(self.wanted, keys[:-1])[keys[-1]] = value


def _noted(keys: Keys) -> str:
    """Return how a line begins that notes what was at `keys`."""
    return f"{_OURS}{dotted(keys)} was "


def _told(comment: str) -> _Mark | None:
    """Return what the comment tells if `replace` wrote it, None otherwise."""
    if not comment.startswith(_WAS):
        return None
    told = comment.removeprefix(_WAS)
    absent, _, rest = told.partition(_NOT_THERE)
    if not absent and (not rest or rest.startswith(" #")):
        return _Mark("", rest.strip())
    raw, rest = Lines(f"value = {told}").entry(("value",))
    return _Mark(raw, rest) if raw else None


def _made(tree: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """Return the table at `keys`, made where it is not there."""
    for key in keys:
        tree = tree.setdefault(key, {})
    return tree


def dumps(tree: dict[str, Any]) -> str:
    """Return a tree of plain values as TOML text."""
    document = tomlkit.document()
    for key, value in sorted(tree.items(), key=lambda pair: isinstance(pair[1], dict)):
        document[key] = item(value)
    return tomlkit.dumps(document)
