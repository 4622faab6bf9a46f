"""Go's numbers as text, and the words for values; what coerce.py needs, with cheap imports.

Pure functions. Sources: sigs.k8s.io/yaml v1.4 yaml.go, Go's strconv and encoding/json.
"""

from __future__ import annotations

import struct

_INF = float("inf")


class DialectError(Exception):
    """The text is not what go-yaml accepts; the reason, lower case, maybe with a line."""


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
