"""A CDI device reaches a container on runc and crun: nodes, environment, mounts, links, cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.lab import driver
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

GPU = {
    "cdi.k8s.io/nvidia-device-plugin_0": "k8s.device-plugin.nvidia.com/gpu=GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1",
}
ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LIB = f"/usr/lib/{MULTIARCH}"


def test_device_nodes_are_there(node: Node, busybox: Path) -> None:
    node.add_spec("k8s-device-plugin.json")
    script = "cd /dev && stat -c '%n %F %t:%T' nvidia*; echo written > nvidia0"

    result = node.run(node.bundle(busybox, script, annotations=GPU))

    assert result.returncode == 0, result
    assert result.stdout.splitlines() == [
        f"{name} character special file 1:3"
        for name in ("nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl")
    ]
    assert result.stderr == ""


def test_other_devices_are_not(node: Node, busybox: Path) -> None:
    node.add_spec("k8s-device-plugin.json")
    result = node.run(node.bundle(busybox, "ls /dev/nvidia1", annotations=GPU))
    assert "No such file" in result.stderr


def test_environment_is_set(node: Node, busybox: Path) -> None:
    node.add_spec("k8s-device-plugin.json")
    result = node.run(node.bundle(busybox, "env", annotations=GPU))
    assert "NVIDIA_VISIBLE_DEVICES=void" in result.stdout.splitlines()


def test_mounts_are_read_only_files_of_the_driver(node: Node, busybox: Path) -> None:
    node.add_spec("k8s-device-plugin.json")
    script = "nvidia-smi; grep -c libnvidia-ml /proc/self/mounts; echo x >> /usr/bin/nvidia-smi"

    result = node.run(node.bundle(busybox, script, annotations=GPU))

    assert result.stdout.splitlines() == ["nvidia-smi: stand-in, no GPU here", "1"]
    assert "Read-only file system" in result.stderr


def test_symlinks_are_made(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    script = (
        f"cd {LIB} && for link in libcuda.so libcuda.so.1 gbm/nvidia-drm_gbm.so; "
        "do readlink $link; done"
    )

    result = node.run(node.bundle(busybox, script, annotations=ALL))

    assert result.returncode == 0, result
    assert result.stdout.splitlines() == [
        "libcuda.so.1",
        "libcuda.so.570.86.15",
        "../libnvidia-allocator.so.1",
    ]


def test_a_program_loads_the_driver_by_name(node: Node, glibc: Path) -> None:
    """The loader does not know the folder vdpau: only ld.so.cache can have said it."""
    node.add_spec("nvidia-dgx-a100.yaml")
    names = "libcuda.so.1 libnvidia-ml.so.1 libGLX_nvidia.so.0 libvdpau_nvidia.so.1"

    result = node.run(node.bundle(glibc, f"load {names}", annotations=ALL))

    assert result.returncode == 0, result
    assert result.stdout.splitlines() == [
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
        f"libnvidia-ml.so.1 => {LIB}/libnvidia-ml.so.1",
        f"libGLX_nvidia.so.0 => {LIB}/libGLX_nvidia.so.0",
        f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
    ]


def test_without_a_request_nothing_is_added(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(busybox, "ls /dev; env")
    before = bundle.config.read_bytes()

    result = node.run(bundle)

    assert result.returncode == 0, result
    assert "nvidia" not in result.stdout.lower()
    assert bundle.config.read_bytes() == before


def test_create_and_start_give_what_run_gives(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    script = f"(ls -l /dev {LIB} | awk '{{print $1, $NF}}'; env; cut -d' ' -f2,3 /proc/mounts)"
    bundle = node.bundle(busybox, f"{script} | sort > /seen", annotations=ALL)
    original = bundle.config.read_bytes()
    assert node.run(bundle).returncode == 0
    by_run = (bundle.rootfs / "seen").read_text()
    edited_by_run = bundle.config.read_bytes()
    bundle.config.write_bytes(original)

    created = node.shim.create(bundle, node.container)
    started = node.shim.start_and_wait(node.container)

    assert (created.returncode, started.returncode) == (0, 0), created
    assert bundle.config.read_bytes() == edited_by_run
    assert (bundle.rootfs / "seen").read_text() == by_run
    assert "nvidia-modeset" in by_run


def test_second_create_changes_nothing(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(busybox, "true", annotations=ALL)
    assert node.shim.create(bundle, node.container).returncode == 0
    node.shim.delete(node.container)
    edited = bundle.config.read_bytes()
    inode = bundle.config.stat().st_ino

    again = node.shim.create(bundle, node.container)

    assert again.returncode == 0, again
    assert bundle.config.read_bytes() == edited
    assert bundle.config.stat().st_ino == inode, "written again although nothing changed"


def test_user_namespace(node: Node, glibc: Path) -> None:
    """The mapped root reads neither root's private folders nor files it does not own."""
    node.add_spec("nvidia-dgx-a100.yaml", _only_a_host_device)
    script = "cat /proc/self/uid_map; ls /dev/kmsg; load libcuda.so.1 libvdpau_nvidia.so.1"
    bundle = node.bundle(glibc, script, annotations=ALL, user_namespace=True)
    bundle.give_to(200000)

    result = node.run(bundle)

    assert result.returncode == 0, result
    assert result.stdout.split()[:3] == ["0", "200000", "65536"]
    assert result.stdout.splitlines()[1:] == [
        "/dev/kmsg",
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
        f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
    ]


def _only_a_host_device(document: driver.Document) -> None:
    """In a user namespace runc binds the host's node of the same path, so it must be there."""
    for edits in driver.all_edits(document):
        edits["deviceNodes"] = [{"path": "/dev/kmsg"}]
