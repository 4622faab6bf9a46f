"""A pod on gVisor: the second container's root is opened by `start`, from the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from ocishim.admin.checks import leftovers
from ocishim.admin.checks.node import Node as AdminNode
from ocishim.admin.host import Host
from tests.conftest import missing, need
from tools.lab import gvisor, images, leaks
from tools.lab.bundle import Bundle, make_spec
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

LIB = f"/usr/lib/{MULTIARCH}"
SEEN = [
    f"libcuda.so.1 => {LIB}/libcuda.so.1",
    f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
]
KIND = "io.kubernetes.cri.container-type"


@pytest.fixture(params=["distribution", "backports"])
def lowlevel(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each version of runsc that runs no createContainer hook."""
    program = need("runsc") if request.param == "distribution" else gvisor.backports()
    if not program:
        missing("runsc of the backports cannot be fetched")
    return gvisor.wrapper(tmp_path / request.param, program)


class Pod:
    """A sandbox that sleeps, and a bundle for a container in it that writes what it sees."""

    def __init__(self, node: Node, tree: Path) -> None:
        self.node = node
        self.sandbox = f"sandbox-{node.container}"
        self.out = node.folder / "mnt/out"
        self.out.parent.mkdir()
        self.pause = Bundle(node.folder / "pause")
        shutil.copytree(tree, self.pause.rootfs, symlinks=True)
        self.pause.write(make_spec(["/bin/sleep", "100"], annotations={KIND: "sandbox"}))
        marks = {
            "cdi.k8s.io/test": "nvidia.com/gpu=all",
            KIND: "container",
            "io.kubernetes.cri.sandbox-id": self.sandbox,
        }
        script = "load libcuda.so.1 libvdpau_nvidia.so.1 > /mnt/out 2>&1; touch /new /mnt/done"
        self.bundle = node.bundle(None, script, annotations=marks, readonly=True)
        spec = self.bundle.spec
        del spec["linux"]["cgroupsPath"]  # runsc would leave it behind, cgroups ignored or not
        spec["mounts"].append(
            {
                "destination": "/mnt",
                "type": "bind",
                "source": str(self.out.parent),
                "options": ["rbind"],
            }
        )
        self.bundle.write(spec)

    def start(self) -> None:
        """Create and start the sandbox."""
        for command in (("create", "--bundle", str(self.pause.path)), ("start",)):
            result = self.node.shim.call(*command, self.sandbox)
            assert result.returncode == 0, result

    def create(self) -> Result:
        """Create the container."""
        return self.node.shim.create(self.bundle, self.node.container)

    def seen(self) -> list[str]:
        """Start the container; return what it wrote."""
        started = self.node.shim.call("start", self.node.container)
        assert started.returncode == 0, started
        deadline = time.monotonic() + 60
        while not self.out.with_name("done").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.out.read_text().splitlines()

    def end(self) -> None:
        """Delete both."""
        for container in (self.node.container, self.sandbox):
            self.node.shim.delete(container)


@pytest.fixture
def pod(node: Node, glibc: Path) -> Iterator[Pod]:
    """A running sandbox."""
    node.add_spec("nvidia-dgx-a100.yaml")
    pod = Pod(node, glibc)
    pod.start()
    yield pod
    pod.end()


def _unmount_as_containerd_does(rootfs: Path) -> int:
    """Unmount until there is nothing: mount.UnmountAll. Return how many it took."""
    count = 0
    while subprocess.run(["umount", rootfs], check=False, capture_output=True).returncode == 0:
        count += 1
    return count


def test_hooks_write_to_the_folder(pod: Pod, glibc: Path) -> None:
    pod.node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    shutil.copytree(glibc, pod.bundle.rootfs, symlinks=True)
    assert pod.create().returncode == 0
    assert pod.seen() == SEEN


def test_overlay_lies_on_the_engines_mount(pod: Pod, glibc: Path) -> None:
    """It goes when the engine unmounts the rootfs, which it does until nothing is there."""
    pod.node.shim.configure({"hooks.readonly_rootfs": "overlay"})
    images.Mounts().add("erofs", glibc, pod.bundle.rootfs)
    try:
        created = pod.create()
        assert created.returncode == 0, created
        assert pod.seen() == SEEN
        pod.node.shim.delete(pod.node.container)
    finally:
        assert _unmount_as_containerd_does(pod.bundle.rootfs) == 3


def test_a_second_create_uses_the_layer_there_is(pod: Pod, glibc: Path) -> None:
    pod.node.shim.configure({"hooks.readonly_rootfs": "overlay"})
    images.Mounts().add("erofs", glibc, pod.bundle.rootfs)
    try:
        assert pod.create().returncode == 0
        pod.node.shim.delete(pod.node.container)
        assert pod.create().returncode == 0
        assert pod.seen() == SEEN
    finally:
        assert _unmount_as_containerd_does(pod.bundle.rootfs) == 3


def test_a_failed_hook_takes_the_layer_along(pod: Pod, glibc: Path) -> None:
    pod.node.shim.configure({"hooks.readonly_rootfs": "overlay"})
    images.Mounts().add("erofs", glibc, pod.bundle.rootfs)
    spec = pod.bundle.spec
    spec["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    pod.bundle.write(spec)
    try:
        assert "createContainer hook false failed: exit status 1" in pod.create().stderr
    finally:
        assert _unmount_as_containerd_does(pod.bundle.rootfs) == 1


def test_a_plain_folder_is_refused(pod: Pod, glibc: Path) -> None:
    pod.node.shim.configure({"hooks.readonly_rootfs": "overlay"})
    shutil.copytree(glibc, pod.bundle.rootfs, symlinks=True)
    before = leaks.mounts()
    result = pod.create()
    assert result.returncode == 1
    assert "gVisor opens" in result.stderr
    assert leaks.mounts() == before


def test_after_a_crash_the_doctor_takes_the_layer_away(pod: Pod, glibc: Path) -> None:
    """Everything is killed, and the engine's clean-up did not come: --fix, and create works."""
    pod.node.shim.configure({"hooks.readonly_rootfs": "overlay"})
    images.Mounts().add("erofs", glibc, pod.bundle.rootfs)
    node = AdminNode(Host("/"))
    try:
        before = leaks.mounts()
        assert pod.create().returncode == 0
        assert leftovers.fix_layers(node) == [], "the pod's sandbox runs"
        _kill_everything()
        pod.node.shim.root.rename(pod.node.folder / "crashed")
        for file in pod.pause.rootfs.glob(".gvisor.filestore.*"):  # the next pod has a new snapshot
            file.unlink()
        assert leftovers.fix_layers(node) == [f"the layer over {pod.bundle.rootfs} is unmounted"]
        assert leaks.mounts() == before
        pod.start()
        assert pod.create().returncode == 0
        assert pod.seen() == SEEN
        pod.node.shim.delete(pod.node.container)
    finally:
        _unmount_as_containerd_does(pod.bundle.rootfs)


def _kill_everything() -> None:
    deadline = time.monotonic() + 60
    while left := leaks.processes():
        for line in left:
            os.kill(int(line.split()[1]), signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.05)
