"""Who writes a CDI spec file, and so how one that is gone or no longer right comes back. Pure."""

from __future__ import annotations

_GENERATED = ("nvidia.com/gpu", "amd.com/gpu")  # by `pyshimctl cdi generate`


_CLAIM = "only its driver can write it again: delete the pod, so that its claim is prepared anew"
_PLUGIN = "restart the device plugin's or driver's pod on this node, which writes it again"


def again(path: str, kind: str) -> str:
    """Return the next step for the spec file `path` of `kind`."""
    step = of_component(path, kind)
    if not step and kind in _GENERATED:
        return f"generate the spec again: pyshimctl cdi generate --output {path}"
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
