"""From the container edits of CDI devices to changes of one OCI spec. Pure: nothing is read.

merge() puts the edits of the requested devices together, plan() turns them into changes, with
what the host says about device nodes filled in. Order is the reference's: by kind of edit, and
within a kind as merged. Applying the changes is oci/spec.py's work.
"""

from __future__ import annotations

from ocishim.cdi.names import goquote
from ocishim.errors import UnresolvedDeviceError, reason
from ocishim.oci import spec as oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from ocishim.cdi.hostdev import HostDevice
    from ocishim.oci.types import Device, Mount

    class FoundDevice(Protocol):
        """What the registry hands over for one requested device."""

        @property
        def path(self) -> str:
            """The spec file."""

        @property
        def common(self) -> dict[str, Any]:
            """That file's container edits for whichever of its devices."""

        @property
        def edits(self) -> dict[str, Any]:
            """The device's own container edits."""


class HostDeviceError(UnresolvedDeviceError):
    """The node `host_path` is not on the host, or is another kind of device.

    The message is the reference's, `ours` the same without what Podman would blame on the
    container's command (errors.reason).
    """

    def __init__(self, message: str, host_path: str, ours: str = "") -> None:
        super().__init__(message)
        self.host_path = host_path
        self.ours = ours or message


_LISTS = ("env", "deviceNodes", "netDevices", "mounts", "hooks", "additionalGids")


def merge(found: Iterable[FoundDevice]) -> dict[str, Any]:
    """The container edits of all devices as one, in the order of the request.

    A file's common edits come once, in front of its first device. Nothing is de-duplicated.
    """
    merged: dict[str, Any] = {name: [] for name in _LISTS}
    seen = set()
    for device in found:
        if device.path not in seen:
            seen.add(device.path)
            _append(merged, device.common)
        _append(merged, device.edits)
    return merged


def _append(merged: dict[str, Any], edits: dict[str, Any]) -> None:
    for name in _LISTS:
        merged[name] += edits.get(name, ())
    if "intelRdt" in edits:
        merged["intelRdt"] = edits["intelRdt"]


def plan(
    spec: dict[str, Any],
    edits: dict[str, Any],
    stat: Callable[[str], HostDevice],
    *,
    as_reference: bool = False,
) -> list[oci.Change]:
    """The changes that `edits` ask of the OCI spec `spec`, which is only read.

    `stat` is hostdev.stat or like it. A device without cgroup permissions ("none") gets a rule
    with empty access from the reference, which runc refuses; only `as_reference` plans it.
    Raises UnresolvedDeviceError with the reference's text when the host has no such device.
    """
    changes: list[oci.Change] = [oci.SetEnv(entry) for entry in edits.get("env", ())]
    owner = oci.process_ids(spec)
    for node in edits.get("deviceNodes", ()):
        changes += _plan_node(node, owner, stat, as_reference=as_reference)
    for net in edits.get("netDevices", ()):
        changes.append(oci.SetNetDevice(net["hostInterfaceName"], net["name"]))
    mapped = oci.has_user_namespace(spec)
    changes += [oci.AddMount(_oci_mount(m, mapped=mapped)) for m in edits.get("mounts", ())]
    for hook in edits.get("hooks", ()):
        members = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
        changes.append(oci.AddHook(hook["hookName"], members))
    if "intelRdt" in edits:
        # Go leaves empty members out when it writes.
        changes.append(oci.SetIntelRdt({k: v for k, v in edits["intelRdt"].items() if v}))
    # 0 is skipped: the reference cannot tell it from "not set".
    changes += [oci.AddGid(gid) for gid in edits.get("additionalGids", ()) if gid]
    return changes


def _plan_node(
    node: dict[str, Any],
    owner: tuple[int, int],
    stat: Callable[[str], HostDevice],
    *,
    as_reference: bool,
) -> list[oci.Change]:
    filled = fill(node, stat)
    inherited = [key for key in ("fileMode",) if key in filled and key not in node]
    uid, gid = owner
    if "uid" not in filled and uid > 0:
        filled["uid"] = uid
        inherited.append("uid")
    if "gid" not in filled and gid > 0:
        filled["gid"] = gid
        inherited.append("gid")
    changes: list[oci.Change] = [oci.PutDevice(filled, tuple(inherited))]
    access = node.get("permissions") or "rwm"
    if filled["type"] in ("b", "c") and (access != "none" or as_reference):
        access = "" if access == "none" else access
        changes.append(oci.AllowDevice(filled["type"], filled["major"], filled["minor"], access))
    return changes


def fill(node: dict[str, Any], stat: Callable[[str], HostDevice]) -> Device:
    """The OCI device for a CDI device node, its gaps filled from the host's node.

    A node with a type and a major number (a fifo: with a type) needs no host node; only its
    mode is taken from one, if it is there.
    """
    path = node["path"]
    host_path = node.get("hostPath") or path
    kind, major, minor = node.get("type", ""), node.get("major", 0), node.get("minor", 0)
    device: Device = {"path": path, "type": kind, "major": major, "minor": minor}
    if "fileMode" in node:
        device["fileMode"] = node["fileMode"]
    if "uid" in node:
        device["uid"] = node["uid"]
    if "gid" in node:
        device["gid"] = node["gid"]
    minimal = kind != "" and (major != 0 or kind == "p")
    try:
        host = stat(host_path)
    except OSError as e:
        if minimal:
            return device
        failed = f"failed to stat CDI host device {goquote(host_path)}: "
        text = (e.strerror or str(e)).lower()
        raise HostDeviceError(failed + text, host_path, failed + reason(e)) from None
    device.setdefault("fileMode", host.mode)
    if minimal:
        return device
    if kind not in ("", host.type):
        devices = f"CDI device ({goquote(path)}, {goquote(host_path)}), "
        raise HostDeviceError(f"{devices}host type mismatch ({kind}, {host.type})", host_path)
    device["type"] = host.type
    if host.type != "p" and major == 0:
        # A minor number given alone is overwritten too.
        device["major"], device["minor"] = host.major, host.minor
    return device


def _oci_mount(mount: dict[str, Any], *, mapped: bool) -> Mount:
    """The OCI mount for a CDI mount; `mapped`: the container has a user namespace."""
    options = list(mount.get("options", ()))
    if mapped:
        wanted = _idmap(mount.get("type", ""), options)
        if wanted:
            options.append(wanted)
    result: Mount = {"destination": mount["containerPath"], "source": mount["hostPath"]}
    if mount.get("type"):
        result["type"] = mount["type"]
    if options:
        result["options"] = options
    return result


def _idmap(kind: str, options: list[str]) -> str:
    """The id mapping option a bind mount lacks: `idmap`, `ridmap`, or "" when none is due."""
    wanted = "idmap" if kind == "bind" else ""
    for option in options:
        if option in ("idmap", "ridmap"):
            return ""
        if option in ("bind", "rbind"):
            wanted = "idmap" if option == "bind" else "ridmap"
    return wanted
