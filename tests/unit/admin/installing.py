"""A machine's tree for `pyshimctl install`, without entering it; the fixtures are conftest.py's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import Result

from ocishim.admin.install import ownfiles
from tests.unit.admin.noderoot import NodeRoot

HOME = "usr/local/lib/pyshim"
CONFIG = "etc/pyshim/config.toml"


class Node(NodeRoot):
    """A machine with runc, and `pyshimctl` called on it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.program("usr/sbin/runc")

    def call(self, *args: str) -> Result:
        return self.on_host_root(*args)

    def install(self, *args: str) -> str:
        result = self.call("install", *args)
        assert result.exit_code == 0, result.output
        return result.output

    def uninstall(self, *args: str) -> str:
        result = self.call("uninstall", *args)
        assert result.exit_code == 0, result.output
        return result.output

    def listing(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))

    @property
    def current(self) -> str:
        return os.readlink(self.root / HOME / "current")


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is installed, changed at will."""
    file = tmp_path / "build/pyshim"
    file.parent.mkdir()
    file.write_text("version 1\n")
    file.chmod(0o600)
    monkeypatch.setattr(ownfiles, "static_file", lambda: str(file))
    return file


@pytest.fixture
def node(tmp_path: Path, static: Path) -> Node:
    """The machine; what is installed on it is `static`."""
    return Node(tmp_path / "node")
