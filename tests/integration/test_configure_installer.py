"""The installer's image on a node as a distribution ships it: its containerd keeps its CRI.

What the installer puts on the node is test_install.py's, and which files configure may meet
test_configure_cri.py's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.integration.containerds import VERSIONS, Node, folder_of
from tests.integration.cri import CRICTL
from tests.integration.test_configure_cri import DEBIAN
from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from typing import Any

pytestmark = [pytest.mark.root, pytest.mark.engine]

# The node's root: the machine's programs, read-only; all else the node's own.
_ROOT = """
cd "$1"
mount --bind /usr usr
mount -o remount,bind,ro usr
mount --bind "$2" usr/local
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
shift 2
exec "$@"
"""
# In a clone another program stands for the static file, which nobody starts here.
_CLONES = """
import sys
from ocishim.admin.install import ownfiles
ownfiles.static_file = lambda: "/bin/true"
from ocishim.admin.cli import main
main()
"""
PYSHIMCTL = [BINARY, "--as", "pyshimctl"] if BINARY else [sys.executable, "-c", _CLONES]
RESTART = "restart containerd\n"
_FOLDERS = ("dev", "etc/containerd", "proc", "run", "sys", "tmp", "usr", "var/lib")


class Cluster(Node):
    """A node whose root the installer's pod sees in a folder; its restarts are written down."""

    def __init__(self, folder: Path, programs: Path) -> None:
        super().__init__(folder, programs)
        self.root, self.local = folder / "root", folder / "local"
        for path in (*(self.root / name for name in _FOLDERS), self.local / "bin"):
            path.mkdir(parents=True)
        for name in ("lib", "lib64", "bin", "sbin"):
            if os.path.lexists(f"/{name}"):
                (self.root / name).symlink_to(f"usr/{name}")
        shutil.copy(programs / "containerd", self.local / "bin")
        self.etc = self.root / "etc/containerd"
        self.socket = self.root / "run/sock"
        self.restarts = self.root / "tmp/restarts"
        systemctl = self.local / "bin/systemctl"
        systemctl.write_text('#!/bin/sh\necho "$@" >>/tmp/restarts\n')
        systemctl.chmod(0o755)
        self.environment = {**os.environ, "HOST_ROOT": str(self.root)}

    def private(self, *argv: str) -> list[str]:
        own = ["sh", "-ec", _ROOT, "sh", str(self.root), str(self.local)]
        return ["unshare", "-m", "--propagation", "private", *own, *argv]

    def daemon(self) -> list[str]:
        return ["chroot", str(self.root), "containerd", "--address", "/run/sock"]

    def installer(self, action: str, **settings: str) -> str:
        """Run the installer to its end; returns what it asked of systemctl."""
        done = subprocess.run(
            self.private(*PYSHIMCTL, "daemonset", action),
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        told = self.restarts.read_text()
        self.restarts.unlink()
        return told


@pytest.fixture(params=VERSIONS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    if not CRICTL.exists():
        missing("crictl is not built; tools/crictl.sh build/crictl gets it")
    return Cluster(tmp_path, folder_of(request.param))


def program(cri: dict[str, Any]) -> str:
    """The program of the handler `pyshim`."""
    path: str = cri["runtimes"]["pyshim"]["options"]["BinaryName"]
    return path


def test_the_cri_stays(node: Cluster) -> None:
    (node.etc / "config.toml").write_text(DEBIAN)
    was = node.cri()
    assert node.installer("install") == RESTART
    now = node.cri()
    assert set(now["runtimes"]) == {"runc", "pyshim"}
    assert now["defaultRuntimeName"] == was["defaultRuntimeName"] == "runc"
    assert program(now) == "/usr/local/bin/pyshim"
    assert os.access(node.local / "bin/pyshim", os.X_OK)
    assert node.installer("install", SET_AS_DEFAULT="true") == RESTART
    assert node.cri()["defaultRuntimeName"] == "pyshim"
    assert node.installer("remove") == RESTART
    assert not os.path.lexists(node.local / "bin/pyshim")
    assert node.files() == {"config.toml": DEBIAN}
    assert node.cri() == was
