"""The file of `cdi generate --from FILE`: TOML that says which devices there are, what they need.

Checked here, key by key, with the line for messages; what is on the host is custom.py's to look at.
docs/generate.md has the keys and an example for each of six vendors.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from ocishim.admin.editing import files
from ocishim.admin.generate import edits
from ocishim.cdi.document import rules
from ocishim.errors import ConfigError
from ocishim.settings import configfile
from ocishim.settings.configfile import TYPE_NAMES, type_name

_EDITS: dict[str, type] = {
    "nodes": str,
    "optional_nodes": str,
    "mounts": str,
    "env": str,
    "gids": int,
    "links": str,
    "library_folders": str,
    "hooks": dict,
}
"""Lists that a device and the whole file may have, with the type of their items."""
_TOP: dict[str, type] = {"kind": str, "all": bool, "device": list, **dict.fromkeys(_EDITS, list)}
_DEVICE: dict[str, type] = {"name": str, "each": list, "where": dict, **dict.fromkeys(_EDITS, list)}
_HOOK: dict[str, type] = {"name": str, "path": str, "args": list, "env": list, "timeout": int}
_ABSOLUTE = ("nodes", "optional_nodes", "mounts", "library_folders", "each")
_MAX_BYTES = 1 << 20
_MAX_GID = (1 << 32) - 1
_KIND = 'as kind = "acme.com/radio"'
_HINT = "docs/generate.md has every key"


@dataclass
class Device:
    """One [[device]]: many where `each` has patterns. where: files and what they must hold.

    place: file and line, for messages.
    """

    lists: dict[str, list[Any]]
    place: str
    name: str = ""
    each: list[str] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)


@dataclass
class Description:
    """A whole file. lists: the edits of all devices."""

    kind: str
    lists: dict[str, list[Any]]
    devices: list[Device]
    with_all: bool = True


def read(path: str) -> Description:
    """Return what the file says. Raises ConfigError with file, line and key; OSError."""
    data = files.given(path, _MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"larger than {_MAX_BYTES} bytes", source=path)
    return _Reader(path, data.decode(errors="replace")).description(
        configfile.document(data, path, _HINT)
    )


class _Reader:
    """One file's tables, checked; knows the text to find line numbers for messages."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()

    def description(self, found: dict[str, Any]) -> Description:
        self._check(found, _TOP, "")
        if not found.get("kind"):
            raise self._error("kind", "'kind' is missing", _KIND)
        if why := edits.wrong_kind(found["kind"]):
            raise self._error("kind", f"{why} in 'kind'", _KIND)
        if not found.get("device"):
            raise self._error("device", "there is no [[device]]")
        devices = [self._device(index, one) for index, one in enumerate(found["device"])]
        return Description(found["kind"], _lists(found), devices, with_all=found.get("all", True))

    def _device(self, index: int, found: Any) -> Device:
        where = f"device[{index}]"
        if not isinstance(found, dict):
            raise self._error(where, f"expected table, found {type_name(found)} in '{where}'")
        self._check(found, _DEVICE, f"{where}.")
        if "name" not in found and "each" not in found:
            raise self._error(where, f"'{where}' has neither 'name' nor 'each'")
        for path, text in found.get("where", {}).items():
            if not isinstance(text, str) or not path.startswith("/"):
                raise self._error(f"{where}.where", f'\'{where}.where\' is not "/file" = "text"')
        if not any(found.get(key) for key in _EDITS):
            raise self._error(where, f"'{where}' gives a container nothing")
        place = self._place(f"{where}.name")
        return Device(
            _lists(found),
            place,
            found.get("name", ""),
            found.get("each", []),
            found.get("where", {}),
        )

    def _check(self, found: dict[str, Any], wanted: dict[str, type], prefix: str) -> None:
        """Check the keys and types of one table."""
        for key, value in found.items():
            place = prefix + key
            if key not in wanted:
                near = difflib.get_close_matches(key, wanted, 1)
                hint = f"did you mean '{near[0]}'?" if near else _HINT
                raise self._error(place, f"unknown key '{place}'", hint)
            self._require(place, value, wanted[key])
            if isinstance(value, list) and key != "device":
                for index, item in enumerate(value):
                    self._item(key, f"{place}[{index}]", item)

    def _item(self, key: str, place: str, item: Any) -> None:
        self._require(place, item, _EDITS.get(key, str))
        if key in _ABSOLUTE and not item.startswith("/"):
            raise self._error(place, f"'{item}' is not an absolute path in '{place}'")
        if key == "env" and item.find("=") < 1:
            raise self._error(place, f"'{item}' is not NAME=VALUE in '{place}'")
        if key == "links" and not all(item.partition("::")):
            raise self._error(place, f"'{item}' is not TARGET::PATH in '{place}'")
        if key == "gids" and not 0 <= item <= _MAX_GID:
            message = f"expected integer from 0 to {_MAX_GID}, found {item} in '{place}'"
            raise self._error(place, message)
        if key == "hooks":
            self._check(item, _HOOK, f"{place}.")
            if item.get("name", "createContainer") not in rules.HOOK_NAMES:
                expected = f"expected one of {', '.join(rules.HOOK_NAMES)}"
                raise self._error(place, f"{expected}, found {item['name']!r} in '{place}.name'")
            if item.get("timeout", 1) < 1:  # a runtime would end the hook at once
                found = f"found {item['timeout']} in '{place}.timeout'"
                raise self._error(place, f"expected seconds, 1 or more, {found}")
            if not item.get("path", "").startswith("/"):
                raise self._error(place, f"'{place}.path' is no absolute path of a program")

    def _require(self, place: str, value: Any, wanted: type) -> None:
        if type(value) is not wanted:
            message = f"expected {TYPE_NAMES[wanted]}, found {type_name(value)} in '{place}'"
            raise self._error(place, message)

    def _error(self, place: str, message: str, hint: str = _HINT) -> ConfigError:
        return ConfigError(f"{self._place(place)}: {message}", hint=hint)

    def _place(self, place: str) -> str:
        line = self._line(place)
        return f"{self.path}:{line}" if line else self.path

    def _line(self, place: str) -> int:
        """Return the number of the line that has the key, or opens its table; 0: none does."""
        index = int(found[1]) if (found := re.match(r"device\[(\d+)\]", place)) else -1
        key = place.split(".")[1 if index >= 0 and "." in place else 0].partition("[")[0]
        table, header = -1, 0
        for number, line in enumerate(self.lines, 1):
            if re.match(r"\s*\[\[\s*device\s*\]\]", line):
                table += 1
                header = number if table == index else header
            elif table == index and re.match(rf"\s*\[*\s*\"?(device\.)?{re.escape(key)}\b", line):
                return number
        return header


def _lists(found: dict[str, Any]) -> dict[str, list[Any]]:
    return {key: found.get(key, []) for key in _EDITS}
