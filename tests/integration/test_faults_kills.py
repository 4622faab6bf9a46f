"""The engine's deadline, SIGKILL to the runtime, at random moments of create: nothing stays.

By whom the hooks are run, and with a layer over the rootfs. The fixture of all integration tests
counts mounts, processes and files; control groups are runc's and are told apart here.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.trees import names
from tools.lab import images, leaks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
_MOMENTS = 50
_LAST = 0.16  # seconds; a create that is left alone takes 0.1 to 0.2


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    need("runc")
    return lowlevels["runc"]


@pytest.mark.parametrize("setting", ["runtime", "shim", "layer"])
def test_killed_at_any_moment(node: Node, glibc: Path, setting: str) -> None:
    executor = "shim" if setting == "shim" else "runtime"
    node.shim.configure({"hooks.executor": executor, "hooks.readonly_rootfs": "overlay"})
    node.add_spec("nvidia-dgx-a100.yaml")
    with images.Mounts() as mounts:
        if setting == "layer":
            need(images.MAKERS["erofs"][0])
            bundle = node.bundle(None, "sleep 100", annotations=ALL)
            mounts.add("erofs", glibc, bundle.rootfs)
        else:
            bundle = node.bundle(glibc, "sleep 100", annotations=ALL)
        _kill_at_random(node, bundle)
        assert node.shim.create(bundle, node.container).returncode == 0
        node.shim.delete(node.container)


def _kill_at_random(node: Node, bundle: Bundle) -> None:
    before, host = bundle.config.read_bytes(), leaks.mounts()
    moments = random.Random(3)
    outcomes = set()
    for _ in range(_MOMENTS):
        with subprocess.Popen(
            node.shim.argv("create", "--bundle", str(bundle.path), node.container),
            env=node.shim.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(moments.uniform(0, _LAST))
            process.send_signal(signal.SIGKILL)
        outcomes.add(process.returncode)
        found = bundle.config.read_bytes()
        assert (
            found == before or "nvidia.com" in json.loads(found)["annotations"]["cdi.k8s.io/test"]
        )
        node.shim.delete(node.container)
        assert leaks.mounts() == host
        bundle.config.write_bytes(before)
    assert -signal.SIGKILL in outcomes
    _wait_for_orphans()
    _without_killed_writes(bundle)
    # runc killed before it has written its state leaves its cgroup, with or without pyshim.
    for line in sorted(leaks.cgroups(node.container), reverse=True):
        os.rmdir(line.removeprefix("cgroup "))


def _wait_for_orphans() -> None:
    deadline = time.monotonic() + 60
    while left := leaks.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _without_killed_writes(bundle: Bundle) -> None:
    """At most one unfinished file of each name, which the next create takes over."""
    unfinished = [name for name in names(bundle.path) if ".pyshim" in name]
    assert len(unfinished) <= 1 + len({os.path.dirname(name) for name in unfinished}), unfinished


def test_killed_while_a_hook_runs(node: Node, busybox: Path) -> None:
    """The hook, what it started and what ran it go with pyshim."""
    started = node.folder / "started"
    script = f"setsid sleep 60 & touch {started}; sleep 60"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    node.shim.configure({"hooks.executor": "shim"})
    bundle = node.bundle(busybox, "true", hooks={"createContainer": [hook]})
    with subprocess.Popen(
        node.shim.argv("create", "--bundle", str(bundle.path), node.container),
        env=node.shim.environment,
        stdin=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert started.exists()
