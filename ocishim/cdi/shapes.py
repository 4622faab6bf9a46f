"""The entries of containerEdits, as document/coerce.py leaves them, for the type checker.

Never imported when pyshim runs, as oci/types.py. Every member may be missing but those that
document/rules.py wants. Source: specs-go/config.go of the reference. Pure.
"""

from __future__ import annotations

from typing import TypedDict


class DeviceNode(TypedDict, total=False):
    """One of deviceNodes; `permissions` is "none", or some of r, w, m."""

    path: str
    hostPath: str
    type: str
    major: int
    minor: int
    fileMode: int
    permissions: str
    uid: int
    gid: int


class NetDevice(TypedDict, total=False):
    """One of netDevices."""

    hostInterfaceName: str
    name: str


class Mount(TypedDict, total=False):
    """One of mounts."""

    hostPath: str
    containerPath: str
    options: list[str]
    type: str


class Hook(TypedDict, total=False):
    """One of hooks."""

    hookName: str
    path: str
    args: list[str]
    env: list[str]
    timeout: int
