"""JSON in and out without loss: config.json, states and engines' documents.

Numbers keep their text, keys their order, empty values their place. The `json` package costs
6.6 ms at import (it pulls in re and enum), the C scanner and encoder behind it 0.3 ms, so those
are used directly where CPython has them; tests/unit/test_jsonio.py holds both ways together.
Reading files and limiting their size is the caller's work. Pure.
"""

from __future__ import annotations

from ocishim.errors import DocumentError, lowered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Take = Callable[[list[tuple[str, Any]]], Any]

try:
    import _json
except ImportError:  # not CPython
    _c: Any = None
else:
    _c = _json

_HEX = frozenset("0123456789abcdef")
_SPACE = " \t\n\r"
MAX_DEPTH = 200
"""The deepest nesting read; real documents have 12. Python's own limit is a version's whim."""


class Number:
    """A number kept as the text it came in: `1.0`, `1E3`, and integers that int would change."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return self.text


class _FoundNumberError(Exception):
    """The C encoder met a Number, which it cannot write."""


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"'{text}' is not a JSON value")


def _refuse_default(value: object) -> Any:
    if isinstance(value, Number):
        raise _FoundNumberError
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _integer(text: str) -> int | Number:
    """Return an integer; `-0` and what is longer than int() takes (4300 digits) as text."""
    if text == "-0":
        return Number(text)
    try:
        return int(text)
    except ValueError:
        return Number(text)


class _Context:
    """What the C scanner asks its owner for."""

    strict = True
    object_hook = None
    object_pairs_hook: Take | None = None
    parse_float = Number
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the pure scanner's, unused by the C one


def loads(data: bytes, source: str, take: Take | None = None) -> Any:
    """Parse one JSON document.

    `source` names the document in messages, usually its path. Invalid UTF-8 travels through as
    surrogate escapes; an escape of half a surrogate pair is U+FFFD, as in Go. take: makes the
    value of an object out of its members. Raises DocumentError with line and column (1-based) of
    the fault.
    """
    text = data.decode("utf-8", "surrogateescape")
    if "\\ud" in text or "\\uD" in text:
        text = _without_halves(text)
    try:
        value, end = _scan(text, take)
    except StopIteration as stop:
        raise DocumentError(
            f"not valid JSON: {_stop_reason(text, stop.value)}", source=source
        ) from None
    except RecursionError:
        raise DocumentError("not valid JSON: nested too deeply", source=source) from None
    except ValueError as err:  # JSONDecodeError, NaN, an integer of thousands of digits
        raise DocumentError(f"not valid JSON: {lowered(str(err))}", source=source) from None
    if text[end:].strip(_SPACE):
        raise DocumentError(
            f"not valid JSON: text after the document, {_at(text, end)}", source=source
        )
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise DocumentError("not valid JSON: nested too deeply", source=source)
    return value


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for item in level
            for member in (item.values() if isinstance(item, dict) else item)  # type: ignore[attr-defined]
            if isinstance(member, (dict, list))
        ]
        if not level:
            return False
    return True


def _without_halves(text: str) -> str:
    """Return `text` with U+FFFD for each escape of half a surrogate pair.

    Six characters for six: places in messages stay. An escaped backslash parts the pieces.
    """
    pieces = text.split("\\\\")
    for number, piece in enumerate(pieces):
        parts = piece.split("\\u")
        high = 0  # the part before, when it is the escape of a pair's first half and no more
        for index in range(1, len(parts)):
            code = _surrogate(parts[index])
            if high and code >= 0xDC00:
                high = 0
                continue
            if high:
                parts[high] = "fffd" + parts[high][4:]
            high = index if 0xD800 <= code < 0xDC00 and len(parts[index]) == 4 else 0
            if code and not high:
                parts[index] = "fffd" + parts[index][4:]
        if high:
            parts[high] = "fffd" + parts[high][4:]
        pieces[number] = "\\u".join(parts)
    return "\\\\".join(pieces)


def _surrogate(part: str) -> int:
    """Return the surrogate whose four digits `part` begins with, 0 when it is none."""
    digits = part[:4].lower()
    if len(digits) == 4 and digits[0] == "d" and digits[1] in "89abcdef":
        return int(digits, 16) if _HEX.issuperset(digits) else 0
    return 0


def _scan(text: str, take: Take | None) -> tuple[Any, int]:
    start = len(text) - len(text.lstrip(_SPACE))
    if _c is not None:
        context = _Context()
        context.object_pairs_hook = take
        scan: Callable[[str, int], tuple[Any, int]] = _c.make_scanner(context)
        try:
            return scan(text, start)
        except SystemError:
            # Before 3.12 the scanner has no words for a fault unless somebody imported json.
            import json.decoder  # noqa: PLC0415 - failure only

            return scan(text, start)
    import json  # noqa: PLC0415 - only where there is no C scanner

    decoder = json.JSONDecoder(
        object_pairs_hook=take,
        parse_int=_integer,
        parse_float=Number,
        parse_constant=_refuse_constant,
    )
    return decoder.raw_decode(text, start)


def _stop_reason(text: str, index: int) -> str:
    if not text[index:].strip(_SPACE):
        return "the document ends too early" if text.strip(_SPACE) else "the document is empty"
    return f"expected a value, {_at(text, index)}"


def _at(text: str, index: int) -> str:
    line = text.count("\n", 0, index) + 1
    return f"line {line} column {index - text.rfind(chr(10), 0, index)}"


def type_name(value: object) -> str:
    """Return what JSON calls the type of a parsed value, with integers told from other numbers."""
    for kind, name in TYPE_NAMES.items():
        if isinstance(value, kind):
            return name
    return "null" if value is None else "number"


TYPE_NAMES = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer",
}  # fmt: skip


def dumps(value: object) -> bytes:
    """Write `value` as compact JSON in UTF-8; the inverse of loads()."""
    if _c is not None:
        try:
            encode = _c.make_encoder(
                None, _refuse_default, _c.encode_basestring, None, ":", ",", False, False, False
            )
            return _to_bytes("".join(encode(value, 0)))
        except _FoundNumberError:
            pass
    out: list[str] = []
    _write(value, out.append, _quote())
    return _to_bytes("".join(out))


def _to_bytes(text: str) -> bytes:
    """Encode; a lone surrogate is a raw byte that came in, or an escape in the text."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        escaped = [c if not _is_escape(c) else f"\\u{ord(c):04x}" for c in text]
        return "".join(escaped).encode("utf-8", "surrogateescape")


def _is_escape(char: str) -> bool:
    return "\ud800" <= char <= "\udc7f" or "\udd00" <= char <= "\udfff"


def _quote() -> Callable[[str], str]:
    if _c is not None:
        quote: Callable[[str], str] = _c.encode_basestring
        return quote
    import json  # noqa: PLC0415 - only where there is no C encoder

    return lambda text: json.dumps(text, ensure_ascii=False)


def _write(value: object, out: Callable[[str], object], quote: Callable[[str], str]) -> None:
    if isinstance(value, str):
        out(quote(value))
    elif value is None or isinstance(value, bool):
        out({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, (int, Number)):
        out(repr(value))
    elif isinstance(value, dict):
        _write_members(value, out, quote)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            out("," if index else "[")
            _write(item, out, quote)
        out("]" if value else "[]")
    else:
        _refuse_default(value)


def _write_members(
    members: dict[str, object], out: Callable[[str], object], quote: Callable[[str], str]
) -> None:
    for index, (key, item) in enumerate(members.items()):
        out("," if index else "{")
        out(quote(key))
        out(":")
        _write(item, out, quote)
    out("}" if members else "{}")


def copy(value: Any) -> Any:
    """Return a deep copy of a parsed document (`copy.deepcopy` costs 4 ms at import)."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


def fold(name: str) -> str:
    """Return `name` as encoding/json compares it: without case, U+017F as s, U+212A as k.

    casefold() does that, and turns some letters into two, which no field's name has.
    """
    folded = name.casefold()
    return folded if len(folded) == len(name) else name
