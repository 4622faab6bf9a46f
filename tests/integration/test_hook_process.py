"""The process that does the hooks' work, started by a real runtime: where it is, what it may and has."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocishim.hookplan import knownhooks
from tests import libs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Node
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

TIMEOUT = 8
STARTED = 60  # seconds a busy machine may take until the hook runs
SLEEPS = "#include <unistd.h>\nint main(void) { for (;;) sleep(100); }"


class Working:
    """A create whose hooks wait for an ldconfig that sleeps; `pid` is that of pyshim-hook."""

    def __init__(self, node: Node, busybox: Path) -> None:
        node.shim.configure({"hooks.timeout": TIMEOUT})
        node.shim.environment["SECRET_OF_THE_ENGINE"] = "x"
        program = str(libs.static_program(SLEEPS))
        args = ["nvidia-cdi-hook", "update-ldcache", "--folder", "/lib", "--ldconfig-path", program]
        hook = {"path": "/usr/bin/nvidia-cdi-hook", "args": args}
        bundle = node.bundle(busybox, "true", hooks={"createContainer": [hook]})
        self.results: list[Result] = []
        self.thread = threading.Thread(
            target=lambda: self.results.append(node.shim.create(bundle, node.container))
        )
        self.begun = time.monotonic()
        self.thread.start()
        try:
            self.pid = self._find(os.fsencode(bundle.path))
        except AssertionError:
            self.end()
            raise

    def _find(self, bundle: bytes) -> int:
        while time.monotonic() < self.begun + STARTED:
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    line = (path / "cmdline").read_bytes()
                    if b"\0chain\0" in line and bundle in line and self._children(path):
                        return int(path.name)
                except OSError:
                    continue
            time.sleep(0.01)
        raise AssertionError("no hook was started")

    @staticmethod
    def _children(path: Path) -> str:
        return (path / "task" / path.name / "children").read_text()

    def end(self) -> tuple[Result, float]:
        self.thread.join()
        return self.results[0], time.monotonic() - self.begun


@pytest.fixture
def working(node: Node, busybox: Path) -> Iterator[Working]:
    found = Working(node, busybox)
    yield found
    found.end()


def test_it_is_the_containers(node: Node, working: Working) -> None:
    """In its control groups; it has a hook's environment, and no capability but its work's."""
    process = Path(f"/proc/{working.pid}")
    in_groups = Path(node.shim.lowlevel).name == "runc"  # the lab's crun has none
    groups = dict(line.split(":", 2)[1:] for line in (process / "cgroup").read_text().splitlines())
    for controller in ("cpu", "memory", "pids", "devices") if "devices" in groups else ("",):
        assert (node.container in groups[controller]) == in_groups, groups
    assert (process / "environ").read_text() == "".join(f"{x}\0" for x in knownhooks.MINIMAL_ENV)
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16).bit_count() == int(status["CapPrm"], 16).bit_count() == 8
    child = working._children(process).split()[0]
    assert (node.container in Path(f"/proc/{child}/cgroup").read_text()) == in_groups


def test_an_ldconfig_that_hangs_is_left_in_time(node: Node, working: Working) -> None:
    result, _ = working.end()
    assert result.returncode == 0, result
    assert "update-ldcache: ldconfig was not done after" in node.shim.warnings


def test_stopped_it_ends_at_the_timeout(working: Working) -> None:
    child = int(working._children(Path(f"/proc/{working.pid}")).split()[0])
    os.kill(working.pid, signal.SIGSTOP)
    result, seconds = working.end()
    assert result.returncode == 1
    assert TIMEOUT * 0.9 < seconds < TIMEOUT + 20  # crun waits for a minute and more
    assert not Path(f"/proc/{working.pid}").exists()
    assert not Path(f"/proc/{child}").exists()
