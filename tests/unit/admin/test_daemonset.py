"""`pyshimctl daemonset`: what the installer's image does on a node, with the restarts it asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocishim.admin.cli import main
from ocishim.admin.host import Host
from ocishim.admin.install.daemonset import PENDING
from tests.layouts import rancher
from tests.unit.admin.installing import HOME, Node

DROP_IN = "etc/crio/crio.conf.d/99-pyshim.conf"
NOT_INSTALLED = (
    "pyshimctl: {0} is not installed: no {0} in PATH or the usual folders\n"
    "hint: install it first: its package asks about files that are there already; or --force\n"
)


class Pod:
    """A pod of the installer on `node`; `calls` are the programs of the node that it ran."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.calls: list[str] = []
        self.fails = ""

    def program(self, *argv: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, 1 if self.fails else 0, "", self.fails)

    def run(self, action: str, **environment: str) -> tuple[int, str, list[str]]:
        """Run the command; its status, what it said on stderr, and the calls."""
        self.calls.clear()
        usual = {"HOST_ROOT": str(self.node.root), "ENGINE": "crio"}
        result = CliRunner().invoke(main, ["daemonset", action], env={**usual, **environment})
        return result.exit_code, result.stderr, list(self.calls)


@pytest.fixture
def pod(node: Node, monkeypatch: pytest.MonkeyPatch) -> Pod:
    pod = Pod(node)
    monkeypatch.setattr(Host, "run", lambda _host, *argv: pod.program(*argv))
    return pod


def test_install_restarts_the_engine_once(pod: Pod) -> None:
    assert pod.run("install") == (0, "", ["systemctl restart crio"])
    assert 'runtime_path = "/usr/local/bin/pyshim"' in (pod.node.root / DROP_IN).read_text()
    assert (pod.node.root / HOME / "current").exists()
    assert pod.run("install") == (0, "", [])


def test_a_restart_that_failed_is_made_up_for(pod: Pod) -> None:
    pod.fails = "Unit crio.service\nnot found.\n"
    told = (
        "pyshimctl: systemctl restart crio: Unit crio.service not found.\n"
        "hint: look at the unit on the node, or name another one: SERVICE=UNIT, not crio\n"
    )
    assert pod.run("install") == (1, told, ["systemctl restart crio"])
    assert pod.run("install") == (1, told, ["systemctl restart crio"])
    pod.fails = ""
    assert pod.run("install") == (0, "", ["systemctl restart crio"])
    assert not (pod.node.root / PENDING[1:]).exists()
    assert pod.run("install") == (0, "", [])


def test_install_with_every_setting(pod: Pod) -> None:
    settings = {
        "PREFIX": "/opt/p",
        "SERVICE": "k3s",
        "CONFIG": "/etc/other.toml",
        "ENGINE": "containerd",
        "SET_AS_DEFAULT": "true",
        "ENABLE_CDI": "true",
    }
    (pod.node.root / "etc").mkdir()
    (pod.node.root / "etc/other.toml").write_text("version = 2\n")
    assert pod.run("install", **settings) == (0, "", ["systemctl restart k3s"])
    text = (pod.node.root / "etc/other.toml").read_text()
    wanted = (
        'BinaryName = "/opt/p/bin/pyshim"',
        'default_runtime_name = "pyshim"',
        "enable_cdi = ",
    )
    assert [one for one in wanted if one not in text] == []


def test_the_unit_is_that_of_the_containerd_that_is_there(pod: Pod) -> None:
    file = pod.node.root / "var/lib/rancher/k3s/agent/etc/containerd/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(rancher("k3s", 3, imports=True))
    unit = pod.node.root / "etc/systemd/system/k3s-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    called = pod.run("install", ENGINE="containerd")
    assert called == (0, "", ["systemctl restart k3s-agent"])


@pytest.mark.parametrize("value", ["false", ""])
def test_switched_off(pod: Pod, value: str) -> None:
    assert pod.run("install", SET_AS_DEFAULT=value, CONFIG="", SERVICE="")[0] == 0
    assert "default_runtime" not in (pod.node.root / DROP_IN).read_text()


def test_remove_takes_the_engine_first(pod: Pod) -> None:
    before = pod.node.listing()
    pod.run("install")
    assert pod.run("remove") == (0, "", ["systemctl restart crio"])
    left = [name for name in pod.node.listing() if name not in before]
    assert left == ["etc", "etc/crio", "etc/crio/crio.conf.d", "run"]


@pytest.mark.parametrize("socket_of", ["", "run/crio/crio.sock"], ids=["none", "CRI-O's"])
def test_the_engine_is_known_by_its_socket(pod: Pod, socket_of: str) -> None:
    if socket_of:
        path = pod.node.root / socket_of
        path.parent.mkdir(parents=True)
        path.touch()
    engine = "crio" if socket_of else "containerd"
    assert pod.run("install", ENGINE="auto") == (1, NOT_INSTALLED.format(engine), [])


def test_a_wrong_setting_is_named(pod: Pod) -> None:
    status, said, _ = pod.run("install", ENGINE="dockerd")
    assert status == 2
    assert said.splitlines()[-1].startswith(
        "Error: Invalid value for '--engine' (env var: 'ENGINE')"
    )


@pytest.mark.root
def test_wait_ends_when_told_to() -> None:
    """As the first process of a PID namespace, to which a signal without a handler does nothing."""
    words = [sys.executable, "-m", "ocishim.admin", "daemonset", "wait"]
    waits = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", *words], cwd=Path(__file__).parents[3]
    )
    children = Path(f"/proc/{waits.pid}/task/{waits.pid}/children")
    try:
        for _ in range(300):  # before it waits, it does not hear
            for first in children.read_text().split():
                os.kill(int(first), signal.SIGTERM)
            if waits.poll() is not None:
                break
            time.sleep(0.1)
        assert waits.poll() == 0
    finally:
        waits.kill()
        waits.wait()


def test_refresh(pod: Pod) -> None:
    pod.node.program("usr/lib/systemd/systemd", "")
    unit = pod.node.root / "etc/systemd/system/pyshim-cdi-refresh.service"
    pod.run("install")
    assert not unit.exists()
    assert pod.run("install", REFRESH="true")[0] == 0
    assert unit.exists()
    pod.run("remove")
    assert not unit.exists()
