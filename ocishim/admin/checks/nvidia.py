"""NVIDIA nodes: driver module and libraries, device nodes, Fabric Manager, persistence.

Nothing is found where no NVIDIA hardware is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.errors import ConfigError

_VENDOR = "0x10de"
_BRIDGE = "0x0680"  # NVSwitch shows itself as a bridge, "other"
_GPU_CLASSES = ("0x0300", "0x0302")
_FABRIC_MANAGER = "nv-fabricmanage"  # the kernel keeps 15 letters of a name, proc(5)
_FABRIC_PROGRAM = "/usr/bin/nv-fabricmanager"  # of NVIDIA's packages, as their unit starts it
_FABRIC_VERSION = re.compile(r"Fabric Manager version is\s*:\s*(\d+(?:\.\d+)+)")
_ROOTS = ("", "/run/nvidia/driver")
_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
_ML = "libnvidia-ml.so."
_CONTROL_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def check(node: Node) -> Iterator[Finding]:
    """Yield what keeps containers on `node` from using its NVIDIA GPUs."""
    gpus, switches = _hardware(node)
    if not gpus:
        return
    if not node.exists("/proc/driver/nvidia/version"):
        yield Finding(
            "nvidia-module",
            "error",
            "the NVIDIA driver's module is not loaded",
            evidence=f"{len(gpus)} GPUs on the PCI bus, no /proc/driver/nvidia/version",
            why="without it there are no device nodes to give to a container",
            next_step="modprobe nvidia && modprobe nvidia-uvm",
        )
        return
    yield from _nodes(node)
    yield from _library(node)
    yield from _versions(node)
    if switches:
        yield from _fabric_manager(node, switches)
    yield from _persistence(node)


def _hardware(node: Node) -> tuple[list[str], list[str]]:
    """Return the PCI addresses of NVIDIA's GPUs and of its NVSwitches."""
    gpus, switches = [], []
    for address in node.listdir("/sys/bus/pci/devices"):
        folder = f"/sys/bus/pci/devices/{address}"
        if node.read(f"{folder}/vendor").strip() != _VENDOR:
            continue
        kind = node.read(f"{folder}/class").strip()[:6]
        if kind in _GPU_CLASSES:
            gpus.append(address)
        elif kind == _BRIDGE:
            switches.append(address)
    return gpus, switches


def _nodes(node: Node) -> Iterator[Finding]:
    missing = [path for path in _CONTROL_NODES if not node.exists(path)]
    names = node.listdir("/dev")
    if not any(name.startswith("nvidia") and name[6:].isdigit() for name in names):
        missing.insert(0, "/dev/nvidia0")
    if missing:
        yield Finding(
            "nvidia-nodes",
            "error",
            "device nodes of the NVIDIA driver are missing",
            evidence=f"no {', '.join(missing)}",
            why="the spec names them; create fails, or CUDA finds no device",
            next_step="nvidia-modprobe -u -c=0, or start nvidia-persistenced",
        )


def _library(node: Node) -> Iterator[Finding]:
    roots = [root for root in _ROOTS if node.exists(root or "/")]
    for root in roots:
        for folder in _FOLDERS:
            if node.exists(f"{root}{folder}/{_ML}1"):
                return
    yield Finding(
        "nvidia-library",
        "error",
        "libnvidia-ml.so.1 is not found on this node",
        evidence=f"looked in the library folders of {', '.join(root or '/' for root in roots)}",
        why="the device plugin finds no GPU without it and registers none",
        next_step="install the driver's libraries and run ldconfig; the plugin's own pod needs "
        "runtimeClassName: pyshim or a driver root",
    )


def _module(node: Node) -> str:
    """Return the version of the driver's module that runs; "" when the file does not tell it."""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", node.read("/proc/driver/nvidia/version"))
    return found[0] if found else ""


def _versions(node: Node) -> Iterator[Finding]:
    """The module that runs is the old one until a reboot; the libraries are new at once."""
    module = _module(node)
    libraries = {
        name.removeprefix(_ML)
        for root in _ROOTS
        for folder in _FOLDERS
        for name in node.listdir(f"{root}{folder}")
        if name.startswith(_ML) and "." in name.removeprefix(_ML)
    }
    if module and libraries and module not in libraries:
        yield Finding(
            "nvidia-version",
            "error",
            "the NVIDIA module that runs is not of the libraries' version",
            evidence=f"module {module}, libraries {', '.join(sorted(libraries))}",
            why="NVML says 'Driver/library version mismatch' and CUDA fails, on the host too",
            next_step="reboot, or unload the module when nobody uses it: rmmod nvidia_uvm "
            "nvidia_drm nvidia_modeset nvidia; then generate the spec again",
        )


def _fabric_manager(node: Node, switches: list[str]) -> Iterator[Finding]:
    """Fabric Manager ends at its start when its version is not the module's, to the last digit."""
    yield from _fabric_version(node)
    for pid in node.listdir("/proc"):
        if pid.isdigit() and node.read(f"/proc/{pid}/comm").strip() == _FABRIC_MANAGER:
            return
    yield Finding(
        "nvidia-fabricmanager",
        "error",
        "Fabric Manager is not running on a node with NVSwitch",
        evidence=f"NVSwitch at {switches[0]}, no process nv-fabricmanager",
        why="CUDA fails with error 802, system not yet initialized",
        next_step="systemctl enable --now nvidia-fabricmanager",
    )


def _fabric_version(node: Node) -> Iterator[Finding]:
    module, program = _module(node), _fabric_program_version(node)
    if module and program and module != program:
        yield Finding(
            "nvidia-fabricmanager-version",
            "error",
            "Fabric Manager is not of the NVIDIA module's version",
            evidence=f"module {module}, {_FABRIC_PROGRAM} {program}",
            why="it ends when it is started next, and CUDA fails with error 802",
            next_step=f"install Fabric Manager {module}, or reboot into the driver {program}; "
            "then systemctl restart nvidia-fabricmanager",
        )


def _fabric_program_version(node: Node) -> str:
    """Return what the installed Fabric Manager says it is; "" when there is none, or it is mute."""
    if not node.host.is_program(_FABRIC_PROGRAM):
        return ""
    try:
        told = node.host.run(_FABRIC_PROGRAM, "--version")
    except ConfigError:
        return ""
    found = _FABRIC_VERSION.search(told.stdout + told.stderr)
    return found[1] if found else ""


def _persistence(node: Node) -> Iterator[Finding]:
    if not node.exists("/run/nvidia-persistenced/socket"):
        yield Finding(
            "nvidia-persistence",
            "info",
            "persistence mode is off",
            evidence="no /run/nvidia-persistenced/socket",
            why="the driver starts anew for the first user: seconds at a container's start",
            next_step="systemctl enable --now nvidia-persistenced",
        )
