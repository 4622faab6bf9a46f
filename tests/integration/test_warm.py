"""A real runtime's hooks are done by the process that pyshim left it: no interpreter is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocishim.admin import launchers
from tests.integration.test_devices import ALL, LIB

if TYPE_CHECKING:
    from tests.integration.conftest import Node

pytestmark = pytest.mark.root


@pytest.mark.parametrize("command", ["run", "create"])
def test_a_runtime_finds_it(node: Node, glibc: Path, command: str) -> None:
    programs = node.folder / "programs"
    launchers.write(str(programs))
    (programs / "pyshim-hook").write_text("#!/bin/sh\necho an interpreter is started >&2\nexit 1\n")
    node.shim.program = str(programs / "pyshim")
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "load libcuda.so.1", annotations=ALL)

    if command == "run":
        result = node.run(bundle)
        assert result.returncode == 0, result
        assert result.stdout == f"libcuda.so.1 => {LIB}/libcuda.so.1\n"
    else:
        result = node.shim.create(bundle, node.container)
        assert result.returncode == 0, result
    assert (bundle.rootfs / "etc/ld.so.cache").exists()
    assert "an interpreter is started" not in result.stderr


def test_a_failing_hook_is_told_by_it(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "load libcuda.so.1", annotations=ALL)
    os.mkfifo(bundle.rootfs / "etc/ld.so.conf")
    result = node.run(bundle)
    assert result.returncode == 1
    if Path(node.shim.lowlevel).name == "runc":  # crun shows no hook's output
        assert "hook update-ldcache failed: '/etc/ld.so.conf' is a fifo" in result.stderr
