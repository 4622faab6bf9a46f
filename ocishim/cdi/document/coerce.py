"""Plain values to a CDI spec, as Go decodes JSON into the reference's structs.

Field names match regardless of case, unknown ones are refused, null means absent, and what is
no string becomes one where a string is due (sigs.k8s.io/yaml does that before encoding/json
looks). The first fault in Go's order of decoding, by sorted keys, is the one reported.
Whether the values make sense is rules.py's question.

Source: specs-go/config.go at HEAD (field names and types), encoding/json, yaml.go. Pure.
"""

from __future__ import annotations

from ocishim import jsonio
from ocishim.cdi import fields
from ocishim.cdi.document import goscalars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # (value, its path for messages, what an earlier spelling of the same key has left) -> value
    Decoder = Callable[[Any, str, Any], Any]


class FieldError(Exception):
    """A value the spec's structure has no place for: its class, field path and a reason."""

    def __init__(self, kind: str, field: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.field = field
        self.reason = reason


def decode(value: Any) -> dict[str, Any]:
    """The CDI spec in `value`, with Go's field names and only the members that were given.

    Numbers are ints in the range of their Go type; strings are strings. Null in a list of
    objects stays None, as Go's nil does. Raises FieldError.
    """
    spec: dict[str, Any] = _SPEC(value, "", {})
    return spec


def _mismatch(expected: str, value: Any, field: str) -> FieldError:
    found = jsonio.type_name(value)
    place = f" in '{field}'" if field else ""
    return FieldError("json-type", field, f"expected {expected}, found {found}{place}")


def _string(value: Any, field: str, old: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return old or ""
    if isinstance(value, (dict, list)):
        raise _mismatch("string", value, field)
    return goscalars.text_of(value)


def _boolean(value: Any, field: str, old: Any) -> bool:
    if value is None:
        return bool(old)
    if type(value) is bool:
        return value
    raise _mismatch("boolean", value, field)


def _integer(low: int, high: int) -> Decoder:
    def decode(value: Any, field: str, old: Any) -> int:
        if value is None:
            return old or 0
        number = value
        if type(value) is float:
            number = goscalars.integral(value)
            # encoding/json writes -0 for it, and no unsigned number begins with a sign.
            if number == 0 and low == 0 and str(value)[0] == "-":
                number = None
        elif type(value) is not int:
            raise _mismatch("integer", value, field)
        if number is None:
            raise _mismatch("integer", value, field)
        if not low <= number <= high:
            raise FieldError(
                "json-type",
                field,
                f"expected integer from {low} to {high}, found {value} in '{field}'",
            )
        return int(number)

    return decode


def _list(item: Decoder, *, pointers: bool = False) -> Decoder:
    def decode(value: Any, field: str, old: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _mismatch("array", value, field)
        left = old or []
        result: list[Any] = []
        for index, element in enumerate(value):
            if element is None and pointers:
                result.append(None)
            else:
                rest = left[index] if index < len(left) else None
                result.append(item(element, f"{field}[{index}]", rest))
        return result

    return decode


def _string_map(value: Any, field: str, old: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _mismatch("object", value, field)
    result = dict(old or {})
    for key in sorted(value):
        result[key] = _string(value[key], f"{field}.{key}", None)
    return result


def _struct(*fields: tuple[str, Decoder, bool]) -> Decoder:
    """A struct's decoder; the third of each field: null removes it (slice, map or pointer)."""
    by_name = {name.lower(): (name, decoder, nullable) for name, decoder, nullable in fields}

    def decode(value: Any, field: str, old: Any) -> dict[str, Any]:
        result = dict(old or {})
        if value is None:
            return result
        if not isinstance(value, dict):
            raise _mismatch("object", value, field)
        for key in sorted(value):
            place = f"{field}.{key}" if field else key
            known = by_name.get(jsonio.fold(key))
            if known is None:
                all_known = ", ".join(name for name, *_ in fields)
                text = f"unknown field '{place}': known are {all_known}"
                raise FieldError("unknown-field", place, text)
            name, decoder, nullable = known
            if value[key] is not None:
                result[name] = decoder(value[key], place, result.get(name))
            elif nullable:
                result.pop(name, None)
        return result

    return decode


_UINT32 = _integer(0, 2**32 - 1)
_INT64 = _integer(-(2**63), 2**63 - 1)
_STRINGS = _list(_string)

_DEVICE_NODE = _struct(
    ("path", _string, False),
    ("hostPath", _string, False),
    ("type", _string, False),
    ("major", _INT64, False),
    ("minor", _INT64, False),
    ("fileMode", _UINT32, True),
    ("permissions", _string, False),
    ("uid", _UINT32, True),
    ("gid", _UINT32, True),
)
_MOUNT = _struct(
    ("hostPath", _string, False),
    ("containerPath", _string, False),
    ("options", _STRINGS, True),
    ("type", _string, False),
)
_HOOK = _struct(
    ("hookName", _string, False),
    ("path", _string, False),
    ("args", _STRINGS, True),
    ("env", _STRINGS, True),
    ("timeout", _INT64, True),
)
_INTEL_RDT = _struct(
    ("closID", _string, False),
    ("l3CacheSchema", _string, False),
    ("memBwSchema", _string, False),
    ("schemata", _STRINGS, True),
    ("enableMonitoring", _boolean, False),
)
_NET_DEVICE = _struct(
    ("hostInterfaceName", _string, False),
    ("name", _string, False),
)
_PLAIN = {"string": _string, "uint32": _UINT32}
_OBJECTS = {
    "device node": _DEVICE_NODE, "net device": _NET_DEVICE, "hook": _HOOK, "mount": _MOUNT,
    "intelRdt": _INTEL_RDT,
}  # fmt: skip


def _of_edits(field: fields.Field) -> tuple[str, Decoder, bool]:
    if field.single:
        return (field.name, _OBJECTS[field.entries], True)
    if field.entries in _PLAIN:
        return (field.name, _list(_PLAIN[field.entries]), True)
    return (field.name, _list(_OBJECTS[field.entries], pointers=True), True)


_EDITS = _struct(*map(_of_edits, fields.FIELDS))
_DEVICE = _struct(
    ("name", _string, False),
    ("annotations", _string_map, True),
    ("containerEdits", _EDITS, False),
)
_SPEC = _struct(
    ("cdiVersion", _string, False),
    ("kind", _string, False),
    ("annotations", _string_map, True),
    ("devices", _list(_DEVICE), True),
    ("containerEdits", _EDITS, False),
)
