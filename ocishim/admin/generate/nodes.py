"""Device nodes of a root, with the group that may open them, and a PCI device's DRI nodes."""

from __future__ import annotations

import os
import re
import stat

from ocishim.admin.generate.edits import Edits
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host

_PCI = "/sys/bus/pci/devices"
_DRI = re.compile(r"(card|renderD)\d+")


class Nodes:
    """The nodes below `root`/dev, as the runtime will find them."""

    def __init__(self, root: str, report: Report) -> None:
        self.host = Host(root or "/")
        self.prefix = os.path.abspath(root or "/").rstrip("/")
        self.report = report

    def add(self, edits: Edits, path: str, *, block: bool = False) -> bool:
        """Add the character device `path`; False when it is none. A link is followed here.

        block: a block device will do, too.
        """
        status = self.host.status(path)
        kinds = (stat.S_IFCHR, stat.S_IFBLK) if block else (stat.S_IFCHR,)
        if not status or stat.S_IFMT(status.st_mode) not in kinds:
            return False
        private = status.st_mode & 0o006 != 0o006
        host_path = self.prefix + self.host.inside(self.host.real(path))
        edits.add_node(path, host_path, gid=status.st_gid, private=private)
        self.report.add("nodes", path)
        return True

    def dri(self, bus: str) -> list[str]:
        """Return the paths of a PCI device's DRI nodes: as sysfs has them, or udev's links."""
        names = [name for name in kernel(self.host, _PCI).listdir(f"{_PCI}/{bus}/drm")
                 if _DRI.fullmatch(name)]  # fmt: skip
        linked = [os.path.basename(target) for target, _ in self.by_path(bus)]
        return [f"/dev/dri/{name}" for name in sorted({*names, *linked})] if bus else []

    def by_path(self, bus: str) -> list[tuple[str, str]]:
        """Return target and path of udev's links to a PCI device's DRI nodes."""
        found = []
        for kind in ("card", "render") if bus else ():
            path = f"/dev/dri/by-path/pci-{bus}-{kind}"
            entry = self.host.entry(path)
            if os.path.islink(entry):
                found.append((os.readlink(entry), path))
        return found


def kernel(host: Host, probe: str) -> Host:
    """Return `host`, or this machine where that root has no `probe` of the kernel's."""
    return host if host.is_folder(probe) else Host("/")
