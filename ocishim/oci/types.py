"""The shape of what pyshim puts into config.json; for the type checker and readers.

Never imported when a container starts (typing costs 10 ms): specs are plain dicts there, and
members.py meets what people really write. Every member may be missing. Unknown ones are kept.
Source: runtime-spec 1.3.0, config.md and config-linux.md. Pure.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Mount(TypedDict, total=False):
    """One of mounts, in the order of mounting."""

    destination: str
    source: str
    type: str
    options: list[str]


class Device(TypedDict, total=False):
    """One of linux.devices; `type` is b, c, u or p, `fileMode` the permission bits."""

    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class Hook(TypedDict, total=False):
    """One of a list of `hooks`; it may hold anything, and is judged as it stands there."""

    path: Any
    args: Any
    env: Any
    timeout: Any


class DeviceRule(TypedDict, total=False):
    """One of linux.resources.devices, applied in order; no numbers mean all."""

    allow: bool
    type: str
    major: int
    minor: int
    access: str
