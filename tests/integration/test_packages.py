"""What tools/packages.sh leaves of services, on a Debian whose process 1 is systemd.

Before it come containerd, enabled and running as its package leaves it; it gets Docker and Podman.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tools.lab import booted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.booted import Booted

TOOLS = Path(__file__).parents[2] / "tools"
BARE = TOOLS.parent / "build/systemd"
PACKAGES = "docker.io test\npodman test\ncontainerd test\n"

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("packages")]


class Machine:
    """The booted machine, before and after."""

    def __init__(self, machine: Booted) -> None:
        self.machine = machine
        self.before = self.containerd()
        self.installed = machine.run("/srv/tools/packages.sh", "test")

    def containerd(self) -> str:
        return self.show("containerd.service", "UnitFileState,ActiveState,MainPID")

    def show(self, unit: str, properties: str) -> str:
        return self.machine.run("systemctl", "show", "--value", "-p", properties, unit).stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not booted.make_bare(BARE, "docker.io", "podman"):
        missing("a bare Debian cannot be made")
    folder = tmp_path_factory.mktemp("machine")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "packages.sh").write_bytes((TOOLS / "packages.sh").read_bytes())
    (tools / "packages.sh").chmod(0o755)
    (tools / "packages").write_text(PACKAGES)
    (folder / "root").mkdir()
    with booted.boot(BARE, folder / "root", tools, f"pyshim-booted-{os.getpid()}") as node:
        yield Machine(node)


def test_it_says_what_it_installs(machine: Machine) -> None:
    # apt says at length that there is no network.
    apt = ("W: ", "E: ", "debconf: ")
    lines = [line for line in machine.installed.stderr.splitlines() if not line.startswith(apt)]
    assert lines == ["setup: installing docker.io podman"]
    assert (machine.installed.returncode, machine.installed.stdout) == (0, "")


def test_what_ran_before_runs_on(machine: Machine) -> None:
    assert "enabled" in machine.before
    assert "active" in machine.before
    assert machine.containerd() == machine.before


@pytest.mark.parametrize("scope", ["--system", "--global"])
def test_nothing_that_came_is_enabled(machine: Machine, scope: str) -> None:
    words = ("systemctl", scope, "list-unit-files", "--no-legend", "docker*", "podman*")
    states = [line.split()[:2] for line in machine.machine.run(*words).stdout.splitlines()]
    assert states, "no unit came"
    assert [name for name, state in states if state == "enabled"] == []


def test_nothing_that_came_runs(machine: Machine) -> None:
    words = (
        "systemctl",
        "list-units",
        "--state=active",
        "--plain",
        "--no-legend",
        "docker*",
        "podman*",
    )
    assert machine.machine.run(*words).stdout == ""


def test_services_may_start_again(machine: Machine) -> None:
    assert machine.machine.run("test", "-e", "/usr/sbin/policy-rc.d").returncode == 1
