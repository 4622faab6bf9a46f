"""Hosts on which no memory can be executed: vm.memfd_noexec = 2, which a PID namespace has for itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import libs
from tests.hookcall import call
from tests.trees import make_tree
from tools.lab.shim import PROGRAMS

pytestmark = pytest.mark.root

STRICT = (
    "unshare", "-p", "-f", "-m", "--mount-proc", "sh", "-c",
    'echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"', "sh",
)  # fmt: skip
EXECUTES = "import os; os.memfd_create('x', os.MFD_CLOEXEC | 0x10)"  # MFD_EXEC


def test_the_host_is_what_it_is_said_to_be() -> None:
    """Where this fails the others show nothing."""
    done = subprocess.run(
        [*STRICT, "/usr/bin/python3", "-c", EXECUTES], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in done.stderr
    assert Path("/proc/sys/vm/memfd_noexec").read_text() == "0\n", "the test's host has its own"


def test_update_ldcache_works(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir etc")
    libs.put(libs.library("liba.so.1"), root / "opt/lib/liba.so.1.2")
    done = call(root, "update-ldcache", "--folder", "/opt/lib", under=STRICT)
    assert (done.status, done.stderr) == (0, "")
    assert b"/opt/lib/liba.so.1\0" in (root / "etc/ld.so.cache").read_bytes()


def test_doctor_names_it() -> None:
    command = [*STRICT, str(PROGRAMS / "pyshimctl"), "doctor"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "the kernel gives no memory that can be executed" in said
    assert "vm.memfd_noexec is 2" in said
