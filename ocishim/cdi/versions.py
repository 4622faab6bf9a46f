"""CDI spec versions: which exist, and which one the fields of a spec ask for.

A table, newest first: a version and what makes it necessary. Adding a version is adding a
row. A spec may declare a newer version than it needs, never an older one, and never one that
is not in the table. `spec` is a parsed document with Go's field names (document.py).

The reference itself has versions, too. pyshim follows its HEAD (05ae4b5); its release v1.1.0,
which most engines embed, decides otherwise at these places, and there alone:
- oci/changes.py SetEnv: a variable that is there is appended again, not replaced
- edits.py _idmap: mounts are left alone under a user namespace
- validate.py _check_device_node: permissions "none" refuse the file
- names.py _valid: a vendor or class of one character crashes it
- scan.py: a spec dir that is a symbolic link is not followed, and a file in place of a spec dir
  does not end the scan
"""

from __future__ import annotations

from ocishim.cdi import names
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Older ones are known by name and always refused.
_EARLIEST = "0.3.0"


def _all_edits(spec: dict[str, Any]) -> list[dict[str, Any]]:
    edits = [spec.get("containerEdits", {})]
    edits += [device.get("containerEdits", {}) for device in spec.get("devices", [])]
    return edits


def _seen_edits(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The spec's own edits and the last device's: all that _v050 and _v040 look at.

    The reference collects pointers to its loop's one variable there, which in the end is the
    last device (specs-go/version.go; its go.mod says Go 1.19). What it accepts, engines load.
    """
    return [spec.get("containerEdits", {}), *_all_edits(spec)[-1:]]


def _any_has(spec: dict[str, Any], items: str, key: str) -> bool:
    return any(item and item.get(key) for e in _seen_edits(spec) for item in e.get(items, []))


def _v110(spec: dict[str, Any]) -> bool:
    for edits in _all_edits(spec):
        rdt = edits.get("intelRdt", {})
        # An empty list of schemata counts, as in the reference: it asks whether it is nil.
        if "schemata" in rdt or rdt.get("enableMonitoring") or edits.get("netDevices"):
            return True
    return False


def _v070(spec: dict[str, Any]) -> bool:
    return any("intelRdt" in e or e.get("additionalGids") for e in _all_edits(spec))


def _v060(spec: dict[str, Any]) -> bool:
    if spec.get("annotations") or any(d.get("annotations") for d in spec.get("devices", [])):
        return True
    # Not parse_qualifier(): with an empty vendor this still counts.
    return "." in spec.get("kind", "").partition("/")[2]


def _v050(spec: dict[str, Any]) -> bool:
    if any(d.get("name", "")[:1] in tuple("0123456789") for d in spec.get("devices", [])):
        return True
    return _any_has(spec, "deviceNodes", "hostPath")


def _v040(spec: dict[str, Any]) -> bool:
    return _any_has(spec, "mounts", "type")


def _never(_spec: dict[str, Any]) -> bool:
    return False


TABLE: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
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


def minimum(spec: dict[str, Any]) -> str:
    """The oldest version that has every field `spec` uses."""
    return next((version for version, needed in TABLE if needed(spec)), _EARLIEST)


def validate(spec: dict[str, Any]) -> None:
    """Raise DocumentError unless `cdiVersion` is known and new enough for the spec's fields.

    One leading "v" is allowed, nothing else besides the version's own three numbers.
    """
    given = spec.get("cdiVersion", "")
    version = given.removeprefix("v")
    if version not in _ORDER:
        raise DocumentError(f"invalid version {names.goquote(given)}")
    least = minimum(spec)
    if _ORDER.index(least) < _ORDER.index(version):
        raise DocumentError(f"the spec version must be at least v{least}")
