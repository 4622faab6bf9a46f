"""The CDI spec of a host with AMD GPUs: /dev/kfd and each GPU's or partition's DRI nodes.

Source: KFD's topology, which has the render node of each device that can compute, and no other: a
GPU that can be partitioned has eight render nodes whatever its mode is. Which card node belongs to
it, and its PCI address, amdgpu's sysfs says; partitions are platform devices amdgpu_xcp_N.
"""

from __future__ import annotations

import os
import re
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
    """A GPU or a partition: its render node, all its DRI nodes, its unique id (0: not known)."""

    render: int
    nodes: list[str]
    unique: int = 0


def generate(
    dev_root: str = "/",
    report: Report | None = None,
    *,
    with_all: bool = True,
    namings: tuple[str, ...] = ("index",),
) -> tuple[dict[str, Edits], Edits]:
    """Return the devices' edits by name, in order of their render nodes, and the common ones.

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
            report.warn(what, "udevadm trigger --subsystem-match=drm")
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
        report.warn(f"GPU {index} is left out: it has no uuid of its own", "--name-by index")
    return names


def _gpus(host: Host, report: Report) -> list[Gpu]:
    """Return the GPUs and partitions that can compute, in order of their render nodes."""
    drawn = {gpu.render: gpu for gpu in _drawing(host, report)}
    computing = _computing(host)
    if not computing:
        if drawn:
            report.tell(f"GPUs are those of {_PCI}, since {_KFD} has none")
        report.source = _PCI if drawn else ""
        return [drawn[render] for render in sorted(drawn)]
    report.source = _KFD
    ids = list(computing.values())
    found = []
    for render in sorted(computing):
        unique = computing[render]  # partitions share their GPU's
        nodes = drawn[render].nodes if render in drawn else [f"renderD{render}"]
        found.append(Gpu(render, nodes, unique if ids.count(unique) == 1 else 0))
    return found


def _computing(host: Host) -> dict[int, int]:
    """Return the render nodes of KFD's topology with the unique id of each."""
    found = {}
    for number in host.listdir(_KFD):
        lines = files.text(host, f"{_KFD}/{number}/properties").splitlines()
        facts = dict(line.split()[:2] for line in lines if len(line.split()) >= 2)
        render = facts.get("drm_render_minor", "")
        if render.isdigit() and int(render):  # a processor has 0
            unique = facts.get("unique_id", "0")
            found[int(render)] = int(unique) if unique.isdigit() else 0
    return found


def _drawing(host: Host, report: Report) -> list[Gpu]:
    """Return amdgpu's devices with their DRI nodes; a GPU without any is told of."""
    folders = [f"{_PCI}/{name}" for name in host.listdir(_PCI) if re.match(r"[0-9a-f]{4}:", name)]
    platform = [name for name in host.listdir(_PLATFORM) if name.startswith("amdgpu_xcp_")]
    found = []
    for folder in (*folders, *(f"{_PLATFORM}/{name}" for name in platform)):
        names = [name for name in host.listdir(f"{folder}/drm")
                 if re.fullmatch(r"(card|renderD)\d+", name)]  # fmt: skip
        renders = [int(name.removeprefix("renderD")) for name in names if name[0] == "r"]
        if renders:
            found.append(Gpu(renders[0], names))
        elif folder in folders:
            what = f"GPU {os.path.basename(folder)} is left out: it has no render node"
            report.warn(what, "see 'dmesg | grep amdgpu': its driver did not start")
    return found
