"""youki, where it is not as runc: what its hooks are given, what it refuses, how it says so.

What it shares with runc is asked by the other modules (`make test-youki`, `--as-runc`); this one
is collected with that option alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.lowlevel import lowlevel as ocishim_lowlevel
from tests.integration.test_devices import ALL

if TYPE_CHECKING:
    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

_LOOK = "cat >{0}/state; env >{0}/env; pwd >{0}/cwd"


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    """The program that `--as-runc` names."""
    assert lowlevels["runc"].name == "youki", "--as-runc names another runtime"
    return lowlevels["runc"]


def _looking(node: Node, busybox: Path) -> Bundle:
    """Return a bundle with a hook of the vendor's that writes down what it sees."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", _LOOK.format(node.folder)], "env": ["A=b"]}
    return node.bundle(busybox, "exit 5", hooks={"createContainer": [hook]})


def test_its_version_is_known(node: Node) -> None:
    """Youki 0.7.0 says `youki version: 0.7.0`."""
    found = ocishim_lowlevel.version(node.shim.lowlevel, Cache(str(node.folder / "versions")))
    assert (found.kind, found.number[0]) == ("youki", 0)


def test_what_a_hook_is_given(node: Node, busybox: Path) -> None:
    bundle = _looking(node, busybox)
    result = node.run(bundle)
    assert result.returncode == 5, result
    state = json.loads((node.folder / "state").read_text())
    assert "pid" not in state
    assert "root" not in state
    assert (state["status"], state["bundle"]) == ("creating", str(bundle.path))
    assert (node.folder / "cwd").read_text() == f"{Path.cwd()}\n"
    assert "A=b" in (node.folder / "env").read_text().split()
    assert "TERM=dumb" not in (node.folder / "env").read_text(), "the container's environment"


def test_a_containers_life(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "sleep 60", annotations=ALL)
    assert node.shim.create(bundle, node.container).returncode == 0
    assert json.loads(node.shim.call("state", node.container).stdout)["status"] == "created"
    assert node.shim.call("start", node.container).returncode == 0
    assert json.loads(node.shim.call("state", node.container).stdout)["status"] == "running"
    assert node.shim.call("delete", node.container).returncode != 0, "deleted while it runs"
    assert node.shim.call("kill", node.container, "KILL").returncode == 0
    assert node.shim.delete(node.container).returncode == 0
    gone = node.shim.call("state", node.container)
    assert gone.returncode == 1
    assert "does not exist" in gone.stderr


@pytest.mark.parametrize(("command", "status"), [("create", 1), ("run", 255)])
def test_a_failing_hook(node: Node, glibc: Path, command: str, status: int) -> None:
    """The hook's sentence comes through; the exit statuses are youki's."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL)
    os.mkfifo(bundle.rootfs / "etc/ld.so.conf")
    result = node.shim.call(command, "--bundle", str(bundle.path), node.container)
    assert "hook update-ldcache failed: '/etc/ld.so.conf' is a fifo" in result.stderr
    assert result.returncode == status, result


def test_our_own_errors_are_in_the_log(node: Node, busybox: Path) -> None:
    """Engines read runc's records; youki's own have other keys."""
    log = node.folder / "log"
    bundle = node.bundle(busybox, "true", annotations={"cdi.k8s.io/test": "nvidia.com/gpu=9"})
    options = ("--log", str(log), "--log-format", "json")
    result = node.shim.call(*options, "create", "--bundle", str(bundle.path), node.container)
    assert result.returncode == 1
    record = json.loads(log.read_text())
    assert sorted(record) == ["level", "msg", "time"]
    assert "nvidia.com/gpu=9" in record["msg"]


def test_a_user_namespace(node: Node, glibc: Path) -> None:
    """Youki 0.7.0 has no mapped mounts, which CDI asks for: they are not asked for."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL, user_namespace=True)
    bundle.give_to(200000)
    result = node.run(bundle)
    assert (result.returncode, result.stderr) == (0, "")
