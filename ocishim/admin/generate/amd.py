"""The CDI spec of a host with AMD GPUs: /dev/kfd and each GPU's or partition's DRI nodes.

Source: KFD's topology, which has the render node of each device that can compute, and no other: a
GPU that can be partitioned has eight render nodes whatever its mode is. Which card node belongs to
it, and its PCI address, amdgpu's sysfs says; partitions are platform devices amdgpu_xcp_N.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

from ocishim.admin.editing import files
from ocishim.admin.generate.edits import Edits, merged
from ocishim.admin.generate.nodes import Nodes, kernel
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_MODULE = "/sys/module/amdgpu"
_PCI = f"{_MODULE}/drivers/pci:amdgpu"
_PLATFORM = "/sys/devices/platform"
_KFD = "/sys/class/kfd/kfd/topology/nodes"


@dataclass
class Gpu:
    """A GPU or a partition: its render node, all its DRI nodes, its unique id (0: not known).

    place: PCI domain, and bus, device and function as one number; a partition has its GPU's.
    """

    render: int
    nodes: list[str]
    unique: int = 0
    place: tuple[int, int] = (0, 0)


def generate(
    dev_root: str = "/",
    report: Report | None = None,
    *,
    with_all: bool = True,
    namings: tuple[str, ...] = ("index",),
) -> tuple[dict[str, Edits], Edits]:
    """Return the devices' edits by name, by PCI address and render node, and the common ones.

    Raises ConfigError when the host has no AMD GPU, or its driver no /dev/kfd.
    """
    report = report or Report()
    nodes = Nodes(dev_root, report)
    sysfs = kernel(nodes.host, _MODULE)
    devices: dict[str, Edits] = {}
    for index, gpu in enumerate(_gpus(sysfs, report)):
        edits = Edits()
        lost = [name for name in gpu.nodes if not nodes.add(edits, f"/dev/dri/{name}")]
        if f"renderD{gpu.render}" in lost:
            what = f"GPU {index} is left out: no device node /dev/dri/renderD{gpu.render}"
            report.warn(what, "udevadm trigger --subsystem-match=drm", of_device=True)
            continue
        devices |= dict.fromkeys(_names(index, gpu, namings, report), edits)
    if not devices:
        raise ConfigError(
            f"no AMD GPU found: none in {_PCI}{report.why()}",
            hint=report.remedy("load the driver's module: modprobe amdgpu"),
        )
    common = Edits()
    if not nodes.add(common, "/dev/kfd"):
        raise ConfigError(
            f"no device node {nodes.prefix}/dev/kfd: no container could compute",
            hint="load the driver's module: modprobe amdgpu; it must be built with HSA_AMD",
        )
    if with_all:
        devices["all"] = merged(devices)
    for name in devices:
        report.add("devices", name)
    return devices, common


def _names(index: int, gpu: Gpu, namings: tuple[str, ...], report: Report) -> list[str]:
    uuid = f"0x{gpu.unique:x}" if gpu.unique else ""
    by = {"index": str(index), "uuid": uuid, "type-index": f"gpu{index}"}
    names = [by[naming] for naming in namings if by[naming]]
    if not names:
        what = f"GPU {index} is left out: it has no uuid of its own"
        report.warn(what, "--name-by index", of_device=True)
    return names


def _gpus(host: Host, report: Report) -> list[Gpu]:
    """Return the GPUs and partitions that can compute, as amd-smi and amd-ctk count them."""
    drawn = {gpu.render: gpu for gpu in _drawing(host, report)}
    found = _computing(host)
    if not found and drawn:
        report.tell(f"GPUs are those of {_PCI}, since {_KFD} has none")
    report.source = _KFD if found else _PCI if drawn else ""
    ids = [gpu.unique for gpu in found]
    for gpu in found:
        gpu.nodes = drawn[gpu.render].nodes if gpu.render in drawn else gpu.nodes
        if ids.count(gpu.unique) > 1:
            gpu.unique = 0  # partitions share their GPU's
    return sorted(found or drawn.values(), key=lambda gpu: (gpu.place, gpu.render))


def _computing(host: Host) -> list[Gpu]:
    """Return the devices of KFD's topology, without the nodes that only draw."""
    found = []
    for number in host.listdir(_KFD):
        lines = files.text(host, f"{_KFD}/{number}/properties").splitlines()
        facts = {
            words[0]: int(words[1])
            for line in lines if len(words := line.split()) >= 2 and words[1].isdecimal()
        }  # fmt: skip
        render = facts.get("drm_render_minor", 0)
        if render:  # a processor has 0
            # The partition's number is in the upper bits (the kernel's kfd_topology.c).
            place = facts.get("domain", 0), facts.get("location_id", 0) & 0xFFFF
            found.append(Gpu(render, [f"renderD{render}"], facts.get("unique_id", 0), place))
    return found


def _drawing(host: Host, report: Report) -> list[Gpu]:
    """Return amdgpu's devices with their DRI nodes; a GPU without any is told of.

    Whose a partition is, only KFD's topology tells: here they come after the GPUs.
    """
    folders = [f"{_PCI}/{name}" for name in host.listdir(_PCI) if re.match(r"[0-9a-f]{4}:", name)]
    platform = [name for name in host.listdir(_PLATFORM) if name.startswith("amdgpu_xcp_")]
    found = []
    for folder in (*folders, *(f"{_PLATFORM}/{name}" for name in platform)):
        names = [name for name in host.listdir(f"{folder}/drm")
                 if re.fullmatch(r"(card|renderD)\d+", name)]  # fmt: skip
        renders = [int(name.removeprefix("renderD")) for name in names if name[0] == "r"]
        if renders:
            found.append(Gpu(renders[0], names, place=_place(os.path.basename(folder))))
        elif folder in folders:
            what = f"GPU {os.path.basename(folder)} is left out: it has no render node"
            report.warn(what, "see 'dmesg | grep amdgpu': its driver did not start", of_device=True)
    return found


def _place(name: str) -> tuple[int, int]:
    """Return the place of the PCI address in a folder's name; the last of all when it is none."""
    address = re.fullmatch(r"([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", name)
    if not address:
        return sys.maxsize, 0
    domain, bus, device, function = (int(part, 16) for part in address.groups())
    return domain, bus << 8 | device << 3 | function
