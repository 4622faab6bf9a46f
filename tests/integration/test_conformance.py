"""The conformance kit on a real runtime: runc passes, pyshim passes, no mutant does.

One case of each kind; `make conformance` runs all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from tools.lab.shim import Shim

KIT = Path(__file__).parents[2] / "conformance"
REFERENCE = ("command-line", "lifecycle", "hooks")

pytestmark = [
    pytest.mark.root,
    pytest.mark.parametrize("lowlevel", ["runc"], indirect=True),
    pytest.mark.xdist_group("conformance"),  # it runs its cases in parallel itself
]


def _environment(tmp_path: Path) -> dict[str, str]:
    need("busybox")
    config = tmp_path / "config.toml"
    config.write_text('runtimes = ["runc"]\n[hooks]\nreadonly_rootfs = "overlay"\n')
    own = {"PYSHIM_CONFIG": str(config), "PYSHIM_CACHE_DIR": str(tmp_path / "cache")}
    return {**os.environ, **own}


def _run(tmp_path: Path, program: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(KIT / program), *argv],
        env=_environment(tmp_path),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _failures(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode in (0, 1), done.stderr
    cases = json.loads(done.stdout)["cases"]
    assert cases
    return [case for case in cases if case["outcome"] == "fail" and not case["expected"]]


def test_runc_passes_what_the_specification_asks_of_any_runtime(
    tmp_path: Path, lowlevel: Path
) -> None:
    areas = [flag for area in REFERENCE for flag in ("--area", area)]
    done = _run(tmp_path, "run.py", "--brief", "--json", "--runtime", str(lowlevel), *areas)
    assert _failures(done) == []


def test_pyshim_passes_a_case_of_each_kind(tmp_path: Path, shim: Shim) -> None:
    hook = str(Path(shim.program).with_name("pyshim-hook"))
    done = _run(
        tmp_path,
        "run.py",
        "--brief",
        "--json",
        "--name",
        "pyshim-overlay/runc",
        "--runtime",
        shim.program,
        "--hook",
        hook,
    )
    assert _failures(done) == []


def test_each_mutant_is_caught_and_by_no_stranger(tmp_path: Path, shim: Shim) -> None:
    hook = str(Path(shim.program).with_name("pyshim-hook"))
    done = _run(tmp_path, "check_mutants.py", "--runtime", shim.program, "--hook", hook)
    assert done.returncode == 0, done.stdout + done.stderr
