"""Fixtures of the tests of pyshimctl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocishim.admin.host import Host
from tests.unit.admin.configuring import Machine
from tests.unit.admin.installing import node, static
from tests.unit.admin.nodes import Tree

__all__ = ["node", "static"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with pyshim at /usr/local/bin and nothing else."""
    return Machine(tmp_path)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A node's root; its own scripts run without a chroot, since it holds no shell."""

    def run(self: Host, *argv: str) -> object:
        return subprocess.run(
            [self.real(argv[0]), *argv[1:]],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    monkeypatch.setattr(Host, "run", run)
    return Tree(tmp_path)
