"""pyshim is transparent: stdio, exit status, signals, descriptors and names pass through.

Each fact is compared with the bare low-level runtime where there is something to compare.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tools.lab.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

GPU = {"cdi.k8s.io/test": "nvidia.com/gpu=0"}


@pytest.fixture(autouse=True)
def _gpu(node: Node) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")


def test_stdio_is_the_containers(node: Node, busybox: Path) -> None:
    bundle = node.bundle(busybox, "tr a-z A-Z; echo problem >&2", annotations=GPU)
    result = node.shim.run(bundle, node.container, stdin="to the container\n")
    assert (result.stdout, result.stderr) == ("TO THE CONTAINER\n", "problem\n")


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status_is_the_containers(node: Node, busybox: Path, status: int) -> None:
    result = node.run(node.bundle(busybox, f"exit {status}", annotations=GPU))
    assert (result.returncode, result.stderr) == (status, "")


def test_state_is_the_low_level_runtimes(node: Node, busybox: Path) -> None:
    assert node.shim.create(node.bundle(busybox, "true"), node.container).returncode == 0
    bare = Runtime(node.shim.lowlevel, node.shim.root)
    by_shim, by_runtime = (runtime.call("state", node.container) for runtime in (node.shim, bare))
    assert json.loads(by_shim.stdout)["status"] == "created"
    assert by_shim.stdout == by_runtime.stdout
    assert by_shim.stderr == ""


def test_unknown_container_is_the_low_level_runtimes_error(node: Node) -> None:
    bare = Runtime(node.shim.lowlevel, node.shim.root)
    by_shim, by_runtime = (runtime.call("state", "nobody") for runtime in (node.shim, bare))
    assert by_shim.returncode == by_runtime.returncode == 1
    # runc's text log carries the time.
    assert by_shim.stderr.partition("level")[2] == by_runtime.stderr.partition("level")[2]


def test_a_broken_configuration_blocks_neither_kill_nor_delete(
    node: Node,
    busybox: Path,
) -> None:
    assert node.shim.create(node.bundle(busybox, "sleep 100"), node.container).returncode == 0
    assert node.shim.call("start", node.container).returncode == 0
    with node.shim.config.open("a") as config:
        config.write("[this is no TOML\n")

    assert node.shim.call("kill", node.container, "KILL").returncode == 0
    assert node.shim.delete(node.container).returncode == 0
    assert node.shim.call("state", node.container).returncode == 1


def test_a_container_called_create(node: Node, busybox: Path) -> None:
    bundle = node.bundle(busybox, "true", annotations=GPU)
    try:
        assert node.shim.create(bundle, "create").returncode == 0
        edited = bundle.config.read_bytes()
        assert json.loads(node.shim.call("state", "create").stdout)["id"] == "create"
        assert node.shim.call("kill", "create", "KILL").returncode == 0
        assert bundle.config.read_bytes() == edited
    finally:
        assert node.shim.delete("create").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_container(node: Node, busybox: Path, number: int) -> None:
    """A foreground `run` hands them on; pyshim is that process."""
    script = f"trap 'exit {number + 50}' {number}; echo ready; while :; do sleep 0.05; done"
    bundle = node.bundle(busybox, script, annotations=GPU)
    with subprocess.Popen(
        node.shim.argv("run", "--bundle", str(bundle.path), node.container),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=node.shim.environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # busybox announces before the next loop begins; the trap is set by then.
        process.send_signal(number)
        assert process.wait(20) == number + 50


def test_preserved_descriptors_reach_the_container(node: Node, busybox: Path) -> None:
    bundle = node.bundle(busybox, "cat <&3", annotations=GPU)
    text = node.folder / "text"
    text.write_text("through descriptor 3\n")
    command = node.shim.argv(
        "run",
        "--preserve-fds",
        "1",
        "--bundle",
        str(bundle.path),
        node.container,
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$@" 3<{text}', *command],
        env=node.shim.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[0] == "through descriptor 3", done


def test_pid_file_and_default_bundle(node: Node, busybox: Path) -> None:
    """Without --bundle the working directory is the bundle."""
    bundle = node.bundle(busybox, "sleep 100", annotations=GPU)
    done = subprocess.run(
        node.shim.argv("create", "--pid-file", "pid", node.container),
        cwd=bundle.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=node.shim.environment,
        check=False,
    )
    assert done.returncode == 0
    pid = int((bundle.path / "pid").read_text())
    assert json.loads(node.shim.call("state", node.container).stdout)["pid"] == pid
    assert "/dev/nvidia0" in [entry["path"] for entry in bundle.spec["linux"]["devices"]]


def test_the_process_stays_the_same(node: Node, busybox: Path) -> None:
    """Engines send signals to, and wait for, the process they started: it becomes the runtime."""
    bundle = node.bundle(busybox, "sleep 100", annotations=GPU)
    with subprocess.Popen(
        node.shim.argv("run", "--bundle", str(bundle.path), node.container),
        stdin=subprocess.DEVNULL,
        env=node.shim.environment,
    ) as process:
        deadline = time.monotonic() + 60
        while os.path.basename(_program(process.pid)) not in {b"runc", b"crun"}:
            assert time.monotonic() < deadline, _program(process.pid)
            time.sleep(0.02)
        while '"running"' not in node.shim.call("state", node.container).stdout.replace(" ", ""):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        node.shim.call("kill", node.container, "KILL")
        assert process.wait(20) == 128 + signal.SIGKILL


def _program(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0]
