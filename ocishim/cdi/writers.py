"""Who writes a CDI spec file, and so how one that is gone or no longer right comes back."""

from __future__ import annotations

import errno

from ocishim import posixos
from ocishim.errors import StaleError, quoted, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.cdi.hostdev import NodeError
    from ocishim.cdi.registry.entries import Found

_GENERATED = ("nvidia.com/gpu", "amd.com/gpu")  # by `pyshimctl cdi generate`


_CLAIM = "only its driver can write it again: delete the pod, so that its claim is prepared anew"
_PLUGIN = "restart the device plugin's or driver's pod on this node, which writes it again"


def again(path: str, kind: str) -> str:
    """Return the next step for the spec file `path` of `kind`."""
    step = of_component(path, kind)
    if not step and kind in _GENERATED:
        return f"generate the spec again: pyshimctl cdi generate --output {quoted(path)}"
    return step or "generate the spec again"


def of_component(path: str, kind: str) -> str:
    """Return the next step for a spec that a component of Kubernetes wrote, "" for another.

    A device plugin writes one for all its devices, a DRA driver one for each claim, from what only
    it knows. Their files begin with the kind, k8s.VENDOR-CLASS.
    """
    name = path.rpartition("/")[2]
    vendor, _, class_ = kind.partition("/")
    if "claim" in class_ or "claim" in name:
        return _CLAIM
    return _PLUGIN if vendor.startswith("k8s.") or name.startswith("k8s.") else ""


def node_error(devices: list[Found], fault: NodeError) -> StaleError:
    """Return the reference's sentence about a device node with who needs it and what to do."""
    first = next(
        device
        for device in devices
        for edits in (device.common, device.edits)
        for node in edits.get("deviceNodes", ())
        if fault.path == (node.get("hostPath") or node["path"])
    )
    step = again(first.path, first.name.partition("=")[0])
    message, hint = fault.message, step
    if fault.number:  # in words that do not make Podman blame the container's command
        error = OSError(fault.number, posixos.strerror(fault.number))
        message = f"{fault.subject}: {reason(error)}"
        hint = f"is the driver loaded? If it is, {step}"
    if fault.number == errno.ELOOP:
        hint = f"mend the links: 'namei -l {quoted(fault.path)}' shows each"
    if not fault.path.startswith("/"):
        hint = f"write an absolute path in {first.path}"
    if fault.number in (errno.EACCES, errno.EPERM):
        hint = (
            f"user {posixos.geteuid()} may not look there: open the folders above it to that user"
        )
    return StaleError(f"{message}, needed by {first.name} of {first.path}", hint=hint)
