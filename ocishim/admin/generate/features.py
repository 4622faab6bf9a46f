"""What belongs to NVIDIA's GPUs and is no GPU, a device `all` each: the peer's modes of that name.

gds (GPUDirect Storage), mofed (RDMA), gdrcopy, nvswitch; and management, which is every node of the
driver for those who manage it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ocishim.admin.generate.edits import Edits
from ocishim.admin.generate.nodes import Nodes
from ocishim.admin.generate.nvidia import Generator
from ocishim.admin.generate.patterns import expand
from ocishim.admin.generate.report import Report
from ocishim.errors import ConfigError


class Feature(NamedTuple):
    """nodes: patterns. mounts: files and folders that go with them. hint: when no node is there."""

    nodes: tuple[str, ...]
    hint: str
    mounts: tuple[str, ...] = ()


FEATURES = {
    "gds": Feature(("/dev/nvidia-fs*",), "modprobe nvidia-fs", ("/run/udev", "/etc/cufile.json")),
    "mofed": Feature(
        ("/dev/infiniband/uverbs*", "/dev/infiniband/rdma_cm"), "modprobe ib_uverbs rdma_ucm"
    ),
    "gdrcopy": Feature(("/dev/gdrdrv",), "modprobe gdrdrv"),
    "nvswitch": Feature(("/dev/nvidia-nvswitch*",), "nvidia-modprobe -s"),
}
_MANAGED = (
    "/dev/nvidia*", "/dev/nvidia-caps/nvidia-cap*", "/dev/nvidia-caps-imex-channels/channel*",
)  # fmt: skip
_OTHERS = ("nvidia-fs", "nvidia-nvswitch", "nvidia-nvlink")


def feature(name: str, driver_root: str, dev_root: str, report: Report) -> dict[str, Edits]:
    """Return the device of FEATURES[name]. Raises ConfigError: its nodes are not there."""
    wanted = FEATURES[name]
    nodes = Nodes(dev_root or driver_root, report)
    edits = _nodes(nodes, wanted.nodes)
    if not edits.deviceNodes:
        where = ", ".join(nodes.prefix + pattern for pattern in wanted.nodes)
        raise ConfigError(f"no device node for {name}: no {where}", hint=wanted.hint)
    files = Nodes(driver_root, report)
    for path in wanted.mounts:
        real = files.host.real(path)
        if os.path.exists(real):
            edits.add_mount(path, files.prefix + files.host.inside(real))
            report.add("files", path)
    report.source = f"{nodes.prefix}/dev"
    report.add("devices", "all")
    return {"all": edits}


def management(generator: Generator) -> tuple[dict[str, Edits], Edits]:
    """Return the device of all nodes of the driver, and the driver's files. Raises ConfigError."""
    generator.require_driver()
    edits = _nodes(generator.nodes, _MANAGED, _OTHERS)
    if not edits.deviceNodes:
        raise ConfigError(
            f"no device node of NVIDIA's in {generator.nodes.prefix}/dev",
            hint="load the driver's module: modprobe nvidia",
        )
    generator.report.source = f"{generator.nodes.prefix}/dev"
    generator.report.add("devices", "all")
    return {"all": edits}, generator.common()


def _nodes(nodes: Nodes, patterns: tuple[str, ...], but: tuple[str, ...] = ("/",)) -> Edits:
    """Return the nodes that match, without those whose name begins as one of `but`."""
    edits = Edits()
    for match in (one for pattern in patterns for one in expand(nodes.host, pattern)):
        if not os.path.basename(match.path).startswith(but):
            nodes.add(edits, match.path)
    return edits
