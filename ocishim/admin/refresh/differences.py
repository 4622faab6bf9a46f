"""What a new spec has that the one before had not, in a few words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ocishim.errors import some

_SHOWN = 3  # names of a list; the others are counted
_FLAG = "--host-driver-version="
_LIBRARY = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.(\d+\.[\d.]+)$")


def reasons(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what differs, the cause before its effects; nothing when the two are the same."""
    if before == after:
        return []
    return [*_differences(before, after)] or ["its form"]


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for word, of in (("driver", driver_version), ("kind", _kind), ("CDI version", _version)):
        old, new = of(before), of(after)
        if old != new:
            yield f"{word} {new or 'none'}, was {old or 'none'}"
    yield from _lists("device", _devices(before), _devices(after))
    yield from _lists("node", _values(before, "deviceNodes"), _values(after, "deviceNodes"))
    yield from _counts(_values(before, "mounts"), _values(after, "mounts"))
    for name in ("hooks", "env", "additionalGids"):
        if _values(before, name) != _values(after, name):
            yield f"other {name}"
    shared = set(_devices(before)) & set(_devices(after))
    if any(_own(before, name) != _own(after, name) for name in shared):
        yield "other nodes of a device"


def names_gone(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names that `after` lacks, when nothing else differs: the devices have others."""
    there = {device["name"]: device for device in after["devices"]}
    gone = [device for device in before["devices"] if device["name"] not in there]
    kept = [device for device in before["devices"] if device["name"] in there]
    edits = [device["containerEdits"] for device in there.values()]
    same = {**before, "devices": kept} == after
    if not same or any(device["containerEdits"] not in edits for device in gone):
        return []
    return [device["name"] for device in gone]


def driver_version(spec: dict[str, Any]) -> str:
    """Return the driver's version that a spec was made for, "" when it does not tell."""
    for edits in _edits(spec):
        for hook in edits.get("hooks") or ():
            for word in hook.get("args") or ():
                if word.startswith(_FLAG):
                    return str(word.removeprefix(_FLAG))
        for mount in edits.get("mounts") or ():
            if found := _LIBRARY.search(mount.get("containerPath", "")):
                return found[1]
    return ""


def _kind(spec: dict[str, Any]) -> str:
    return str(spec.get("kind", ""))


def _version(spec: dict[str, Any]) -> str:
    return str(spec.get("cdiVersion", ""))


def _devices(spec: dict[str, Any]) -> list[str]:
    return [str(device.get("name", "")) for device in spec.get("devices") or ()]


def _own(spec: dict[str, Any], name: str) -> list[str]:
    """Return the paths of a device's own nodes."""
    found = (one for one in spec["devices"] if str(one.get("name", "")) == name)
    nodes = next(found).get("containerEdits", {}).get("deviceNodes") or ()
    return [_value(node) for node in nodes]


def _edits(spec: dict[str, Any]) -> list[dict[str, Any]]:
    whole = [spec, *(spec.get("devices") or ())]
    return [one.get("containerEdits") or {} for one in whole]


def _values(spec: dict[str, Any], name: str) -> list[str]:
    """Return the values of every list `name`, once each."""
    found = (_value(value) for edits in _edits(spec) for value in edits.get(name) or ())
    return list(dict.fromkeys(found))


def _value(value: Any) -> str:
    """Return a value as text: of a node its host's path and numbers."""
    if isinstance(value, dict) and "path" in value and "args" not in value:
        numbers = [str(value[key]) for key in ("major", "minor") if key in value]
        return " ".join([value.get("hostPath") or value["path"], ":".join(numbers)]).strip()
    return str(value)


def _lists(word: str, before: list[str], after: list[str]) -> Iterator[str]:
    for what, names in (("new", set(after) - set(before)), ("gone", set(before) - set(after))):
        if names:
            yield f"{word}{'s' if len(names) > 1 else ''} {some(sorted(names), _SHOWN)} {what}"


def _counts(before: list[str], after: list[str]) -> Iterator[str]:
    for what, count in (
        ("new", len(set(after) - set(before))),
        ("gone", len(set(before) - set(after))),
    ):
        if count:
            yield f"{count} mount{'s' if count > 1 else ''} {what}"
