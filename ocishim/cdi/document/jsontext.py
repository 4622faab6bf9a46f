"""The short way for spec files that are JSON: the C scanner, where it reads what YAML would.

The reference reads JSON as YAML, and the two differ in corners: escapes, duplicate keys, keys
longer than 1024, numbers. A text that comes near one is not for this module; yamlgo.py reads it.
That saves the import of PyYAML (15 ms) and most of the time of parsing. The device plugin and
DRA drivers write their claims so. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    import _json
except ImportError:  # not CPython
    _make_scanner: Any = None
else:
    _make_scanner = _json.make_scanner

# Outside strings, what JSON and a flow collection of YAML both take for nothing.
_SPACE = b" \t\r\n"
_MAX_KEY = 500
_MAX_DIGITS = 18


class NotPlainError(ValueError):
    """A text that is not JSON, or not as plain as this module wants it."""


def load(data: bytes) -> Any:
    """The object in `data`, as yamlgo.load() would read it, or NotPlainError."""
    if _make_scanner is None or not _is_plain(data):
        raise NotPlainError
    text = data.decode("ascii")
    try:
        value, end = _make_scanner(_Context)(text, 0)
    # SystemError: before 3.12 the scanner finds JSONDecodeError only where json is imported.
    except (StopIteration, RecursionError, ValueError, SystemError) as e:
        raise NotPlainError from e
    if text[end:].strip(" \r\n"):
        raise NotPlainError
    return value


def _is_plain(data: bytes) -> bool:
    if not data.startswith(b"{") or not data.isascii() or b"\x7f" in data:
        return False
    if b"\\/" in data or b"\\u" in data:
        return False
    # YAML wants a key and its colon on one line; here: side by side.
    return data.count(b'":') == data.translate(None, _SPACE).count(b'":')


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or any(len(key) > _MAX_KEY for key in members):
        raise NotPlainError
    return members


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise NotPlainError
    return int(text)


def _refuse(_text: str) -> Any:
    raise NotPlainError


class _Context:
    """What the C scanner asks its owner for."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_members)
    parse_float = staticmethod(_refuse)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}  # noqa: RUF012 - the pure scanner's, unused by the C one
