"""The CDI spec of a host with AMD GPUs: /dev/kfd and each GPU's or partition's DRI nodes.

Source: the amdgpu driver's sysfs; partitions (compute or memory partitioning) are platform devices
named amdgpu_xcp_N beside their GPU.
"""

from __future__ import annotations

import os
import re

from ocishim.admin.generate.edits import Edits
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_PCI = "/sys/module/amdgpu/drivers/pci:amdgpu"
_PLATFORM = "/sys/devices/platform"


def generate(dev_root: str = "/", *, with_all: bool = True) -> tuple[dict[str, Edits], Edits]:
    """Return the devices' edits by index, in order of their render nodes, and the common ones.

    Raises ConfigError when the host has no AMD GPU.
    """
    host = Host(dev_root)
    prefix = dev_root.rstrip("/")
    devices: dict[str, Edits] = {}
    for index, nodes in enumerate(_gpus(host)):
        devices[str(index)] = edits = Edits()
        for name in nodes:
            _add_node(host, edits, prefix, f"/dev/dri/{name}")
    if not devices:
        raise ConfigError(
            f"no AMD GPU found: none in {_PCI}", hint="load the driver's module: modprobe amdgpu"
        )
    if with_all:
        everything = Edits()
        for edits in devices.values():
            everything.update(edits)
        devices["all"] = everything
    common = Edits()
    _add_node(host, common, prefix, "/dev/kfd")
    return devices, common


def _gpus(host: Host) -> list[list[str]]:
    """Return the names of each GPU's DRI nodes (cardN, renderDN), sorted by render node."""
    folders = [f"{_PCI}/{name}" for name in _listdir(host, _PCI) if re.match(r"[0-9a-f]{4}:", name)]
    folders += [
        f"{_PLATFORM}/{name}"
        for name in _listdir(host, _PLATFORM)
        if name.startswith("amdgpu_xcp_")
    ]
    found = []
    for folder in folders:
        names = _listdir(host, f"{folder}/drm")
        nodes = [name for name in names if re.fullmatch(r"(card|renderD)\d+", name)]
        if nodes:
            found.append(sorted(nodes))
    return sorted(found, key=lambda nodes: int(re.sub(r"\D", "", nodes[-1])))


def _add_node(host: Host, edits: Edits, prefix: str, path: str) -> None:
    try:
        status = os.stat(host.real(path))
    except OSError:
        return
    private = status.st_mode & 0o006 != 0o006
    edits.add_node(path, prefix + path, gid=status.st_gid if private else 0)


def _listdir(host: Host, path: str) -> list[str]:
    try:
        return sorted(os.listdir(host.real(path)))
    except OSError:
        return []
