"""NVIDIA nodes: driver module and libraries, device nodes, Fabric Manager, persistence.

Nothing is found where no NVIDIA hardware is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.generate import versions
from ocishim.admin.generate.driver import Driver
from ocishim.admin.host import Host
from ocishim.admin.refresh import nodes
from ocishim.errors import ConfigError, some

_PCI = "/sys/bus/pci/devices"
_PASSED_ON = re.compile(r"vfio|pci-stub|pciback")  # drivers that lend a device to virtual machines
_FREE_DRIVERS = ("nouveau", "nova_core")
_VENDOR = "0x10de"
_BRIDGE = "0x0680"  # NVSwitch shows itself as a bridge, "other"
_GPU_CLASSES = ("0x0300", "0x0302")
_FABRIC_MANAGER = "nv-fabricmanage"  # the kernel keeps 15 letters of a name, proc(5)
_FABRIC_PROGRAM = "/usr/bin/nv-fabricmanager"  # of NVIDIA's packages, as their unit starts it
_FABRIC_VERSION = re.compile(r"Fabric Manager version is\s*:\s*(\d+(?:\.\d+)+)")
_ROOTS = ("", "/run/nvidia/driver", "/home/kubernetes/bin/nvidia")
_ML = "libnvidia-ml"
_CONTROL_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def check(node: Node) -> Iterator[Finding]:
    """Yield what keeps containers on `node` from using its NVIDIA GPUs."""
    gpus, switches = _hardware(node)
    if not gpus:
        return
    if not node.exists("/proc/driver/nvidia/version"):
        yield _not_loaded(node, gpus)
        return
    yield from _nodes(node)
    yield from _numbers(node)
    found = drivers(node)
    yield from _library(found)
    yield from _versions(node, found)
    if switches:
        yield from _fabric_manager(node, switches)
    yield from _persistence(node)


def _not_loaded(node: Node, gpus: list[str]) -> Finding:
    evidence = (
        f"{len(gpus)} GPU{'s' * (len(gpus) > 1)} on the PCI bus, no /proc/driver/nvidia/version"
    )
    step = "modprobe nvidia && modprobe nvidia-uvm"
    for gpu in gpus:
        if (name := _bound_to(node, gpu)) in _FREE_DRIVERS:
            evidence += f"; {gpu} belongs to {name}"
            blacklist = f"echo blacklist {name} >/etc/modprobe.d/{name}.conf"
            step = f"{blacklist}, make the initramfs anew and reboot"
            break
    return Finding(
        "nvidia-module",
        "error",
        "the NVIDIA driver's module is not loaded",
        evidence=evidence,
        why="without it there are no device nodes to give to a container",
        next_step=step,
    )


def _bound_to(node: Node, address: str) -> str:
    """Return the name of the driver that has the PCI device, "" when none has."""
    path = f"{_PCI}/{address}/driver"
    return os.path.basename(node.host.real(path)) if node.exists(path) else ""


def _hardware(node: Node) -> tuple[list[str], list[str]]:
    """Return the PCI addresses of NVIDIA's GPUs and NVSwitches that no virtual machine is given."""
    gpus, switches = [], []
    for address in node.listdir(_PCI):
        folder = f"{_PCI}/{address}"
        if node.read(f"{folder}/vendor").strip() != _VENDOR:
            continue
        if _PASSED_ON.search(_bound_to(node, address)):
            continue
        kind = node.read(f"{folder}/class").strip()[:6]
        if kind in _GPU_CLASSES:
            gpus.append(address)
        elif kind == _BRIDGE:
            switches.append(address)
    return gpus, switches


def drivers(node: Node) -> dict[str, Driver]:
    """Return the driver in each root that this node has one in, "" for its own."""
    running = module(node)
    roots = [root for root in _ROOTS if node.exists(f"{root}/")]
    return {root: Driver(Host(node.host.real(root or "/")), running=running) for root in roots}


def module(node: Node) -> str:
    """Return the version of the driver's module that runs; "" when nothing tells it."""
    return versions.module(node.read)


def versions_there(node: Node) -> set[str]:
    """Return the versions of the driver's libraries on this node."""
    cores = [driver.core for driver in drivers(node).values()]
    return {version for core in cores for version in core.versions[_ML]}


def _nodes(node: Node) -> Iterator[Finding]:
    def there(path: str) -> bool:
        return any(node.exists(root + path) for root in _ROOTS)

    missing = [path for path in _CONTROL_NODES if not there(path)]
    names = [name for root in _ROOTS for name in node.listdir(f"{root}/dev")]
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


def _numbers(node: Node) -> Iterator[Finding]:
    """A module that is loaded again may have another major, and the nodes stay as they were."""
    places = [(root, one) for one in nodes.wanted(node.host) for root in _ROOTS]
    wrong = []
    for root, one in places:
        there = node.exists(root + one.path) and nodes.numbers(node.host.real(root + one.path))
        if there and there != (one.major, one.minor):
            numbers = f"{there[0]}:{there[1]}, the module has {one.major}:{one.minor}"
            wrong.append((root, f"{root}{one.path} is {numbers}"))
    if wrong:
        root = f" --dev-root {wrong[0][0]}" if wrong[0][0] else ""
        yield Finding(
            "nvidia-node-number",
            "error",
            "device nodes of the NVIDIA driver have numbers of an earlier module",
            evidence=some([fact for _, fact in wrong]),
            why="opening them fails: nvidia-smi may work, and CUDA finds no device",
            next_step=f"pyshimctl cdi refresh --create-nodes{root}",
        )


def _library(found: dict[str, Driver]) -> Iterator[Finding]:
    if any(driver.core.linked[_ML] for driver in found.values()):  # there by its SONAME
        return
    looked = [f"{root}{folder}" for root, driver in found.items() for folder in driver.folders]
    yield Finding(
        "nvidia-library",
        "error",
        "libnvidia-ml.so.1 is not found on this node",
        evidence=f"looked in {', '.join(looked) or 'no folder: there is none'}",
        why="the device plugin finds no GPU without it and registers none",
        next_step="install the driver's libraries and run ldconfig; the plugin's own pod needs "
        "runtimeClassName: pyshim or a driver root",
    )


def _versions(node: Node, found: dict[str, Driver]) -> Iterator[Finding]:
    """The module that runs is the old one until a reboot; the libraries are new at once."""
    running = module(node)
    cores = [driver.core for driver in found.values()]
    there = {version for core in cores for version in core.versions[_ML]}
    linked = {version for core in cores for version in core.linked[_ML][:1] if version}
    told = sorted(linked or there, key=versions.numbers)
    if running and told and running not in told:
        yield Finding(
            "nvidia-version",
            "error",
            "the NVIDIA module that runs is not of the libraries' version",
            evidence=f"/proc/driver/nvidia/version: module {running}, libraries {', '.join(told)}",
            why="NVML says 'Driver/library version mismatch' and CUDA fails, on the host too",
            next_step="reboot, or unload the module when nobody uses it: rmmod nvidia_uvm "
            "nvidia_drm nvidia_modeset nvidia; then generate the spec again",
        )


def _fabric_manager(node: Node, switches: list[str]) -> Iterator[Finding]:
    """Fabric Manager ends at its start when its version is not the module's, to the last digit."""
    yield from _fabric_version(node)
    if node.processes(_FABRIC_MANAGER):
        return
    yield Finding(
        "nvidia-fabricmanager",
        "error",
        "Fabric Manager is not running on a node with NVSwitch",
        evidence=f"NVSwitch at {switches[0]}, no process nv-fabricmanager in /proc",
        why="CUDA fails with error 802, system not yet initialized",
        next_step="systemctl enable --now nvidia-fabricmanager",
    )


def _fabric_version(node: Node) -> Iterator[Finding]:
    running, program = module(node), _fabric_program_version(node)
    if running and program and running != program:
        yield Finding(
            "nvidia-fabricmanager-version",
            "error",
            "Fabric Manager is not of the NVIDIA module's version",
            evidence=f"module {running}, {_FABRIC_PROGRAM} {program}",
            why="it ends when it is started next, and CUDA fails with error 802",
            next_step=f"install Fabric Manager {running}, or reboot into the driver {program}; "
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
