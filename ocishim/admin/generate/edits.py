"""Build a CDI spec: container edits, merging them, and writing the document.

What goes into the edits is decided by nvidia.py and its siblings.
"""

from __future__ import annotations

import json
from typing import Any

from ocishim.cdi import names, versions
from ocishim.cdi.document import document
from ocishim.errors import ConfigError, DocumentError

FORMATS = ("yaml", "json")
_LISTS = ("env", "deviceNodes", "mounts", "hooks", "additionalGids")
_BIND = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
_SOCKET = ["nosuid", "nodev", "rbind", "rprivate", "noexec"]


class Edits:
    """Container edits under construction, members as CDI spells them; each value is there once."""

    __slots__ = _LISTS

    def __init__(self) -> None:
        self.env: list[str] = []
        self.deviceNodes: list[dict[str, Any]] = []
        self.mounts: list[dict[str, Any]] = []
        self.hooks: list[dict[str, Any]] = []
        self.additionalGids: list[int] = []

    def add(self, name: str, value: Any) -> None:
        """Append `value` to the list `name` unless it is there."""
        values = getattr(self, name)
        if value not in values:
            values.append(value)

    def add_node(self, path: str, host_path: str, *, gid: int = 0, private: bool = False) -> None:
        """Add the device node `path`, read from `host_path`, which belongs to the group `gid`.

        private: no others may open it, so that the container's user is of the group, too.
        """
        node: dict[str, Any] = {"path": path}
        if host_path != path:
            node["hostPath"] = host_path
        if gid:
            node["gid"] = gid
        self.add("deviceNodes", node)
        if gid and private:
            self.add("additionalGids", gid)

    def add_mount(self, path: str, host_path: str, *, socket: bool = False) -> None:
        """Add a bind mount of the file `host_path` at `path`; read-only unless it is a socket."""
        options = list(_SOCKET if socket else _BIND)
        self.add("mounts", {"hostPath": host_path, "containerPath": path, "options": options})

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it, which no device of a spec may be."""
        return not any(getattr(self, name) for name in _LISTS)

    def update(self, other: Edits) -> None:
        """Add everything of `other`."""
        for name in _LISTS:
            for value in getattr(other, name):
                self.add(name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return the document's form, lists without order of their own sorted."""
        nodes = sorted(self.deviceNodes, key=lambda node: _natural(node["path"]))
        mounts = sorted(self.mounts, key=lambda mount: mount["containerPath"])
        lists = {
            "env": self.env,
            "deviceNodes": nodes,
            "hooks": self.hooks,
            "mounts": mounts,
            "additionalGids": sorted(self.additionalGids),
        }
        return {name: values for name, values in lists.items() if values}


def merged(devices: dict[str, Edits]) -> Edits:
    """Return the edits of all devices as one."""
    everything = Edits()
    for edits in devices.values():
        everything.update(edits)
    return everything


def keep(by_name: dict[str, Edits], wanted: tuple[str, ...]) -> bool:
    """Leave out devices that are not wanted, in all their names; False when all are wanted.

    Raises ConfigError for one that is not there.
    """
    ids = [one for word in wanted for one in word.split(",")]
    for one in ids:
        if one not in by_name and one != "all":
            there = ", ".join(name for name in by_name if name != "all") or "none but all"
            raise ConfigError(f"no device {one!r} on this host", hint=f"there are {there}")
    if not ids or "all" in ids:
        return False
    kept = [by_name[one] for one in ids]
    everything = by_name.pop("all", None)
    for name in [name for name, one in by_name.items() if not any(one is k for k in kept)]:
        del by_name[name]
    if everything:
        by_name["all"] = merged(by_name)
    return True


def _natural(path: str) -> tuple[str, int]:
    """Sort nvidia2 before nvidia10."""
    stem = path.rstrip("0123456789")
    return stem, int(path[len(stem) :] or -1)


def spec(kind: str, devices: dict[str, Edits], common: Edits) -> dict[str, Any]:
    """Return the document for `devices` by name; its version is the lowest that has all it uses.

    Raises DocumentError when the kind or a device's name is not valid, or there is no device.
    """
    found: dict[str, Any] = {
        "cdiVersion": versions.CURRENT,
        "kind": kind,
        "devices": [
            {"name": name, "containerEdits": edits.as_dict()} for name, edits in devices.items()
        ],
        "containerEdits": common.as_dict(),
    }
    found["cdiVersion"] = versions.minimum(found)
    document.load(_json(found).encode(), f"the generated spec of {names.goquote(kind)}")
    return found


def wrong_kind(kind: str) -> str:
    """Return what is wrong with a kind, "" when nothing is."""
    vendor, sign, class_ = kind.partition("/")
    if not sign:
        return f"{kind!r} is not VENDOR/CLASS"
    try:
        names.validate_vendor(vendor)
        names.validate_class(class_)
    except DocumentError as err:
        return err.message
    return ""


def text(found: dict[str, Any], form: str) -> str:
    """Return the document as "yaml" or "json"."""
    if form == "json":
        return _json(found) + "\n"
    import yaml  # noqa: PLC0415 - not for JSON

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Writes every value in full: not every reader of specs knows anchors."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    options: dict[str, Any] = {"sort_keys": False, "default_flow_style": False, "width": 1000}
    return "---\n" + str(yaml.dump(found, Dumper=Dumper, **options))


def _json(found: dict[str, Any]) -> str:
    """JSON that is YAML, too, which is how specs are read: it has no escapes for surrogates."""
    text = json.dumps(found, indent=2, ensure_ascii=False)
    return "".join(
        c if c.isprintable() or c == "\n" or ord(c) > 0xFFFF else f"\\u{ord(c):04x}" for c in text
    )
