"""A control group for the hooks that pyshim runs itself: the container's limits and device rules.

The container's own is not there before the runtime's create. This one lies beside it, or below the
caller's where that folder is not there yet, and is gone with the hooks. What cannot be had
(rootless, no such controller, no device rules in cgroup v2) is left out: the hooks' timeout holds
anyway.
"""

from __future__ import annotations

import os

from ocishim.oci.members import find_dict, find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # controller -> (file, text) in the order they are written
    Limits = dict[str, list[tuple[str, str]]]

_ROOT = "/sys/fs/cgroup"
_NAME = "pyshim-hooks-"
_PERIOD = 100_000  # microseconds, the kernel's own
# What runtimes let every container have (runc: libcontainer/specconv, AllowedDevices).
_ALWAYS = ("c *:* m", "b *:* m", *(f"c {n} rwm" for n in (
    "1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*",
)))  # fmt: skip


class Group:
    """The group's folders, one for each hierarchy; `remove` when its processes have ended."""

    __slots__ = ("_folders",)

    def __init__(self, spec: dict[str, Any]) -> None:
        self._folders: list[str] = []
        unified = os.path.exists(f"{_ROOT}/cgroup.controllers")
        limits = _unified(spec) if unified else _legacy(spec)
        parent = _beside(str(find_dict(spec, "linux").get("cgroupsPath") or ""))
        own = _own_groups()
        for hierarchy in {"" if unified else controller: 0 for controller in limits}:
            root = f"{_ROOT}/{hierarchy}".rstrip("/")
            above = root + (parent if parent and os.path.isdir(root + parent) else own[hierarchy])
            files = [
                file
                for controller, listed in limits.items()
                for file in listed
                if hierarchy in ("", controller)
            ]
            self._make(above.rstrip("/"), files)

    def _make(self, above: str, files: list[tuple[str, str]]) -> None:
        _sweep(above)
        folder = f"{above}/{_NAME}{os.getpid()}"
        try:
            os.mkdir(folder)
        except OSError:
            return
        self._folders.append(folder)
        for name, text in files:
            _write(f"{folder}/{name}", text)

    def enter(self) -> None:
        """Put this process into the group."""
        for folder in self._folders:
            _write(f"{folder}/cgroup.procs", "0")

    def remove(self) -> None:
        """Remove the folders."""
        for folder in self._folders:
            _remove(folder)


def _unified(spec: dict[str, Any]) -> Limits:
    quota, period, memory, pids = _numbers(spec)
    limits: Limits = {
        "cpu": [("cpu.max", f"{quota} {period}")] if quota else [],
        "memory": [("memory.max", memory)] if memory else [],
        "pids": [("pids.max", pids)] if pids else [],
    }
    return {controller: files for controller, files in limits.items() if files}


def _legacy(spec: dict[str, Any]) -> Limits:
    quota, period, memory, pids = _numbers(spec)
    cpu = [("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)]
    limits: Limits = {
        "cpu": cpu if quota else [],
        "memory": [("memory.limit_in_bytes", memory)] if memory else [],
        "pids": [("pids.max", pids)] if pids else [],
        "devices": _device_rules(spec),
    }
    return {controller: files for controller, files in limits.items() if files}


def _numbers(spec: dict[str, Any]) -> tuple[str, str, str, str]:
    """CPU quota and period, memory, processes; "" for what has no limit."""
    cpu, memory, pids = (
        find_dict(spec, "linux", "resources", kind) for kind in ("cpu", "memory", "pids")
    )
    values = (
        cpu.get("quota"),
        cpu.get("period") or _PERIOD,
        memory.get("limit"),
        pids.get("limit"),
    )
    quota, period, limit, count = (
        str(value) if isinstance(value, int) and value > 0 else "" for value in values
    )
    return quota, period, limit, count


def _device_rules(spec: dict[str, Any]) -> list[tuple[str, str]]:
    rules = []
    for rule in find_list(spec, "linux", "resources", "devices"):
        if isinstance(rule, dict):
            numbers = ":".join(_number(rule.get(key)) for key in ("major", "minor"))
            what = f"{rule.get('type') or 'a'} {numbers} {rule.get('access') or 'rwm'}"
            rules.append(("devices.allow" if rule.get("allow") else "devices.deny", what))
    return rules and [*rules, *(("devices.allow", what) for what in _ALWAYS)]


def _number(value: object) -> str:
    return str(value) if isinstance(value, int) and value >= 0 else "*"


def _beside(path: str) -> str:
    """The folder of the container's group below a hierarchy's root; "" where it is the caller's.

    `slice:prefix:name` is systemd's form: a-b.slice lies in a.slice (systemd.slice(5)).
    """
    if path.count(":") != 2:
        return os.path.normpath(os.path.dirname(path)) if path.startswith("/") else ""
    name = path.partition(":")[0] or "system.slice"
    parts = name.removesuffix(".slice").split("-")
    steps = ["-".join(parts[: end + 1]) + ".slice" for end in range(len(parts))]
    return "" if name == "-.slice" else "/" + "/".join(steps)


def _own_groups() -> dict[str, str]:
    """Controller, "" for cgroup v2 -> the path of this process's group."""
    found = {"": "", "cpu": "", "memory": "", "pids": "", "devices": ""}
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found


def _sweep(above: str) -> None:
    """Remove what a pyshim that was killed has left."""
    try:
        names = [name for name in os.listdir(above) if name.startswith(_NAME)]
    except OSError:
        return
    for name in names:
        if not os.path.exists(f"/proc/{name.removeprefix(_NAME)}"):
            _remove(f"{above}/{name}")


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, text.encode())
    except OSError:
        pass
    finally:
        os.close(fd)
