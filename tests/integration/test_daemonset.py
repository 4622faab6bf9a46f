"""The installer's image on a node whose process 1 is systemd: what a pod of it does (make test-binary).

The pod is a container by runc as deploy/installer.yaml asks for it: privileged, the node's root at
/host, and the node's processes, without which systemctl does not take systemd for itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.integration.test_packages import BARE
from tools.lab import booted
from tools.lab.bundle import make_spec
from tools.lab.shim import BINARY, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.booted import Booted

pytestmark = [pytest.mark.root, pytest.mark.binary, pytest.mark.xdist_group("packages")]

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
]  # fmt: skip
HOST = {"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "rslave"]}


def words(instruction: str) -> list[str]:
    """Return the arguments of an instruction of the Containerfile."""
    text = (REPOSITORY / "deploy/Containerfile").read_text()
    found = re.search(rf"^{instruction} (\[.*\])$", text, re.MULTILINE)
    assert found
    return [str(word) for word in json.loads(found[1])]


class Node:
    """The booted machine, with the image's files at /srv/tools/pod."""

    def __init__(self, machine: Booted, pod: Path) -> None:
        self.machine = machine
        self.pod = pod

    def containerd(self) -> str:
        """Return the process id of containerd as systemd started it."""
        shown = self.machine.run("systemctl", "show", "--value", "-p", "MainPID", "containerd")
        assert shown.stdout not in ("", "0\n")
        return shown.stdout

    def run(self, *arguments: str) -> str:
        """Run a pod; what it printed."""
        spec = make_spec([*words("ENTRYPOINT"), *arguments])
        spec["mounts"].append(HOST)
        sets = ("bounding", "effective", "permitted", "inheritable")
        spec["process"]["capabilities"] = dict.fromkeys(sets, CAPABILITIES)
        spaces = spec["linux"]["namespaces"]
        spec["linux"] |= {
            "cgroupsPath": "/pod",
            "namespaces": [one for one in spaces if one["type"] != "pid"],
        }
        (self.pod / "config.json").write_text(json.dumps(spec))
        done = self.machine.run("runc", "run", "--bundle", "/srv/tools/pod", "pod")
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not booted.make_bare(BARE, "docker.io", "podman"):
        missing("a bare Debian cannot be made")
    folder = tmp_path_factory.mktemp("daemonset")
    pod = folder / "tools/pod"
    for mount_point in ("dev", "host", "proc", "sys"):
        (pod / "rootfs" / mount_point).mkdir(parents=True)
    shutil.copy(BINARY, pod / "rootfs/pyshim")  # as the Containerfile says, and nothing else
    (folder / "root").mkdir()
    token = f"pyshim-daemonset-{os.getpid()}"
    with booted.boot(BARE, folder / "root", folder / "tools", token) as machine:
        yield Node(machine, pod)


def test_a_pod_installs_and_restarts_the_engine_once(node: Node) -> None:
    before = node.containerd()
    assert "restarting containerd\n" in node.run(*words("CMD"))
    installed = node.containerd()
    assert installed != before
    assert node.machine.run("/usr/local/bin/pyshim-hook", "--version").returncode == 0
    dumped = node.machine.run("containerd", "config", "dump").stdout
    assert 'BinaryName = "/usr/local/bin/pyshim"' in dumped
    assert "nothing to do\n" in node.run("install")
    assert node.containerd() == installed
    node.run("remove")
    assert node.containerd() != installed
    assert node.machine.run("ls", "/usr/local/lib/pyshim").returncode == 2
