"""crun before 1.26 makes the root read-only before it runs hooks: pyshim runs them earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LIB = f"/usr/lib/{MULTIARCH}"
SCRIPT = "load libcuda.so.1 libvdpau_nvidia.so.1; echo x > /file"


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """The distribution's crun, under the version number that makes pyshim careful.

    crun 1.26 and later only lie about their age here: hooks run early suit them as well.
    """
    need("crun")
    program = tmp_path / "old/crun"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo "crun version 1.8.1"\n'
        f'exec {lowlevels["crun"]} "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_when_writable_the_hooks_have_run(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    result = node.run(node.bundle(glibc, SCRIPT, annotations=ALL, readonly=True))
    assert result.stdout.splitlines() == [
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
        f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
    ], result
    assert "Read-only file system" in result.stderr


def test_an_unknown_hook_can_write_too(node: Node, busybox: Path) -> None:
    node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo made > made"]}
    bundle = node.bundle(busybox, "cat /made", readonly=True, hooks={"createContainer": [hook]})
    assert node.run(bundle).stdout == "made\n"


def test_what_only_mounts_stays_with_crun(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    bundle = node.bundle(glibc, "true", annotations=ALL, readonly=True)
    assert node.run(bundle).returncode == 0
    (hook,) = bundle.spec["hooks"]["createContainer"]
    assert "disable-device-node-modification" in hook["args"]
    assert "update-ldcache" not in hook["args"]


def test_a_writable_root_is_left_to_crun(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "load libcuda.so.1", annotations=ALL)
    assert node.run(bundle).returncode == 0
    (hook,) = bundle.spec["hooks"]["createContainer"]
    assert "update-ldcache" in hook["args"]
