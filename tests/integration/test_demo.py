"""`make demo` shows the main job, says `ok` to every claim, and leaves nothing behind."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.integration.conftest import TOKEN
from tools.lab import cgroups, leaks
from tools.lab.driver import MULTIARCH
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tools.lab.compiler import Compiler

pytestmark = pytest.mark.root

LIB = f"/usr/lib/{MULTIARCH}"


def _start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the demo with its output in a pipe and its files in `folder`."""
    need("runc")
    need("gcc")
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "tools.demo"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_claim_holds(tmp_path: Path) -> None:
    demo = _start(tmp_path)
    output = demo.communicate(timeout=240)[0]
    assert demo.returncode == 0, output
    assert output.count("   ok  ") == 11
    assert "NOT SO" not in output
    assert f"libcuda.so.1 => {LIB}/libcuda.so.1" in output
    assert "\x1b" not in output, "colours although this is no terminal"


def test_another_demo_beside_it(tmp_path: Path) -> None:
    """What that one has not removed yet is not counted as left behind by this one."""
    demo = _start(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "   command " in line:
            break
    another = f"pyshim-demo-{TOKEN}"
    cgroups.make(another)
    try:
        output = demo.communicate(timeout=240)[0]
    finally:
        cgroups.remove(another)
    assert demo.returncode == 0, output


def test_libraries_of_a_driver(tmp_path: Path, compiler: Compiler) -> None:
    """DRIVER_LIBS names a folder; its version is the driver's, all its libraries are mounted."""
    given = tmp_path / "given"
    given.mkdir()
    for stem in ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"):
        shutil.copy(compiler.library(f"{stem}.so.1"), given / f"{stem}.so.999.1.2")

    demo = _start(tmp_path, DRIVER_LIBS=str(given))
    output = demo.communicate(timeout=240)[0]

    assert demo.returncode == 0, output
    assert f"      ro {LIB}/libcuda.so.999.1.2\n" in output
    assert f"{LIB}/libnvidia-ptxjitcompiler.so.1 -> libnvidia-ptxjitcompiler.so.999.1.2" in output


@pytest.mark.parametrize("delay", [0.0, 0.04, 0.08, 0.12, 0.16], ids="{}s".format)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_interrupted_in_the_middle(tmp_path: Path, number: int, delay: float) -> None:
    """The leak check after each test looks for the rest."""
    demo = _start(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "   command " in line:
            break
    time.sleep(delay)
    demo.send_signal(number)
    output = demo.communicate(timeout=300)[0]
    assert demo.returncode == 130, output
    assert "interrupted" in output
    assert glob.glob(f"{tmp_path}/pyshim-demo-*") == []
    assert leaks.cgroups(f"pyshim-demo-{demo.pid}") == set()
