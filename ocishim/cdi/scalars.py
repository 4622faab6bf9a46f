"""Scalars as Go reads and writes them: go-yaml's resolution, strconv's number formats.

Pure functions on text and numbers; no YAML library. Sources: go-yaml v2 resolve.go and
decode.go, sigs.k8s.io/yaml v1.4 yaml.go, Go's strconv and encoding/json.
"""

from __future__ import annotations

import re
import struct

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


class DialectError(Exception):
    """The text is not what go-yaml accepts; the reason, lower case, maybe with a line."""


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


def text_of(value: bool | float) -> str:  # noqa: FBT001 - a value, not a switch
    """The string a Go string field gets from a YAML scalar that is none (yaml.go)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _float32_text(value)


def key_text(value: bool | float) -> str:  # noqa: FBT001 - a value, not a switch
    """The key that a YAML key which is no string becomes (yaml.go)."""
    text = text_of(value)
    return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(text, text)


def _float32_text(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 32): shortest for 32 bits, exponent from 1e6 on."""
    single = _float32(value)
    if single != single:  # noqa: PLR0124 - nan is what does not equal itself
        return "NaN"
    if single in (_INF, -_INF):
        return "+Inf" if single > 0 else "-Inf"
    text = next(t for t in (f"{single:.{n}e}" for n in range(17)) if _float32(float(t)) == single)
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if single and not -4 <= power < 6:
        return f"{mantissa}e{power:+03d}"
    digits = len(mantissa.replace("-", "").replace(".", ""))
    return f"{single:.{max(digits - 1 - power, 0)}f}"


def _float32(value: float) -> float:
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return _INF if value > 0 else -_INF
    return single


def integral(value: float) -> int | None:
    """The integer encoding/json reads from what it writes for `value`, if it is one."""
    from decimal import Decimal  # noqa: PLC0415 - rare, 3 ms

    # From 1e21 on it writes an exponent, which no integer field accepts.
    if value != value or abs(value) >= 1e21 or value != int(value):  # noqa: PLR0124 - nan
        return None
    # The shortest digits that give this float again, not the float's own.
    return int(Decimal(repr(value)))


def type_name(value: Any) -> str:
    """What messages call a value: JSON's words, with integers told from other numbers."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    return "null" if value is None else names.get(type(value), "number")
