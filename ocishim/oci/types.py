"""The shape of config.json, as far as pyshim reads or writes it; for the type checker and readers.

Never imported when a container starts (typing costs 10 ms): specs are plain dicts there, and
members.py meets what people really write. Every member may be missing. Unknown ones are kept.
Source: runtime-spec 1.3.0, config.md and config-linux.md. Pure.
"""

from __future__ import annotations

from typing import TypedDict


class User(TypedDict, total=False):
    """process.user."""

    uid: int
    gid: int
    additionalGids: list[int]


class Process(TypedDict, total=False):
    """process; `env` holds NAME=value, and sometimes a bare NAME."""

    user: User
    env: list[str]
    args: list[str]
    cwd: str


class Root(TypedDict, total=False):
    """root; `path` is absolute or relative to the bundle."""

    path: str
    readonly: bool


class Mount(TypedDict, total=False):
    """One of mounts, in the order of mounting."""

    destination: str
    source: str
    type: str
    options: list[str]


class Hook(TypedDict, total=False):
    """One program of hooks; `timeout` in seconds, no `env` is an empty one by the specification."""

    path: str
    args: list[str]
    env: list[str]
    timeout: int


class Hooks(TypedDict, total=False):
    """hooks: programs by the moment they run at, in order."""

    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


class Device(TypedDict, total=False):
    """One of linux.devices; `type` is b, c, u or p, `fileMode` the permission bits."""

    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict, total=False):
    """One of linux.resources.devices, applied in order; no numbers mean all."""

    allow: bool
    type: str
    major: int
    minor: int
    access: str


class Resources(TypedDict, total=False):
    """linux.resources."""

    devices: list[DeviceRule]


class Namespace(TypedDict, total=False):
    """One of linux.namespaces; with a `path` it is joined, else made."""

    type: str
    path: str


class NetDevice(TypedDict, total=False):
    """One of linux.netDevices: the name in the container of the host's interface."""

    name: str


class IntelRdt(TypedDict, total=False):
    """linux.intelRdt."""

    closID: str
    l3CacheSchema: str
    memBwSchema: str
    schemata: list[str]
    enableMonitoring: bool


class Linux(TypedDict, total=False):
    """linux."""

    devices: list[Device]
    resources: Resources
    namespaces: list[Namespace]
    netDevices: dict[str, NetDevice]
    intelRdt: IntelRdt


class Spec(TypedDict, total=False):
    """config.json."""

    ociVersion: str
    hostname: str
    process: Process
    root: Root
    mounts: list[Mount]
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux
