"""The changes pyshim can make to an OCI spec, one class each.

A change knows how to apply() itself, whether it is present() already in its final form, and how
to describe() itself. cdi/edits.py decides which to make, spec.py applies them; hookchanges.py has
those of hooks. Semantics: the CDI reference's editor (internal/ociedit). Pure.
"""
# ruff: noqa: D102 - apply, present, target and describe are documented once, in Change

from __future__ import annotations

from ocishim.oci.members import find, find_dict, find_list, make_dict, make_list, remove_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ocishim.oci.types import Device, DeviceRule, Mount


class Change:
    """One change to an OCI spec."""

    __slots__ = ()

    def apply(self, spec: dict[str, Any]) -> None:
        """Make the change, as the reference does, even where it is there already."""
        raise NotImplementedError

    def present(self, spec: dict[str, Any]) -> bool:
        """Whether `spec` holds the change in its final form, whoever put it there."""
        raise NotImplementedError

    def target(self) -> object:
        """What the change is about: of two changes with one target only the last survives."""
        return None

    def describe(self) -> str:
        """The change as a phrase for people: "environment A=b"."""
        return "; ".join(self.sentences())

    def sentences(self) -> list[str]:
        """What `explain` and the debug log print: one phrase, or one for each thing it is about."""
        return [self.describe()]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"


class SetEnv(Change):
    """Set an environment variable; `entry` is `NAME=value`."""

    __slots__ = ("entry",)

    def __init__(self, entry: str) -> None:
        self.entry = entry

    def apply(self, spec: dict[str, Any]) -> None:
        env = make_list(spec, "process", "env")
        index = self._index(env)
        if index < 0:
            env.append(self.entry)
        else:
            env[index] = self.entry

    def present(self, spec: dict[str, Any]) -> bool:
        env = find_list(spec, "process", "env")
        index = self._index(env)
        return index >= 0 and env[index] == self.entry

    def target(self) -> object:
        return ("env", _key(self.entry))

    def describe(self) -> str:
        return f"environment {self.entry}"

    def _index(self, env: list[Any]) -> int:
        """The last entry of this name: the one every runtime lets win."""
        name = _key(self.entry)
        for index in range(len(env) - 1, -1, -1):
            if isinstance(env[index], str) and _key(env[index]) == name:
                return index
        return -1


class PutDevice(Change):
    """Put a device node into linux.devices, in the place of one with the same path.

    `inherited` names members that nobody asked for: taken from the host's node or from the
    container's user. An entry that differs only in those is the same device.
    """

    __slots__ = ("device", "inherited")

    def __init__(self, device: Device, inherited: tuple[str, ...] = ()) -> None:
        self.device = device
        self.inherited = inherited

    def apply(self, spec: dict[str, Any]) -> None:
        devices = make_list(spec, "linux", "devices")
        # The reference removes the first entry and then replaces the next, if there is one.
        remove_first(devices, "path", self.device["path"])
        index = find(devices, "path", self.device["path"])
        if index < 0:
            devices.append(dict(self.device))
        else:
            devices[index] = dict(self.device)

    def present(self, spec: dict[str, Any]) -> bool:
        wanted = [item for item in self.device.items() if item[0] not in self.inherited]
        for device in find_list(spec, "linux", "devices"):
            if isinstance(device, dict) and all(device.get(key) == item for key, item in wanted):
                return True
        return False

    def target(self) -> object:
        return ("device", self.device["path"])

    def describe(self) -> str:
        device = self.device
        text = f"device node {device['path']} ({device['type']}"
        if device["type"] != "p":
            text += f" {device['major']}:{device['minor']}"
        return text + (f", {device['fileMode']:04o})" if "fileMode" in device else ")")


class AllowDevice(Change):
    """Append a rule to linux.resources.devices; access "" is a rule that gives no access."""

    __slots__ = ("rule",)

    def __init__(self, type_: str, major: int, minor: int, access: str) -> None:
        self.rule: DeviceRule = {"allow": True, "type": type_, "major": major, "minor": minor}
        if access:
            self.rule["access"] = access

    def apply(self, spec: dict[str, Any]) -> None:
        make_list(spec, "linux", "resources", "devices").append(dict(self.rule))

    def present(self, spec: dict[str, Any]) -> bool:
        # Rules take effect in order: one in front of a later refusal is no longer in force.
        for rule in reversed(find_list(spec, "linux", "resources", "devices")):
            if rule == self.rule:
                return True
            if isinstance(rule, dict) and rule.get("allow") is not True:
                return False
        return False

    def describe(self) -> str:
        rule = self.rule
        access = rule.get("access", "no access")
        return f"cgroup rule allow {rule['type']} {rule['major']}:{rule['minor']} {access}"


class SetNetDevice(Change):
    """Move the host's network interface `host` into the container as `name`."""

    __slots__ = ("host", "name")

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.name = name

    def apply(self, spec: dict[str, Any]) -> None:
        make_dict(spec, "linux", "netDevices")[self.host] = {"name": self.name}

    def present(self, spec: dict[str, Any]) -> bool:
        return bool(find_dict(spec, "linux", "netDevices").get(self.host) == {"name": self.name})

    def target(self) -> object:
        return ("netDevice", self.host)

    def describe(self) -> str:
        return f"network device {self.host} as {self.name}"


class AddMount(Change):
    """Add a mount in the place of the first one with the same destination.

    apply() of this module sorts all mounts once after the last one was added.
    """

    __slots__ = ("mount",)

    def __init__(self, mount: Mount) -> None:
        self.mount = mount

    def apply(self, spec: dict[str, Any]) -> None:
        mounts = make_list(spec, "mounts")
        remove_first(mounts, "destination", self.mount["destination"])
        mounts.append(copied(self.mount))

    def present(self, spec: dict[str, Any]) -> bool:
        return any(self._same(mount) for mount in find_list(spec, "mounts"))

    def target(self) -> object:
        return ("mount", self.mount["destination"])

    def describe(self) -> str:
        options = ",".join(self.mount.get("options", ()))
        text = f"mount {self.mount['source']} at {self.mount['destination']}"
        return f"{text} ({options})" if options else text

    def _same(self, other: object) -> bool:
        mine = self.mount
        if not isinstance(other, dict) or other.get("destination") != mine["destination"]:
            return False
        types = {mine.get("type") or "bind", other.get("type") or "bind"}
        return (
            other.get("source") == mine["source"]
            and len(types) == 1
            and _without_idmap(other.get("options")) == _without_idmap(mine.get("options"))
        )


class SetIntelRdt(Change):
    """Replace linux.intelRdt as a whole."""

    __slots__ = ("rdt",)

    def __init__(self, rdt: dict[str, Any]) -> None:
        self.rdt = rdt

    def apply(self, spec: dict[str, Any]) -> None:
        make_dict(spec, "linux")["intelRdt"] = copied(self.rdt)

    def present(self, spec: dict[str, Any]) -> bool:
        return bool(find_dict(spec, "linux").get("intelRdt") == self.rdt)

    def target(self) -> object:
        return "intelRdt"

    def describe(self) -> str:
        return " ".join(["intelRdt", *(f"{key}={item}" for key, item in self.rdt.items())])


class AddGid(Change):
    """Add a supplementary group to the container's process."""

    __slots__ = ("gid",)

    def __init__(self, gid: int) -> None:
        self.gid = gid

    def apply(self, spec: dict[str, Any]) -> None:
        gids = make_list(spec, "process", "user", "additionalGids")
        if self.gid not in gids:
            gids.append(self.gid)

    def present(self, spec: dict[str, Any]) -> bool:
        return self.gid in find_list(spec, "process", "user", "additionalGids")

    def describe(self) -> str:
        return f"additional group {self.gid}"


def copied(members: Mapping[str, Any]) -> dict[str, Any]:
    """A copy for the spec, with lists of its own: the change may be applied again."""
    return {k: list(v) if isinstance(v, list) else v for k, v in members.items()}


def _key(entry: str) -> str:
    return entry.partition("=")[0]


def _without_idmap(options: object) -> list[Any]:
    if not isinstance(options, list):
        return []
    return [option for option in options if option not in ("idmap", "ridmap")]
