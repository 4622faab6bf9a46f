"""YAML's plain and tagged scalars, resolved as go-yaml v2 does, and its limit on aliases.

Pure functions on text and numbers; no YAML library. Sources: go-yaml v2 resolve.go, decode.go.
"""

from __future__ import annotations

import re

from ocishim.cdi.document.goscalars import DialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TAG = "tag:yaml.org,2002:"
_STR, _BOOL, _INT, _FLOAT, _NULL, _TIME, _BINARY = (
    _TAG + name for name in ("str", "bool", "int", "float", "null", "timestamp", "binary")
)
# What a plain scalar must begin with to be anything but a string.
_HINTS = frozenset("yYnNtTfFoO~.+-0123456789")
_NAN = float("nan")
_INF = float("inf")


def _spellings(*words: str) -> list[str]:
    return [form for word in words for form in (word, word.capitalize(), word.upper())]


_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(_spellings("y", "yes", "true", "on"), True),
    **dict.fromkeys(_spellings("n", "no", "false", "off"), False),
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], _NAN),
    **dict.fromkeys([s + i for s in ("", "+") for i in (".inf", ".Inf", ".INF")], _INF),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -_INF),
}
# strconv.ParseFloat knows underscores between digits.
_DOT_FLOAT = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?")
_YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
# go-yaml cuts "0b" off and reads the rest, sign and all, as a binary number.
_SIGNED_BINARY = re.compile(r"0b([-+][01]+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def resolve(tag: str, text: str) -> Any:
    """The value of a plain or tagged scalar; `tag` is "" or a full tag URI.

    An unknown tag leaves the text a string. Raises DialectError when text and tag disagree.
    """
    if tag == "":
        if text and text[0] not in _HINTS:
            return text
        return _resolve_plain(text)
    if tag == _BINARY:
        return _decode_base64(text)
    if tag not in (_BOOL, _INT, _FLOAT, _NULL, _TIME):
        return text
    value = _resolve_plain(text)
    found = _TIME if tag == _TIME and is_timestamp(text) else _tag_of(value)
    if tag == _FLOAT and found == _INT and -(2**63) <= value < 2**63:
        return float(value)
    if found != tag:
        raise DialectError(
            f"cannot decode !!{found.removeprefix(_TAG)} `{text}` as a !!{tag.removeprefix(_TAG)}"
        )
    return value


def _resolve_plain(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    first = text[0]
    if first == ".":
        if _DOT_FLOAT.fullmatch(text):
            number = _finite(text.replace("_", ""))
            return number if isinstance(number, float) else text
        return text
    if first not in "+-0123456789":
        return text
    found = _number(text.replace("_", ""))
    return text if found is None else found


def _number(plain: str) -> int | float | None:
    match = _INTEGER.fullmatch(plain)
    if match:
        value = _integer(match)
        # As strconv does it: signed first, then unsigned, which takes no sign.
        if -(2**63) <= value < 2**63 or (not match[1] and 0 <= value < 2**64):
            return value
    if _YAML_FLOAT.fullmatch(plain):
        value_or_text = _finite(plain)
        if isinstance(value_or_text, float):
            return value_or_text
    match = _SIGNED_BINARY.fullmatch(plain)
    if match and -(2**63) <= int(match[1], 2) < 2**63:
        return int(match[1], 2)
    return None


def _integer(match: re.Match[str]) -> int:
    sign, hexa, binary, octal, decimal = match.groups()
    # 25 digits are out of range already, and thousands of them cost int() quadratic time.
    if decimal and len(decimal) > 25:
        return 2**64
    bases = ((hexa, 16), (binary, 2), (octal, 8), (decimal, 10))
    value = next(int(digits, base) for digits, base in bases if digits)
    return -value if sign == "-" else value


def _finite(text: str) -> float | str:
    """The float, or the text itself when it is out of range, as strconv.ParseFloat fails."""
    value = float(text)
    return text if value in (_INF, -_INF) else value


def _tag_of(value: Any) -> str:
    kinds = {bool: _BOOL, int: _INT, float: _FLOAT, type(None): _NULL}
    return kinds.get(type(value), _STR)


def is_timestamp(text: str) -> bool:
    """Whether go-yaml takes `text` for a timestamp (which stays text; `!!timestamp` asks)."""
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        return False
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= month <= 12 and 1 <= day <= days[month - 1]):
        return False
    return hour < 24 and minute < 60 and second < 60


_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2}))"
    r"|(?: +([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?))?"
)


def _decode_base64(text: str) -> str:
    import binascii  # noqa: PLC0415 - rare

    text = text.replace("\r", "").replace("\n", "")
    if len(text) % 4 or not _BASE64.fullmatch(text):
        raise DialectError("!!binary value contains invalid base64 data")
    raw = binascii.a2b_base64(text).decode(errors="surrogateescape")
    # encoding/json replaces each byte that is no UTF-8.
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in raw)


def check_aliases(decoded: int, aliased: int) -> None:
    """go-yaml's guard against a small text that expands without end (decode.go)."""
    low, high = 400_000, 4_000_000
    if aliased <= 100 or decoded <= 1000:
        return
    share = 0.99 - 0.89 * min(max(decoded - low, 0) / (high - low), 1)
    if aliased / decoded > share:
        raise DialectError("document contains excessive aliasing")
