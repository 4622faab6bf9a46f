"""Read-only root file systems: root.readonly, a read-only bind, real EROFS and squashfs images.

The container always starts with its devices, mounts and environment; what the hooks would have
written is there or is not, as hooks.readonly_rootfs says, and one warning tells.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tools.lab import images
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LINK = f"/usr/lib/{MULTIARCH}/libcuda.so.1"
SCRIPT = f"ls /dev/nvidia0; env | grep NVIDIA_VIS; nvidia-smi; readlink {LINK}"
SEEN = ["/dev/nvidia0", "NVIDIA_VISIBLE_DEVICES=void", "nvidia-smi: stand-in, no GPU here"]


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Callable[[str, Path, Node], Path]]:
    """Mount a read-only copy of a rootfs that has the mount points a driver's mounts need."""
    with images.Mounts() as mounts:

        def make(kind: str, tree: Path, node: Node) -> Path:
            if kind in images.MAKERS:
                need(images.MAKERS[kind][0])
            copy = tmp_path / "tree"
            shutil.copytree(tree, copy, symlinks=True)
            node.add_mount_points(copy)
            return mounts.add(kind, copy, tmp_path / "image")

        yield make


def test_root_readonly_skips_hooks(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(busybox, f"{SCRIPT}; touch /new", annotations=ALL, readonly=True)

    result = node.run(bundle)

    assert result.stdout.splitlines() == SEEN
    assert "touch: /new: Read-only file system" in result.stderr
    assert not (bundle.rootfs / LINK[1:]).is_symlink(), "the image was written to"
    assert len(node.shim.warnings.splitlines()) == 1
    assert "hooks.readonly_rootfs" in node.shim.warnings


@pytest.mark.parametrize("lowlevel", ["runc"], indirect=True)
def test_root_readonly_when_writable_runs_hooks(node: Node, busybox: Path) -> None:
    """As runc and gVisor: the flag alone does not stop hooks, they come before the remount."""
    node.shim.configure({"hooks.readonly_rootfs": "when-writable"})
    node.add_spec("nvidia-dgx-a100.yaml")

    result = node.run(node.bundle(busybox, f"{SCRIPT}; touch /new", annotations=ALL, readonly=True))

    assert result.stdout.splitlines() == [*SEEN, "libcuda.so.570.86.15"]
    assert "touch: /new: Read-only file system" in result.stderr
    assert node.shim.warnings == ""


@pytest.mark.parametrize("policy", ["skip", "when-writable"])
@pytest.mark.parametrize("kind", ["bind", "erofs", "squashfs"])
def test_unwritable_rootfs_skips_hooks(
    node: Node,
    busybox: Path,
    image: Callable[[str, Path, Node], Path],
    kind: str,
    policy: str,
) -> None:
    node.shim.configure({"hooks.readonly_rootfs": policy})
    node.add_spec("nvidia-dgx-a100.yaml")
    rootfs = image(kind, busybox, node)

    result = node.run(node.bundle(None, SCRIPT, annotations=ALL, root=str(rootfs)))

    assert result.stdout.splitlines() == SEEN
    assert not (rootfs / LINK[1:]).is_symlink()
    assert len(node.shim.warnings.splitlines()) == 1
    assert "hooks.readonly_rootfs" in node.shim.warnings


def test_unwritable_rootfs_keeps_the_vendors_hooks(
    node: Node,
    busybox: Path,
    image: Callable[[str, Path, Node], Path],
) -> None:
    """A hook pyshim does not know is the vendor's business: it runs, and its failure counts."""
    node.shim.add_spec(
        "vendor.yaml",
        f"""cdiVersion: 0.5.0
kind: vendor.com/device
devices:
- name: "0"
  containerEdits:
    hooks:
    - hookName: createContainer
      path: /bin/sh
      args: ["sh", "-c", "cat >/dev/null; echo ran > {node.folder}/vendor"]
""",
    )
    rootfs = image("erofs", busybox, node)
    asked = {"cdi.k8s.io/test": "vendor.com/device=0"}

    result = node.run(node.bundle(None, "true", annotations=asked, root=str(rootfs)))

    assert result.returncode == 0, result
    assert (node.folder / "vendor").read_text() == "ran\n"


def test_a_read_only_volume_over_a_folder_of_a_root_that_can_be_written(
    node: Node,
    glibc: Path,
) -> None:
    """A ConfigMap at /etc/nvidia: the profile is left out, all else is there, one warning tells."""
    node.add_spec("nvidia-dgx-a100.yaml")
    (node.folder / "configmap").mkdir()
    bundle = node.bundle(glibc, f"load libcuda.so.1; {SCRIPT}", annotations=ALL)
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/etc/nvidia",
            "type": "bind",
            "source": str(node.folder / "configmap"),
            "options": ["rbind", "ro"],
        }
    )
    bundle.write(spec)

    result = node.run(bundle)

    loaded = f"libcuda.so.1 => {LINK}"
    assert result.stdout.splitlines() == [loaded, *SEEN, "libcuda.so.570.86.15"], result
    (warning,) = node.shim.warnings.splitlines()
    assert "update-application-profile" in warning
