"""Whether a decoded CDI spec makes sense: the reference's own checks, in its order and words.

One fault anywhere refuses the whole file. What the checks do not ask for is not asked for
here either (facts of the reference: no absolute paths, no positive timeouts, no annotation
keys). Versions are versions.py's, the structure is coerce.py's. Pure.
"""

from __future__ import annotations

from ocishim.cdi import fields, names, versions
from ocishim.cdi.names import goquote
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HOOK_NAMES = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
_ENV = "expected NAME=VALUE"
_KIND = "expected vendor/class, such as acme.com/gpu"
EXPECTED = {
    "version-invalid": f"known are {', '.join(versions.KNOWN)}",
    "vendor": _KIND,
    "class": _KIND,
    "env": _ENV,
    "hook-env": _ENV,
    "devnode-type": "known are b, c, u and p",
    "devnode-permissions": "expected letters of rwm, or none",
    "hook-name": f"known are {', '.join(HOOK_NAMES)}",
    "rdt-closid": "expected the name of a folder in resctrl, or /",
}
"""What would do instead, by the class of the fault: the reference's texts leave it out."""


class InvalidSpecError(Exception):
    """A spec that breaks a rule: the rule's class, the field path, the reference's text."""

    def __init__(self, kind: str, field: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.field = field
        self.text = text


def validate(spec: dict[str, Any]) -> None:
    """Raise InvalidSpecError for the first rule that `spec` (see coerce.decode) breaks."""
    try:
        versions.validate(spec)
    except versions.VersionError as e:
        raise InvalidSpecError(e.kind, e.field, e.message) from None
    vendor, class_ = names.parse_qualifier(spec.get("kind", ""))
    _check_name(names.validate_vendor, vendor, "vendor", "kind")
    _check_name(names.validate_class, class_, "class", "kind")
    _check_edits(spec.get("containerEdits", {}), "containerEdits")
    seen = set()
    for index, device in enumerate(spec.get("devices", ())):
        field, name = f"devices[{index}]", device.get("name", "")
        try:
            _check_device(device, field)
        except InvalidSpecError as e:
            e.text = f"failed add device {goquote(name)}: {e.text}"
            raise
        if name in seen:
            text = f"invalid spec, multiple device {goquote(name)}"
            raise InvalidSpecError("dup-device", f"{field}.name", text)
        seen.add(name)
    if not seen:
        raise InvalidSpecError("no-devices", "devices", "invalid spec, no devices")


def _check_name(check: Any, name: str, kind: str, field: str) -> None:
    try:
        check(name)
    except DocumentError as e:
        raise InvalidSpecError(kind, field, e.message) from None


def _check_device(device: dict[str, Any], field: str) -> None:
    name = device.get("name", "")
    _check_name(names.validate_device_name, name, "device-name", f"{field}.name")
    edits = device.get("containerEdits", {})
    field = f"{field}.containerEdits"
    if not any(field.is_used(edits) for field in fields.FIELDS):
        raise InvalidSpecError("empty-edits", field, "invalid device, empty device edits")
    try:
        _check_edits(edits, field)
    except InvalidSpecError as e:
        e.text = f"invalid device {goquote(name)}: {e.text}"
        raise


def _check_edits(edits: dict[str, Any], field: str) -> None:
    _check_env(edits.get("env", ()), "env", f"{field}.env", "invalid container edits: ")
    _check_each(edits, "deviceNodes", _check_device_node, field)
    _check_each(edits, "hooks", _check_hook, field)
    _check_each(edits, "mounts", _check_mount, field)
    if "intelRdt" in edits:
        _check_clos_id(edits["intelRdt"].get("closID", ""), f"{field}.intelRdt.closID")
    seen: tuple[dict[str, str], dict[str, str]] = ({}, {})
    _check_each(edits, "netDevices", lambda d, at: _check_net_device(d, at, *seen), field)


def _check_each(
    edits: dict[str, Any], key: str, check: Callable[[dict[str, Any], str], None], field: str
) -> None:
    for index, item in enumerate(edits.get(key, ())):
        place = f"{field}.{key}[{index}]"
        if item is None:
            # The reference dereferences nil here and crashes.
            raise InvalidSpecError("null-entry", place, f"expected object, found null in '{place}'")
        check(item, place)


def _check_env(env: Any, kind: str, field: str, prefix: str) -> None:
    for index, entry in enumerate(env):
        if entry.find("=") <= 0:
            text = f"{prefix}invalid environment variable {goquote(entry)}"
            raise InvalidSpecError(kind, f"{field}[{index}]", text)


def _check_device_node(node: dict[str, Any], field: str) -> None:
    path = node.get("path", "")
    if not path:
        raise InvalidSpecError("devnode-path", f"{field}.path", "invalid (empty) device path")
    type_ = node.get("type", "")
    if type_ not in ("", "b", "c", "u", "p"):
        text = f"device {goquote(path)}: invalid type {goquote(type_)}"
        raise InvalidSpecError("devnode-type", f"{field}.type", text)
    permissions = node.get("permissions", "")
    # "none" since the reference's commit 90e09e4, after v1.1.0.
    if permissions != "none" and permissions.strip("rwm"):
        text = f"device {goquote(path)}: invalid permissions {goquote(permissions)}"
        raise InvalidSpecError("devnode-permissions", f"{field}.permissions", text)


def _check_hook(hook: dict[str, Any], field: str) -> None:
    name = hook.get("hookName", "")
    if name not in HOOK_NAMES:
        text = f"invalid hook name {goquote(name)}"
        raise InvalidSpecError("hook-name", f"{field}.hookName", text)
    if not hook.get("path"):
        text = f"invalid hook {goquote(name)} with empty path"
        raise InvalidSpecError("hook-path", f"{field}.path", text)
    env = hook.get("env", ())
    _check_env(env, "hook-env", f"{field}.env", f"invalid hook {goquote(name)}: ")


def _check_mount(mount: dict[str, Any], field: str) -> None:
    if not mount.get("hostPath"):
        text = "invalid mount, empty host path"
        raise InvalidSpecError("mount-host", f"{field}.hostPath", text)
    if not mount.get("containerPath"):
        text = "invalid mount, empty container path"
        raise InvalidSpecError("mount-container", f"{field}.containerPath", text)


def _check_clos_id(clos_id: str, field: str) -> None:
    """A CLOS is a folder in resctrl; "/" is the root one."""
    bad = len(names.gobytes(clos_id)) >= 4096 or clos_id in (".", "..")
    if clos_id != "/" and (bad or "/" in clos_id or "\n" in clos_id):
        raise InvalidSpecError("rdt-closid", field, "invalid ClosID")


def _check_net_device(
    device: dict[str, Any], field: str, names_by_host: dict[str, str], hosts_by_name: dict[str, str]
) -> None:
    host, name = device.get("hostInterfaceName", ""), device.get("name", "")
    text = ""
    if not host:
        text = "empty HostInterfaceName"
    elif not name:
        text = "empty Name"
    elif host in names_by_host:
        quoted = f"{goquote(name)} and {goquote(names_by_host[host])}"
        text = f"duplicate HostInterfaceName {goquote(host)} with names {quoted}"
    elif name in hosts_by_name:
        quoted = f"{goquote(host)} and {goquote(hosts_by_name[name])}"
        text = f"duplicate Name {goquote(name)} with HostInterfaceName {quoted}"
    if text:
        raise InvalidSpecError("netdev", field, f"invalid linux net device, {text}")
    names_by_host[host], hosts_by_name[name] = name, host
