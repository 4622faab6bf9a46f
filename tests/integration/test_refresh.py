"""The units of `pyshimctl install --refresh` on a Debian whose process 1 is systemd (make test-binary).

The driver is a tree of stand-ins that this side changes; what the units watch is the machine's own.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.integration.test_packages import BARE
from tests.unit.admin.test_generate import library
from tools.lab import booted
from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.booted import Booted

pytestmark = [pytest.mark.root, pytest.mark.binary, pytest.mark.xdist_group("packages")]

SPEC = "/run/cdi/nvidia.yaml"
UNITS = [f"pyshim-cdi-refresh.{kind}" for kind in ("path", "service", "timer")]
OPTIONS = (
    "PYSHIM_CDI_DRIVER_ROOT=/srv/tools/driver\nPYSHIM_CDI_DEV_ROOT=/srv/node\n"
    "PYSHIM_CDI_CREATE_NODES=1\n"
)


class Machine:
    """The booted machine; `driver` is what it has at /srv/tools/driver."""

    def __init__(self, machine: Booted, driver: Path) -> None:
        self.machine = machine
        self.driver = driver

    def run(self, *argv: str) -> str:
        """Run a program there; what it printed."""
        done = self.machine.run(*argv)
        assert done.returncode == 0, done
        return done.stdout

    def install_driver(self, version: str) -> None:
        folder = self.driver / "usr/lib/x86_64-linux-gnu"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("libcuda", "libnvidia-ml"):
            library(folder / f"{name}.so.{version}", f"{name}.so.1")
        self.write("version", f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  x\n")

    def add_gpu(self, minor: int) -> None:
        facts = f"GPU UUID: GPU-{minor:08x}-0000-0000-0000-000000000000\nDevice Minor: {minor}\n"
        self.write(f"gpus/0000:0{minor + 1}:00.0/information", facts)

    def write(self, name: str, text: str) -> None:
        path = self.driver / "proc/driver/nvidia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def wait_for(self, word: str) -> str:
        """Wait until the spec has `word`; the spec."""
        deadline = time.monotonic() + 120
        while word not in (text := self.machine.run("cat", SPEC).stdout) or self.works():
            assert time.monotonic() < deadline, self.journal()
            time.sleep(0.2)
        return text

    def works(self) -> bool:
        """Whether the service runs: who starts it then only waits for the end of that run."""
        return self.run("systemctl", "show", "-P", "ActiveState", UNITS[1]) == "activating\n"

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", UNITS[1]).stdout


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not booted.make_bare(BARE, "docker.io", "podman"):
        missing("a bare Debian cannot be made")
    folder = tmp_path_factory.mktemp("refresh")
    driver = folder / "tools/driver"
    (folder / "root").mkdir()
    (driver / "proc").mkdir(parents=True)
    (driver / "proc/devices").write_text("Character devices:\n195 nvidia\n508 nvidia-uvm\n")
    shutil.copy(BINARY, folder / "tools/pyshim")
    (folder / "tools/pyshimctl").symlink_to("pyshim")
    token = f"pyshim-refresh-{os.getpid()}"
    with booted.boot(BARE, folder / "root", folder / "tools", token) as node:
        yield Machine(node, driver)


def test_the_spec_follows_the_driver(machine: Machine) -> None:
    machine.install_driver("550.54.15")
    machine.add_gpu(0)
    machine.run("mkdir", "-p", "/etc/pyshim", "/srv/node/dev", "/etc/udev/rules.d")
    machine.run("sh", "-c", f"printf '{OPTIONS}' >/etc/pyshim/refresh.env".replace("\n", "\\n"))

    machine.run("/srv/tools/pyshimctl", "install", "--refresh")
    spec = machine.wait_for("550.54.15")
    assert "hostPath: /srv/node/dev/nvidia0\n" in spec  # made, before the spec was
    assert machine.run("stat", "-c", "%t:%T", "/srv/node/dev/nvidia-uvm") == "1fc:0\n"
    listed = machine.run("systemctl", "list-unit-files", "--no-legend", "pyshim-*")
    assert [line.split()[:2] for line in listed.splitlines()] == [[u, "enabled"] for u in UNITS]
    assert machine.run("systemctl", "is-active", UNITS[0], UNITS[2]) == "active\nactive\n"
    assert machine.run("/usr/local/bin/pyshimctl", "install", "--check").endswith(": right\n")

    # An upgrade of the driver ends with ldconfig.
    machine.install_driver("570.86.15")
    machine.run("ldconfig")
    assert "550.54.15" not in machine.wait_for("570.86.15")
    assert "written: driver 570.86.15, was 550.54.15; " in machine.journal()

    # And modules for a kernel with depmod; this kernel's.
    machine.add_gpu(1)
    folder = f"/lib/modules/{os.uname().release}"
    machine.run("sh", "-c", f"mkdir -p {folder} && echo >{folder}/modules.dep")
    machine.wait_for('name: "1"' if 'name: "0"' in spec else "name: '1'")
    assert "devices 1, GPU-00000001-0000-0000-0000-000000000000 new" in machine.journal()

    # Nothing changed: the file stays the same one.
    before = machine.run("stat", "-c", "%i", SPEC)
    machine.run("systemctl", "start", UNITS[1])
    assert machine.run("stat", "-c", "%i", SPEC) == before
    assert f"{SPEC.replace('/run', '/var/run')}: as it was\n" in machine.journal()

    machine.run("/usr/local/bin/pyshimctl", "uninstall")
    left = machine.machine.run("systemctl", "list-unit-files", "--no-legend", "pyshim-*")
    assert left.stdout == ""
    for path in (SPEC, "/etc/udev/rules.d/71-pyshim-cdi-refresh.rules"):
        assert machine.machine.run("test", "-e", path).returncode == 1


def test_a_driver_that_fails_leaves_the_spec_and_says_why(machine: Machine) -> None:
    machine.install_driver("550.54.15")
    machine.add_gpu(0)
    machine.run("mkdir", "-p", "/etc/pyshim", "/srv/node/dev")
    machine.run("sh", "-c", f"printf '{OPTIONS}' >/etc/pyshim/refresh.env".replace("\n", "\\n"))
    machine.run("/srv/tools/pyshimctl", "install", "--refresh")
    before = machine.wait_for("550.54.15")
    shutil.rmtree(machine.driver / "usr")
    done = machine.machine.run("systemctl", "start", UNITS[1])
    assert done.returncode == 1
    assert machine.run("cat", SPEC) == before
    assert "pyshimctl: no NVIDIA driver found in /srv/tools/driver: " in machine.journal()
