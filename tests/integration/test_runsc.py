"""gVisor: versions that ignore createContainer hooks get their work done by pyshim, others not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing, need
from tools.lab import gvisor, leaks
from tools.lab.driver import MULTIARCH
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LIB = f"/usr/lib/{MULTIARCH}"
LOADED = [
    f"libcuda.so.1 => {LIB}/libcuda.so.1",
    f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
]

_IN_TIME = 40  # seconds, on a busy machine


@pytest.fixture(params=["distribution", "backports"])
def lowlevel(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each version of runsc that runs no createContainer hook."""
    if request.param == "fake":
        return gvisor.fake(tmp_path / "fake", "release-20260817.0")
    program = need("runsc") if request.param == "distribution" else gvisor.backports()
    if not program:
        missing("runsc of the backports cannot be fetched")
    return gvisor.wrapper(tmp_path / request.param, program)


def test_a_program_loads_the_driver_by_name(node: Node, glibc: Path) -> None:
    """The loader does not know the folder vdpau: only ld.so.cache can have said it."""
    node.add_spec("nvidia-dgx-a100.yaml")
    script = f"load libcuda.so.1 libvdpau_nvidia.so.1; readlink {LIB}/libcuda.so; env"
    result = node.run(node.bundle(glibc, script, annotations=ALL))
    assert result.returncode == 0, result
    assert result.stdout.splitlines()[:3] == [*LOADED, "libcuda.so.1"]
    assert "NVIDIA_VISIBLE_DEVICES=void" in result.stdout.splitlines()
    assert result.stderr == ""


@pytest.mark.parametrize("script", ["sleep 60", "sleep 5 & exit 0", "sleep 60 & sleep 60"])
def test_a_vendors_prestart_hook_ends_in_time(node: Node, busybox: Path, script: str) -> None:
    """These runsc runs itself, and by its own timeout waits for ever for a child with the output."""
    args = ["vendor", "-c", f"cat >/dev/null; echo the last words; {script}"]
    hook = {"path": "/bin/sh", "args": args, "timeout": 2}
    begun = time.monotonic()
    result = node.shim.create(
        node.bundle(busybox, "true", hooks={"prestart": [hook]}), node.container
    )
    assert time.monotonic() - begun < _IN_TIME
    reason = "prestart hook sh failed: still running after 2 s, killed: the last words"
    if script.endswith("exit 0"):
        assert result.returncode == 0, result
        time.sleep(5)  # for the child: it may be meant to stay
    else:
        assert result.returncode != 0
        assert reason in node.shim.warnings


def test_created_and_started_by_two_calls(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "load libcuda.so.1 > /mnt/out", annotations=ALL)
    (node.folder / "mnt").mkdir()
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/mnt",
            "type": "bind",
            "source": str(node.folder / "mnt"),
            "options": ["rbind"],
        }
    )
    bundle.write(spec)
    created = node.shim.create(bundle, node.container)
    assert created.returncode == 0, created
    assert node.shim.call("start", node.container).returncode == 0
    deadline = time.monotonic() + 60
    while '"stopped"' not in node.shim.call("state", node.container).stdout:
        leaks.processes()  # reaps the sandbox, which is ours since its parent ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (node.folder / "mnt/out").read_text().splitlines() == LOADED[:1]


def test_hooks_are_not_handed_down(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL)
    assert node.run(bundle).returncode == 0
    assert "createContainer" not in bundle.spec["hooks"]


def test_what_only_mounts_is_left_out(node: Node, glibc: Path) -> None:
    """disable-device-node-modification: gVisor shows a /proc/driver/nvidia of its own."""
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure({"log.level": "debug"})
    assert node.run(node.bundle(glibc, "true", annotations=ALL)).returncode == 0
    assert "hook disable-device-node-modification is skipped" in node.shim.warnings


def test_gpus_are_seen_by_the_hook_that_looks_for_them(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL)
    assert node.run(bundle).returncode == 0
    profile = "etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf"
    assert '"EGLVisibleDGPUDevices",0x3' in (bundle.rootfs / profile).read_text().replace(" ", "")
    assert not list((bundle.rootfs / "dev").iterdir()), "nodes were made in the image"


def test_a_failing_hook_fails_create(node: Node, busybox: Path) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 7"]}
    bundle = node.bundle(busybox, "true", hooks={"createContainer": [hook]})
    before = bundle.config.read_bytes()
    result = node.run(bundle)
    assert result.returncode == 1
    assert result.stderr == ("pyshim: createContainer hook sh failed: exit status 7: no luck\n")
    assert bundle.config.read_bytes() == before


def test_read_only_root(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    script = "load libcuda.so.1 libvdpau_nvidia.so.1; echo x > /file"
    result = node.run(node.bundle(glibc, script, annotations=ALL, readonly=True))
    assert result.stdout.splitlines() == LOADED, result
    assert "Read-only file system" in result.stderr


def _fake_run(folder: Path, bundle: Bundle, version: str) -> str:
    shim = Shim(folder / "fake", gvisor.fake(folder / "fake", version))
    result = shim.create(bundle, "c1")
    assert result.returncode == 0, result
    return result.stdout


@pytest.mark.parametrize("lowlevel", ["fake"], indirect=True)
@pytest.mark.parametrize("setting", ["skip", "when-writable", "overlay"])
def test_a_root_that_gvisor_makes_itself(
    node: Node,
    busybox: Path,
    tmp_path: Path,
    setting: str,
) -> None:
    """Links in the folder would not be seen: they are left out, and one warning says so."""
    node.add_spec("nvidia-dgx-a100.yaml")
    shim = Shim(tmp_path / "fake", gvisor.fake(tmp_path / "fake", "0.0~20240729.0"))
    shim.configure(
        {
            "hooks.readonly_rootfs": setting,
            "cdi.spec_dirs": [str(node.shim.spec_dir)],
        }
    )
    marks = {**ALL, "dev.gvisor.spec.rootfs.type": "erofs"}
    bundle = node.bundle(busybox, "true", annotations=marks)
    assert shim.create(bundle, "c1").returncode == 0
    assert len(shim.warnings.splitlines()) == 1
    assert "gVisor makes the root itself (dev.gvisor.spec.rootfs.type: erofs)" in shim.warnings
    assert not (bundle.rootfs / "etc/ld.so.cache").exists()


@pytest.mark.parametrize("lowlevel", ["fake"], indirect=True)
@pytest.mark.parametrize(("version", "runs_hooks"), [
    ("release-20260520.0", True), ("release-20260601.0", True), ("0.0~20260622.0", True),
    ("release-20260519.0", False), ("0.0~20240729.0", False), ("VERSION_MISSING", False),
])  # fmt: skip
def test_the_version_decides(
    tmp_path: Path,
    node: Node,
    busybox: Path,
    version: str,
    runs_hooks: bool,  # noqa: FBT001
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "touch made"]}
    bundle = node.bundle(busybox, "true", hooks={"createContainer": [hook]})
    assert "create" in _fake_run(tmp_path, bundle, version)
    assert (bundle.rootfs / "made").exists() is not runs_hooks
    assert ("createContainer" in bundle.spec["hooks"]) is runs_hooks
