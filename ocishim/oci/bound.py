"""A device node that the container gets as a bind mount of the host's. Pure.

In a user namespace nobody makes device nodes, and runtimes bind what the host has at the node's
path in the container instead: another device, where the host calls it otherwise.
"""
# ruff: noqa: D102 - apply, present and describe are documented once, in Change

from __future__ import annotations

from ocishim.oci.changes import AddMount
from ocishim.oci.members import find, find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.oci.types import Mount

_OPTIONS = ("bind", "rw", "nosuid", "noexec")  # as Podman gives devices to rootless containers


class BindDevice(AddMount):
    """Bind the host's node `source` at `path`; a node of that path in linux.devices goes."""

    __slots__ = ()

    def __init__(self, path: str, source: str) -> None:
        mount: Mount = {"destination": path, "source": source, "type": "bind"}
        mount["options"] = list(_OPTIONS)
        super().__init__(mount)

    def apply(self, spec: dict[str, Any]) -> None:
        super().apply(spec)
        devices = find_list(spec, "linux", "devices")
        while (index := find(devices, "path", self.mount["destination"])) >= 0:
            del devices[index]

    def present(self, spec: dict[str, Any]) -> bool:
        devices = find_list(spec, "linux", "devices")
        return super().present(spec) and find(devices, "path", self.mount["destination"]) < 0

    def describe(self) -> str:
        return f"device node {self.mount['destination']}: a mount of {self.mount['source']}"
