"""Devices that an engine put into config.json for a container for which nobody makes nodes.

Podman injects the devices of `--device vendor/class=name` itself, and linux.devices has no place
for a CDI node's hostPath: in a user namespace the runtime binds whatever the host calls so. What a
spec file says of the node tells which device is meant.
"""

from __future__ import annotations

from ocishim.cdi import hostdev
from ocishim.cdi.registry import registry
from ocishim.oci.bound import BindDevice
from ocishim.oci.members import find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.settings.config import Config


def bound(spec: dict[str, Any], config: Config) -> tuple[list[BindDevice], list[str]]:
    """Return the nodes to bind from elsewhere, and a warning for each that nobody knows."""
    changes, warnings = [], []
    known: dict[str, list[str]] | None = None
    for device in find_list(spec, "linux", "devices"):
        path = device.get("path") if isinstance(device, dict) else None
        if not isinstance(path, str) or device.get("type") not in ("b", "c") or _is(device, path):
            continue
        if known is None:
            known = _host_paths(config)
        source = next((p for p in known.get(path, ()) if _is(device, p)), "")
        if source:
            changes.append(BindDevice(path, source))
        else:
            number = f"{device['type']} {device.get('major')}:{device.get('minor')}"
            warnings.append(
                f"device node {path} is {number} in config.json and not on this host: in a user "
                "namespace the container gets what the host has at that path, or does not start"
            )
    return changes, warnings


def _is(device: dict[str, Any], path: str) -> bool:
    """Whether the host's `path` is this device."""
    try:
        host = hostdev.stat(path)
    except OSError:
        return False
    wanted = (device["type"], device.get("major"), device.get("minor"))
    return (host.type, host.major, host.minor) == wanted


def _host_paths(config: Config) -> dict[str, list[str]]:
    """The host's paths that spec files have for device nodes, by the path in the container."""
    paths: dict[str, list[str]] = {}
    known = registry.load(config.spec_dirs, config.cache)
    for found in known.resolve(known.devices()):
        for edits in (found.common, found.edits):
            for node in edits.get("deviceNodes", ()):
                if node.get("hostPath"):
                    paths.setdefault(node["path"], []).append(node["hostPath"])
    return paths
