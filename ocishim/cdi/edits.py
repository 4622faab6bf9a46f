"""From the container edits of CDI devices to changes of one OCI spec. Pure: nothing is read.

merge() puts the edits of the requested devices together, plan() turns them into changes, with
what the host says about device nodes filled in. Order is the reference's: by kind of edit, and
within a kind as merged. Applying the changes is oci/spec.py's work.

Where a user namespace is at work, three things differ from the reference, whose containers would
not start or get another device: owners are mapped only where the kernel can, a node that has
another name on the host is bound, and a bind mount says its type.
"""

from __future__ import annotations

from ocishim.cdi import fields
from ocishim.cdi.hostdev import NodeError
from ocishim.cdi.names import goquote
from ocishim.oci import changes as of_oci
from ocishim.oci import spec as oci
from ocishim.oci.changes import AddMount, AllowDevice, Change, PutDevice, SetIntelRdt, SetNetDevice
from ocishim.oci.hookchanges import AddHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Protocol

    from ocishim.cdi import shapes
    from ocishim.cdi.hostdev import HostDevice, Kernel
    from ocishim.oci.types import Device, Hook, Mount

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


def merge(found: Iterable[FoundDevice]) -> dict[str, Any]:
    """The container edits of all devices as one, in the order of the request.

    A file's common edits come once, in front of its first device. Nothing is de-duplicated.
    """
    merged: dict[str, Any] = {field.name: [] for field in fields.LISTS}
    seen = set()
    for device in found:
        if device.path not in seen:
            seen.add(device.path)
            _append(merged, device.common)
        _append(merged, device.edits)
    return merged


def _append(merged: dict[str, Any], edits: dict[str, Any]) -> None:
    for field in fields.FIELDS:
        if not field.single:
            merged[field.name] += edits.get(field.name, ())
        elif field.name in edits:
            merged[field.name] = edits[field.name]


def plan(
    spec: dict[str, Any],
    edits: dict[str, Any],
    stat: Callable[[str], HostDevice],
    kernel: Kernel | None = None,
    *,
    as_reference: bool = False,
) -> list[Change]:
    """The changes that `edits` ask of the OCI spec `spec`, which is only read.

    `stat` is hostdev.stat or like it, `kernel` a userns.Kernel; without one owners are always
    mapped. A device without cgroup permissions ("none") gets a rule with empty access from the
    reference, which runc refuses; only `as_reference` plans it.
    Raises hostdev.NodeError with the reference's text when the host has no such device.
    """
    container = _Container(spec, stat, kernel, as_reference=as_reference)
    changes: list[Change] = []
    for field in fields.FIELDS:
        if field.name not in edits:
            continue
        entries = edits[field.name]
        if field.change:
            make = getattr(of_oci, field.change)
            # A number 0 is skipped: the reference cannot tell it from "not set".
            changes += [make(entry) for entry in entries if entry != 0]
        else:
            changes += _PLANNED[field.name](entries, container)
    return changes


class _Container:
    """What the changes depend on beside the edits; the arguments are plan()'s."""

    __slots__ = ("as_reference", "kernel", "mapped", "owner", "stat")

    def __init__(
        self, spec: dict[str, Any], stat: Callable[[str], HostDevice], kernel: Kernel | None,
        *, as_reference: bool,
    ) -> None:  # fmt: skip
        self.owner = oci.process_ids(spec)
        self.mapped = oci.has_user_namespace(spec)
        self.stat = stat
        self.kernel = None if as_reference else kernel
        self.as_reference = as_reference


def _nodes(nodes: list[shapes.DeviceNode], container: _Container) -> Iterator[Change]:
    ours = not container.as_reference
    last = {node["path"]: at for at, node in enumerate(nodes)}
    for at, node in enumerate(nodes):
        planned = _plan_node(node, container)
        if ours and is_bound(node, container.kernel, mapped=container.mapped):
            from ocishim.oci.bound import BindDevice  # noqa: PLC0415 - rare

            planned[0] = BindDevice(node["path"], node["hostPath"])
        replaced = ours and container.mapped and last[node["path"]] != at
        yield from planned[1:] if replaced else planned


def _net_devices(devices: list[shapes.NetDevice], _container: _Container) -> Iterator[Change]:
    for device in devices:
        yield SetNetDevice(device["hostInterfaceName"], device["name"])


def _mounts(mounts: list[shapes.Mount], container: _Container) -> Iterator[Change]:
    for mount in mounts:
        planned = _oci_mount(mount)
        if container.mapped:
            _map_owners(planned, container.kernel)
        if container.mapped and not container.as_reference and is_bind(mount):
            planned["type"] = "bind"  # crun 1.28 dies of one without (its issue 1948)
        yield AddMount(planned)


def _hooks(hooks: list[shapes.Hook], _container: _Container) -> Iterator[Change]:
    for hook in hooks:
        planned: Hook = {"path": hook["path"]}
        for key in ("args", "env", "timeout"):
            if key in hook:
                planned[key] = hook[key]
        yield AddHook(hook["hookName"], planned)


def _intel_rdt(rdt: dict[str, Any], _container: _Container) -> Iterator[Change]:
    # Go leaves empty members out when it writes.
    yield SetIntelRdt({key: value for key, value in rdt.items() if value})


_PLANNED: dict[str, Callable[[Any, _Container], Iterator[Change]]] = {
    "deviceNodes": _nodes, "netDevices": _net_devices, "mounts": _mounts, "hooks": _hooks,
    "intelRdt": _intel_rdt,
}  # fmt: skip
"""The fields of which an entry is more than one change, or not as it is written."""


def _plan_node(node: shapes.DeviceNode, container: _Container) -> list[Change]:
    filled = fill(node, container.stat)
    inherited = [key for key in ("fileMode",) if key in filled and key not in node]
    uid, gid = container.owner
    if "uid" not in filled and uid > 0:
        filled["uid"] = uid
        inherited.append("uid")
    if "gid" not in filled and gid > 0:
        filled["gid"] = gid
        inherited.append("gid")
    changes: list[Change] = [PutDevice(filled, tuple(inherited))]
    access = node.get("permissions") or "rwm"
    if filled["type"] in ("b", "c") and (access != "none" or container.as_reference):
        access = "" if access == "none" else access
        changes.append(AllowDevice(filled["type"], filled["major"], filled["minor"], access))
    return changes


def fill(node: shapes.DeviceNode, stat: Callable[[str], HostDevice]) -> Device:
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
        reason = (e.strerror or str(e)).lower()
        subject = f"failed to stat CDI host device {goquote(host_path)}"
        raise NodeError(subject, reason, host_path, e.errno or 0) from None
    device.setdefault("fileMode", host.mode)
    if minimal:
        return device
    if kind not in ("", host.type):
        mismatch = f"host type mismatch ({kind}, {host.type})"
        subject = f"CDI device ({goquote(path)}, {goquote(host_path)}), {mismatch}"
        raise NodeError(subject, "", host_path, 0)
    device["type"] = host.type
    if host.type != "p" and major == 0:
        # A minor number given alone is overwritten too.
        device["major"], device["minor"] = host.major, host.minor
    return device


def is_bound(node: shapes.DeviceNode, kernel: Kernel | None, *, mapped: bool) -> bool:
    """Whether the host's node must be bound in place of one that the runtime makes.

    In a user namespace runtimes bind what the host has at `path`, which is another device when
    the spec has a hostPath. mapped: the container has a user namespace.
    """
    if (node.get("hostPath") or node["path"]) == node["path"]:
        return False
    return mapped or (kernel is not None and kernel.makes_no_nodes())


def is_bind(mount: shapes.Mount) -> bool:
    """Whether a mount's options say that it is a bind mount and no type does."""
    return not mount.get("type") and bool({"bind", "rbind"} & set(mount.get("options", ())))


def _oci_mount(mount: shapes.Mount) -> Mount:
    """The OCI mount for a CDI mount."""
    result: Mount = {"destination": mount["containerPath"], "source": mount["hostPath"]}
    if mount.get("type"):
        result["type"] = mount["type"]
    if mount.get("options"):
        result["options"] = list(mount["options"])
    return result


def _map_owners(mount: Mount, kernel: Kernel | None) -> None:
    """Give a bind mount the option `idmap` or `ridmap` that it lacks, where the kernel takes it."""
    options = mount.get("options", [])
    wanted = _idmap(mount.get("type", ""), options)
    recursive = wanted == "ridmap"
    if wanted and (kernel is None or kernel.maps_owners(mount["source"], recursive=recursive)):
        mount["options"] = [*options, wanted]


def _idmap(kind: str, options: list[str]) -> str:
    """The id mapping option a bind mount lacks: `idmap`, `ridmap`, or "" when none is due."""
    wanted = "idmap" if kind == "bind" else ""
    for option in options:
        if option in ("idmap", "ridmap"):
            return ""
        if option in ("bind", "rbind"):
            wanted = "idmap" if option == "bind" else "ridmap"
    return wanted
