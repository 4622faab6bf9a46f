"""`pyshimctl install --refresh`: units and a udev rule on a machine's tree, and their end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ocishim.admin.host import Host
from ocishim.admin.refresh.command import MARK
from tests.conftest import need
from tests.unit.admin.installing import Node

SYSTEMD = "etc/systemd/system"
FILES = {
    f"{SYSTEMD}/pyshim-cdi-refresh.service",
    f"{SYSTEMD}/pyshim-cdi-refresh.path",
    f"{SYSTEMD}/pyshim-cdi-refresh.timer",
    f"{SYSTEMD}/multi-user.target.wants/pyshim-cdi-refresh.service",
    f"{SYSTEMD}/multi-user.target.wants/pyshim-cdi-refresh.path",
    f"{SYSTEMD}/timers.target.wants/pyshim-cdi-refresh.timer",
    "etc/udev/rules.d/71-pyshim-cdi-refresh.rules",
}
SERVICE = f"{SYSTEMD}/pyshim-cdi-refresh.service"


@pytest.fixture
def machine(node: Node) -> Node:
    """A machine with systemd, which does not run."""
    node.program("usr/lib/systemd/systemd", "")
    return node


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run of the machine's programs."""
    found: list[str] = []

    def run(_host: Host, *argv: str) -> subprocess.CompletedProcess[str]:
        found.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(Host, "run", run)
    return found


def test_install_and_uninstall(machine: Node) -> None:
    before = machine.listing()
    lines = machine.install("--refresh").splitlines()
    assert {line for line in lines if "refresh" in line} == {f"write /{path}" for path in FILES}
    assert set(machine.listing()) >= FILES
    assert machine.install("--refresh") == "nothing to do\n"
    assert machine.call("install", "--check").exit_code == 0
    machine.uninstall()
    assert machine.listing() == before


def test_links_are_as_systemctl_enable_makes_them(machine: Node) -> None:
    machine.install("--refresh")
    link = f"{SYSTEMD}/multi-user.target.wants/pyshim-cdi-refresh.path"
    assert os.readlink(machine.root / link) == f"/{SYSTEMD}/pyshim-cdi-refresh.path"


def test_the_program_is_the_installed_one(machine: Node) -> None:
    machine.install("--refresh", "--prefix", "/opt/p")
    assert "\nExecStart=/opt/p/bin/pyshimctl cdi refresh\n" in (machine.root / SERVICE).read_text()


def test_without_the_option_nothing_is_done(machine: Node) -> None:
    machine.install()
    assert not (machine.root / "etc/systemd").exists()


def test_a_machine_without_systemd(node: Node) -> None:
    result = node.call("install", "--refresh")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"pyshimctl: --refresh needs systemd, which is not in {node.root}",
        "hint: have 'pyshimctl cdi refresh' run at boot and after upgrades of the driver",
    ]
    assert node.listing() == ["usr", "usr/sbin", "usr/sbin/runc"]


@pytest.mark.parametrize(
    ("path", "damage", "said"),
    [
        pytest.param(SERVICE, "edit", "was changed", id="an edited unit"),
        pytest.param(SERVICE, "remove", "is missing", id="no unit"),
        pytest.param(
            f"{SYSTEMD}/timers.target.wants/pyshim-cdi-refresh.timer",
            "remove",
            "is missing",
            id="not enabled",
        ),
        pytest.param(
            "etc/udev/rules.d/71-pyshim-cdi-refresh.rules", "edit", "was changed", id="the rule"
        ),
    ],
)
def test_what_is_wrong_is_told_and_mended(machine: Node, path: str, damage: str, said: str) -> None:
    machine.install("--refresh")
    (machine.root / path).unlink()
    if damage == "edit":
        (machine.root / path).write_text("[Unit]\n")
    result = machine.call("install", "--check")
    assert result.output.splitlines()[0] == f"/{path} {said}"
    assert result.exit_code == 1
    assert machine.install() == f"write /{path}\n"  # what was asked for once is kept
    assert machine.call("install", "--check").exit_code == 0


def test_a_folder_of_somebody_in_a_units_place(machine: Node) -> None:
    machine.install("--refresh")
    place = machine.root / SERVICE
    place.unlink()
    place.mkdir()
    before, step = machine.listing(), f"mv {place} {place}.old"
    checked = machine.call("install", "--check")
    assert (checked.exit_code, checked.stdout.splitlines()) == (
        1,
        [
            f"/{SERVICE} is there and not ours",
            f"next: {step} && pyshimctl install --host-root {machine.root}",
        ],
    )
    assert machine.call("install").stderr.splitlines()[1] == f"hint: {step}"
    assert machine.listing() == before
    place.rename(f"{place}.old")
    machine.install()
    assert machine.call("install", "--check").exit_code == 0


def test_a_systemd_that_runs_is_told(machine: Node, calls: list[str]) -> None:
    (machine.root / "run/systemd/system").mkdir(parents=True)
    units = " ".join(f"pyshim-cdi-refresh.{kind}" for kind in ("service", "path", "timer"))
    machine.install("--refresh")
    assert calls == ["systemctl daemon-reload", f"systemctl restart --no-block {units}"]
    calls.clear()
    machine.install()
    assert calls == []
    machine.uninstall("--force")
    assert calls == [f"systemctl stop {units}", "systemctl daemon-reload"]


def test_specs_that_it_wrote_go_with_it(machine: Node) -> None:
    """Their hooks name a program that is gone: each container that asked would fail."""
    folder = machine.root / "var/run/cdi"
    folder.mkdir(parents=True)
    (folder / "nvidia.yaml").write_text(f"{MARK}---\n")
    (folder / "vendor.yaml").write_text("---\n")
    machine.install("--refresh")
    assert "remove /var/run/cdi/nvidia.yaml\n" in machine.uninstall()
    assert os.listdir(folder) == ["vendor.yaml"]


@pytest.mark.parametrize("name", ["service", "path", "timer"])
def test_units_are_what_systemd_accepts(machine: Node, name: str) -> None:
    """What systemd itself says of them, the program put in place."""
    machine.install("--refresh")
    unit = Path(f"{machine.root}/{SYSTEMD}/pyshim-cdi-refresh.{name}")
    words = unit.read_text().replace("/usr/local/bin/pyshimctl", "/bin/true")
    unit.write_text(words)
    done = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
