"""A container of the spec that `pyshimctl cdi generate` makes of a host's layout."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tools.generate_matrix.layouts import LAYOUTS, NODES, PROGRAMS, Host
from tools.lab.driverroot import elf
from tools.lab.shim import PROGRAMS as OURS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

LOADED = ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-nvvm.so.1", "libnvidia-encode.so.1")
SCRIPT = f"""\
for name in {" ".join(LOADED)}; do load $name; done
for name in {" ".join(NODES)}; do test -c /dev/$name && echo $name; done
for name in {" ".join(PROGRAMS)}; do command -v $name >/dev/null && echo $name; done
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_container_has_its_gpu(node: Node, glibc: Path, layout: str) -> None:
    """Libraries by their SONAME as programs load them, nodes, programs on the PATH."""
    host = Host(node.folder / "host", elf("libnvidia-ml.so.1"))
    LAYOUTS[layout](host)
    spec = node.shim.spec_dir / "nvidia.yaml"
    made = subprocess.run(
        [
            *(OURS / "pyshimctl", "cdi", "generate", "--mode", "nvidia", "--output", spec),
            *("--driver-root", host.root, "--hook-path", OURS / "pyshim-hook"),
        ],
        env={**os.environ, **node.shim.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made
    bundle = node.bundle(glibc, SCRIPT, annotations={"cdi.k8s.io/test": "nvidia.com/gpu=0"})
    result = node.run(bundle)
    loaded = [line.partition(" => ")[0] for line in result.stdout.splitlines() if " => " in line]
    others = [line for line in result.stdout.splitlines() if " => " not in line]
    assert (loaded, result.stderr) == ([*LOADED], ""), result
    assert others == [*NODES, *PROGRAMS], result
