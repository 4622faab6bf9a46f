"""Another container in the PID namespace of a container that starts: it sees the hooks at work.

A pod's shareProcessNamespace, `--pid=container:NAME`, `--pid=host`. Who works for the hooks is root
with few capabilities, or nobody with none, and its root is the host's until the runtime pivots: to
be entered by whoever has the same user and no fewer capabilities, were it as other processes are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.hooks import sandbox
from ocishim.linux import const, syscalls
from ocishim.oci import hooktable
from tests import libs
from tests.hookcall import Call
from tests.isolated import run

pytestmark = pytest.mark.root

HOUSE = Path(__file__).parents[2]
START = (
    f"import sys; sys.path[:0] = [{str(HOUSE)!r}]; "
    "from ocishim.hooks.program import start; start(sys.argv[1:])"
)
SLEEPS = "#include <unistd.h>\nint main(void) { for (;;) pause(); }"
WAYS = ("root/.", "cwd/.", "exe", "mem", "fd/0")


def _reached(pid: int, become: Callable[[], object]) -> list[str]:
    """Which of the process's files another one opens, once it has become what it is."""
    reader, writer = os.pipe()

    def look() -> None:
        become()
        for way in WAYS:
            try:
                os.open(f"/proc/{pid}/{way}", os.O_RDONLY)
            except PermissionError:
                continue
            os.write(writer, way.encode() + b"\n")

    try:
        run(look, flags=0)
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        return file.read().split()


def _root() -> None:
    """With all capabilities but that over processes; a container has 14 unless it is given more."""
    kept = syscalls.capget()[1] & ~(1 << const.CAP_SYS_PTRACE)
    syscalls.capset(kept, kept, 0)


def _nobody() -> None:
    os.setgroups([])
    os.setresgid(sandbox.NOBODY, sandbox.NOBODY, sandbox.NOBODY)
    os.setresuid(sandbox.NOBODY, sandbox.NOBODY, sandbox.NOBODY)


FLAGS = {"chmod": ["--mode", "1"]}


@pytest.mark.parametrize("name", hooktable.HOOKS)
def test_a_hook_is_not_entered(name: str) -> None:
    """It waits for the state of its container."""
    words = [sys.executable, "-I", "-S", "-c", START, name, *FLAGS.get(name, ())]
    started = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={"A": "1"})
    try:
        status = Path(f"/proc/{started.pid}/status")
        end = time.monotonic() + 20
        while "NoNewPrivs:\t0" in status.read_text() and time.monotonic() < end:
            time.sleep(0.01)
        assert "NoNewPrivs:\t1" in status.read_text()
        assert _reached(started.pid, _root) == []
    finally:
        started.communicate(b"{}")


def test_ldconfig_is_not_entered(tmp_path: Path) -> None:
    program = str(libs.static_program(SLEEPS))
    (tmp_path / "opt/lib").mkdir(parents=True)
    hook = Call(tmp_path, "chain", "--rootfs", str(tmp_path), "--timeout", "4",
                "update-ldcache", "--folder", "/opt/lib", "--ldconfig-path", program)  # fmt: skip
    try:
        end = time.monotonic() + 3
        found: list[int] = []
        while not found and time.monotonic() < end:
            time.sleep(0.01)
            found = [pid for pid in hook.children() if _is_at_work(pid)]
        assert found
        assert _reached(found[0], _nobody) == []
        assert _reached(found[0], _root) == []
    finally:
        hook.wait()


def _is_at_work(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/exe").startswith("/memfd:")
