"""Read config.json as runc reads it: field names without case, the last of repeated ones.

What others read (crun the first of repeated fields, and exact names) must be the same document, so
an odd text is written anew, in the names and with the values that runc takes from it.
Source: Go's encoding/json (Decoder.Decode into specs.Spec, as runc's loadSpec does).
"""

from __future__ import annotations

from ocishim import jsonio
from ocishim.oci.structs import FOLDED, NAMES, STRUCTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOTHING = object()


class Reading:
    """One config.json. spec: what runc reads. odd: others may read something else."""

    __slots__ = ("odd", "spec")

    def __init__(self, spec: Any, odd: bool) -> None:  # noqa: FBT001 - one caller
        self.spec = spec
        self.odd = odd


class _Members(list["tuple[str, Any]"]):
    """An object as it is written: its members in order, repeated ones too."""

    __slots__ = ()


class _Slice(list["Any"]):
    """An array; `spare` is what Go still has behind the end of a shorter one."""

    __slots__ = ("spare",)

    spare: list[Any]


def read(data: bytes, source: str) -> Reading:
    """Parse config.json. `source` names it in messages; DocumentError when it is not JSON."""
    names: set[str] = set()
    repeated: list[bool] = []

    def take(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) != len(members):
            repeated.append(True)
        names.update(found)
        return found

    spec = jsonio.loads(data, source, take)
    if not repeated and FOLDED.isdisjoint(map(jsonio.fold, names - NAMES)):
        return Reading(spec, odd=False)
    as_runc = _decode("Spec", jsonio.loads(data, source, _Members), _NOTHING)
    return Reading(as_runc, odd=bool(repeated) or as_runc != spec)


def _decode(shape: str, value: Any, old: Any) -> Any:
    """Return what Go has of `value` in the place of `old`, which an earlier field has left."""
    if value is None:
        return old if shape[:1] not in ("?", "[", "{") and old is not _NOTHING else None
    kind, is_object = shape.lstrip("?"), isinstance(value, _Members)
    known = old if isinstance(old, dict) else {}
    if kind in STRUCTS and is_object:
        return _decode_struct(STRUCTS[kind], value, known)
    if kind[:1] == "{" and is_object:
        return _decode_map(kind[1:], value, known)
    if kind[:1] == "[" and isinstance(value, list) and not is_object:
        return _decode_slice(kind[1:], value, old)
    return _plain(value)


def _decode_struct(
    fields: dict[str, str], members: _Members, old: dict[str, Any]
) -> dict[str, Any]:
    names = {jsonio.fold(name): name for name in fields}
    for name, value in members:
        field = names.get(jsonio.fold(name))
        if field is None:
            old[name] = _plain(value)
        else:
            old[field] = _decode(fields[field], value, old.get(field, _NOTHING))
    return old


def _decode_map(shape: str, members: _Members, old: dict[str, Any]) -> dict[str, Any]:
    """A repeated map adds to the one before, but each of its values is new."""
    for name, value in members:
        old[name] = _decode(shape, value, _NOTHING)
    return old


def _decode_slice(shape: str, values: list[Any], old: Any) -> _Slice:
    """A repeated array writes into the elements of the one before (Go's issue 21092)."""
    there = [*old, *old.spare] if isinstance(old, _Slice) and values else []
    there += [_NOTHING] * (len(values) - len(there))
    result = _Slice(_decode(shape, *pair) for pair in zip(values, there, strict=False))
    result.spare = there[len(values) :]
    return result


def _plain(value: Any) -> Any:
    """Return what no struct knows: the last of repeated members."""
    if isinstance(value, _Members):
        return {name: _plain(item) for name, item in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
