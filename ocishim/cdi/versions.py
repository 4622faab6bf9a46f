"""CDI spec versions: which exist, and which one the fields of a spec ask for.

A table, newest first: a version and the field that makes it necessary. Adding a version is adding a
row. A spec may declare a newer version than it needs, never an older one, and never one that
is not in the table. `spec` is a parsed document with Go's field names (document.py).

The reference itself has versions, too. pyshim follows its HEAD (05ae4b5); its release v1.1.0,
which most engines embed, decides otherwise at these places, and there alone:
- oci/changes.py SetEnv: a variable that is there is appended again, not replaced
- edits.py _map_owners: mounts are left alone under a user namespace
- document/rules.py _check_device_node: permissions "none" refuse the file
- names.py _valid: a vendor or class of one character crashes it
- scan.py: a spec dir that is a symbolic link is not followed, and a file in place of a spec dir
  does not end the scan
Pure.
"""

from __future__ import annotations

from ocishim.cdi import fields, names
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Older ones are known by name and always refused.
_EARLIEST = "0.3.0"


class VersionError(DocumentError):
    """A `cdiVersion` that does not exist ("version-invalid") or lacks a field ("version-too-old").

    `field` is what asks for another version, "cdiVersion" where it is that itself.
    """

    def __init__(self, message: str, *, kind: str, field: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.field = field


def _all_edits(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    edits = [("containerEdits", spec.get("containerEdits", {}))]
    for index, device in enumerate(spec.get("devices", [])):
        edits.append((f"devices[{index}].containerEdits", device.get("containerEdits", {})))
    return edits


def _seen_edits(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The spec's own edits and the last device's: all that _v050 and _v040 look at.

    The reference collects pointers to its loop's one variable there, which in the end is the
    last device (specs-go/version.go; its go.mod says Go 1.19). What it accepts, engines load.
    """
    own, *devices = _all_edits(spec)
    return [own, *devices[-1:]]


def _first(spec: dict[str, Any], items: str, key: str) -> str:
    """The path of the first `key` that is not empty in those lists."""
    return next(
        (
            f"{place}.{items}[{index}].{key}"
            for place, edits in _seen_edits(spec)
            for index, item in enumerate(edits.get(items, []))
            if item and item.get(key)
        ),
        "",
    )


def _v110(spec: dict[str, Any]) -> str:
    for place, edits in _all_edits(spec):
        rdt = edits.get("intelRdt", {})
        # An empty list of schemata counts, as in the reference: it asks whether it is nil.
        if "schemata" in rdt:
            return f"{place}.intelRdt.schemata"
        if rdt.get("enableMonitoring"):
            return f"{place}.intelRdt.enableMonitoring"
        if used := fields.new_in("1.1.0", edits):
            return f"{place}.{used}"
    return ""


def _v070(spec: dict[str, Any]) -> str:
    for place, edits in _all_edits(spec):
        if used := fields.new_in("0.7.0", edits):
            return f"{place}.{used}"
    return ""


def _v060(spec: dict[str, Any]) -> str:
    if spec.get("annotations"):
        return "annotations"
    for index, device in enumerate(spec.get("devices", [])):
        if device.get("annotations"):
            return f"devices[{index}].annotations"
    # Not parse_qualifier(): with an empty vendor this still counts.
    return "kind" if "." in spec.get("kind", "").partition("/")[2] else ""


def _v050(spec: dict[str, Any]) -> str:
    for index, device in enumerate(spec.get("devices", [])):
        if device.get("name", "")[:1] in tuple("0123456789"):
            return f"devices[{index}].name"
    return _first(spec, "deviceNodes", "hostPath")


def _v040(spec: dict[str, Any]) -> str:
    return _first(spec, "mounts", "type")


def _never(_spec: dict[str, Any]) -> str:
    return ""


TABLE: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("1.1.0", _v110),  # netDevices, intelRdt.schemata, intelRdt.enableMonitoring
    ("1.0.0", _never),  # nothing in the format
    ("0.8.0", _never),  # nothing in the format
    ("0.7.0", _v070),  # intelRdt, additionalGids
    ("0.6.0", _v060),  # annotations, "." in the class
    ("0.5.0", _v050),  # deviceNodes[].hostPath, device names that begin with a digit
    ("0.4.0", _v040),  # mounts[].type
    (_EARLIEST, _never),
    ("0.2.0", _never),
    ("0.1.0", _never),
)
CURRENT = TABLE[0][0]
_ORDER = tuple(version for version, _ in TABLE)


KNOWN = tuple(reversed(_ORDER[: _ORDER.index(_EARLIEST) + 1]))
"""The versions that a spec may declare, oldest first."""


def minimum(spec: dict[str, Any]) -> str:
    """The oldest version that has every field `spec` uses."""
    return _needed(spec)[0]


def _needed(spec: dict[str, Any]) -> tuple[str, str]:
    """That version, and the field that needs it."""
    needs = ((version, needed(spec)) for version, needed in TABLE)
    return next((need for need in needs if need[1]), (_EARLIEST, "cdiVersion"))


def validate(spec: dict[str, Any]) -> None:
    """Raise VersionError unless `cdiVersion` is known and new enough for the spec's fields.

    One leading "v" is allowed, nothing else besides the version's own three numbers.
    """
    given = spec.get("cdiVersion", "")
    version = given.removeprefix("v")
    if version not in _ORDER:
        text = f"invalid version {names.goquote(given)}"
        raise VersionError(text, kind="version-invalid", field="cdiVersion")
    least, field = _needed(spec)
    if _ORDER.index(least) < _ORDER.index(version):
        text = f"the spec version must be at least v{least}"
        raise VersionError(text, kind="version-too-old", field=field)
