"""Ways into an OCI spec (a dict out of config.json) that survive what people write there.

find_...() read and never add anything; an absent or null member reads as empty. make_...()
return the member itself, made where it is absent or null. A member that has another type than
the runtime-spec demands is a DocumentError that names it. Which changes to make is not known here.
Pure.
"""

from __future__ import annotations

from ocishim import jsonio
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Kind = TypeVar("Kind")

SOURCE = "config.json"
"""What errors of shape call the file; who knows the bundle gives its path (create/plan.py)."""


def find_dict(spec: dict[str, Any], *path: str) -> dict[str, Any]:
    """The object at `path`, to read."""
    for depth, name in enumerate(path, 1):
        spec = _checked(dict, spec.get(name), path[:depth]) or {}
    return spec


def find_list(spec: dict[str, Any], *path: str) -> list[Any]:
    """The array at `path`, to read."""
    parent = find_dict(spec, *path[:-1])
    return _checked(list, parent.get(path[-1]), path) or []


def make_dict(spec: dict[str, Any], *path: str) -> dict[str, Any]:
    """The object at `path`, to change."""
    for depth, name in enumerate(path, 1):
        found = _checked(dict, spec.get(name), path[:depth])
        if found is None:
            found = spec[name] = {}
        spec = found
    return spec


def make_list(spec: dict[str, Any], *path: str) -> list[Any]:
    """The array at `path`, to change."""
    parent = make_dict(spec, *path[:-1])
    found: list[Any] | None = _checked(list, parent.get(path[-1]), path)
    if found is None:
        found = parent[path[-1]] = []
    return found


def find(items: list[Any], key: str, wanted: str) -> int:
    """The index of the first object in `items` whose `key` is `wanted`, or -1."""
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get(key) == wanted:
            return index
    return -1


def remove_first(items: list[Any], key: str, wanted: str) -> None:
    """Remove the first object in `items` whose `key` is `wanted`, if there is one."""
    index = find(items, key, wanted)
    if index >= 0:
        del items[index]


def must_be(kind: type[Kind], value: Any, field: str) -> Kind:
    """Return `value` if it is a `kind`, which null is not; else raise what wrong() returns."""
    if isinstance(value, kind):
        return value
    raise wrong(jsonio.TYPE_NAMES[kind], value, field)


def wrong(expected: str, value: Any, field: str) -> DocumentError:
    """Return the error for a `value` that is not `expected` at `field`."""
    found = jsonio.type_name(value)
    return DocumentError(f"expected {expected}, found {found} in '{field}'", source=SOURCE)


def _checked(kind: type[Kind], value: Any, path: tuple[str, ...]) -> Kind | None:
    """`value` if it is a `kind` or null."""
    return None if value is None else must_be(kind, value, ".".join(path))
