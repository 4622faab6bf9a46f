"""A node for the doctor: a root directory, made in a line, and the findings by name."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ocishim.admin import doctor
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.host import Host
from tests.unit.admin.noderoot import NodeRoot

SPEC = """\
cdiVersion: 0.6.0
kind: acme.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [ACME=0]
"""


class Tree(NodeRoot):
    """A node's root directory under construction."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write("/etc/cdi/acme.yaml", SPEC)
        listen(self, "/dev/log")
        self.tells("/usr/bin/runc", "runc version 1.3.0")
        with open(sys.executable, "rb") as file:  # an ELF file of this machine
            self.write("/sbin/ldconfig").write_bytes(file.read(64))
        os.chmod(root / "sbin/ldconfig", 0o755)

    def node(self, kernel: str = "6.1.0-1-amd64", config: str = "") -> Node:
        self.write("/etc/pyshim/config.toml", config or 'runtimes = ["runc"]\n')
        return Node(Host(str(self.root)), kernel=kernel, config_path="/etc/pyshim/config.toml")


def listen(tree: NodeRoot, path: str) -> None:
    """Make a socket."""
    place = tree.root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(place, stat.S_IFSOCK | 0o666)


def findings(node: Node) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(node)}
