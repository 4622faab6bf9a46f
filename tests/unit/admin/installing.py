"""A machine's tree for `pyshimctl install`, without entering it; the fixtures are conftest.py's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocishim.admin import install, launchers, uninstall, vendor
from ocishim.admin.cli import main
from ocishim.admin.host import Host

HOME = "usr/local/lib/pyshim"
CONFIG = "etc/pyshim/config.toml"


# Stands in for the real one, which needs all modules: tests/unit/test_preload.py has that.
PRELOADING = """\
import sys
library, folder, final = sys.argv[1:]
for name in (".pyshim-create.bin", ".pyshim-hook.bin"):
    open(folder + "/" + name, "w").write(final)
"""


class Tree(Host):
    """A host whose programs run here, with its paths made ours: chroot(2) needs root."""

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        ours = [self.real(word) if os.path.exists(self.real(word)) else word for word in argv]
        return subprocess.run(ours, capture_output=True, text=True, check=False)


class Node:
    """A machine with a Python and runc, and `pyshimctl` called on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program("usr/bin/python3", f'exec {launchers.interpreter()} "$@"')
        self.program("usr/sbin/runc", "")

    def program(self, path: str, script: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def call(self, *args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--host-root", str(self.root)])

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
def library(tmp_path: Path) -> Path:
    """What is installed: a few of pyshim's own files, changed at will, and one small library."""
    folder = tmp_path / "library"
    for path, source in vendor.own_files().items():
        if path.endswith(("__init__.py", "/entry.py", "/program.py", ".sh")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(source)
    (folder / "ocishim/admin/preloading.py").write_text(PRELOADING)
    # What install runs of it needs all the others; tests/integration/test_install.py has them.
    (folder / "ocishim/admin/preloading.py").write_text("")
    (folder / "ocishim/hooks/extra.py").write_text("VERSION = 1\n")
    (folder / "ocishim/hooks/extra.py").chmod(0o600)
    return folder


@pytest.fixture
def node(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The machine; what is installed on it comes from `library`."""

    def own_files() -> vendor.Files:
        files = (path for path in library.rglob("*") if path.is_file())
        return {str(path.relative_to(library)): str(path) for path in files}

    def libraries(_folder: str | None) -> vendor.Files:
        return {"site/small.py": str(library / "ocishim/hooks/extra.py")}

    monkeypatch.setattr(install, "Host", Tree)
    monkeypatch.setattr(uninstall, "Host", Tree)
    monkeypatch.setattr(vendor, "own_files", own_files)
    monkeypatch.setattr(vendor, "libraries", libraries)
    return Node(tmp_path / "node")
