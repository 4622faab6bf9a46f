"""A control group for the hooks that pyshim runs itself: the container's limits and device rules.

The container's own is not there before the runtime's create. This one lies beside it, or below the
caller's where that folder is not there yet, and is gone with the hooks. What cannot be had
(rootless, no such controller, no such kernel) is left out: the hooks' timeout holds anyway.
"""

from __future__ import annotations

import os
import time

from ocishim.executor import devicerules
from ocishim.oci.members import find_dict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # hierarchy, "" for cgroup v2 -> (file, text) in the order they are written
    Limits = dict[str, list[tuple[str, str]]]

_ROOT = "/sys/fs/cgroup"
_NAME = "pyshim-hooks-"
_LARGEST = (1 << 63) - 1  # the kernel takes what is left of more: 0 of 1 << 64
_PERIOD = 100_000  # microseconds, the kernel's own
_ENTERED = 60  # seconds after which a group without a process is nobody's; it takes milliseconds


class Group:
    """The group's folders, one for each hierarchy; `remove` when its processes have ended."""

    __slots__ = ("_folders",)

    def __init__(self, spec: dict[str, Any]) -> None:
        self._folders: list[str] = []
        unified = os.path.exists(f"{_ROOT}/cgroup.controllers")
        rules = devicerules.parse(spec)
        limits = _unified(spec, rules) if unified else _legacy(spec, rules)
        parent = _beside(str(find_dict(spec, "linux").get("cgroupsPath") or ""))
        own = _own_groups()
        for hierarchy, files in limits.items():
            root = f"{_ROOT}/{hierarchy}".rstrip("/")
            above = root + (parent if parent and os.path.isdir(root + parent) else own[hierarchy])
            self._make(above.rstrip("/"), files)
        if unified and rules:
            self._restrict_devices(devicerules.program(rules))

    def _make(self, above: str, files: list[tuple[str, str]]) -> None:
        now = time.monotonic_ns()
        _sweep(above, now)
        # A process of another PID namespace, or one that was killed, may have had our pid.
        folder = f"{above}/{_NAME}{os.getpid()}-{now}"
        try:
            os.mkdir(folder)
        except OSError:
            return
        self._folders.append(folder)
        for name, text in files:
            _write(f"{folder}/{name}", text)

    def _restrict_devices(self, program: bytes) -> None:
        """Put the device rules on the group (cgroup v2)."""
        from ocishim.linux import bpf  # noqa: PLC0415 - cgroup v2 alone

        for folder in self._folders:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                bpf.restrict_devices(fd, program)
            except OSError:
                pass
            finally:
                os.close(fd)

    def enter(self) -> None:
        """Put this process into the group."""
        for folder in self._folders:
            _write(f"{folder}/cgroup.procs", "0")

    def remove(self) -> None:
        """Remove the folders."""
        for folder in self._folders:
            _remove(folder)


def _unified(spec: dict[str, Any], rules: list[devicerules.Rule]) -> Limits:
    quota, period, memory, pids = _numbers(spec)
    files = [("cpu.max", f"{quota} {period}")] if quota else []
    files += [("memory.max", memory)] if memory else []
    files += [("pids.max", pids)] if pids else []
    return {"": files} if files or rules else {}


def _legacy(spec: dict[str, Any], rules: list[devicerules.Rule]) -> Limits:
    quota, period, memory, pids = _numbers(spec)
    cpu = [("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)]
    limits: Limits = {
        "cpu": cpu if quota else [],
        "memory": [("memory.limit_in_bytes", memory)] if memory else [],
        "pids": [("pids.max", pids)] if pids else [],
        "devices": [
            ("devices.allow" if rule.allow else "devices.deny", rule.text()) for rule in rules
        ],
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
        str(value) if isinstance(value, int) and 0 < value <= _LARGEST else "" for value in values
    )
    return quota, period, limit, count


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


def _sweep(above: str, now: int) -> None:
    """Remove what a pyshim that was killed has left: no process is in it, and it is old.

    Not by its pid: who shares the folder may be in another PID namespace.
    """
    try:
        names = [name for name in os.listdir(above) if name.startswith(_NAME)]
    except OSError:
        return
    for name in names:
        made = name.rpartition("-")[2]
        if not made.isdecimal() or not 0 <= now - int(made) < _ENTERED * 10**9:
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
