"""Images against what pyshim itself mounts: the root it builds for hooks, and layers over a root.

Aimed at mount points, tmpfs, device nodes and the overlay, on gVisor and on runc.
"""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.swapper import Swapper
from tests.trees import make_tree, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

HOOK = {"path": "/usr/bin/nvidia-cdi-hook", "env": ["A=1"],
        "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "t::/made/here"]}  # fmt: skip
executors = pytest.mark.parametrize("lowlevel", ["runc", "runsc"], indirect=True)
settings = pytest.mark.parametrize(
    ("lowlevel", "layer"), [("runc", False), ("runc", True), ("runsc", False)],
    ids=["runc-folder", "runc-layer", "runsc-folder"], indirect=["lowlevel"],
)  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that the image aims at, and that is the same afterwards."""
    outside = make_tree(
        tmp_path / "outside", "file file secret", "dir dir", "dir upper", "dir work"
    )
    before = snapshot(outside)
    yield outside
    assert snapshot(outside) == before
    assert not [name for name in ("/data", "/made", "/dev/acme0") if os.path.lexists(name)]


def _bundle(node: Node, busybox: Path, *lines: str, layer: bool, **linux: Any) -> Bundle:
    node.shim.configure({"hooks.executor": "shim", "hooks.readonly_rootfs": "overlay"})
    bundle = node.bundle(busybox, "true", readonly=layer, hooks={"createContainer": [HOOK]})
    for line in lines:
        subprocess.run(["rm", "-rf", str(bundle.rootfs / line.split(" ")[1])], check=True)
    make_tree(bundle.rootfs, *lines)
    spec = bundle.spec
    spec["mounts"].append(_volume(node, "/data/sub"))
    spec["linux"].update(linux)
    bundle.write(spec)
    return bundle


def _volume(node: Node, destination: str) -> dict[str, Any]:
    make_tree(node.folder / "volume", "file file of a volume")
    return {"destination": destination, "type": "bind", "source": str(node.folder / "volume"),
            "options": ["rbind", "ro"]}  # fmt: skip


DEVICES = [{"path": "/dev/acme0", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
ROWS = [
    pytest.param("symlink data {out}", id="mount point to the host"),
    pytest.param("symlink data ../../../../../../../../..{out}", id="mount point up"),
    pytest.param("symlink data /proc/self/cwd/../..", id="mount point by a magic link"),
    pytest.param("symlink data data", id="mount point loops"),
    pytest.param("file data x", id="mount point below a file"),
    pytest.param("fifo data", id="mount point below a fifo"),
    pytest.param("symlink made {out}", id="link's folder to the host"),
    pytest.param("symlink dev {out}", id="dev to the host"),
    pytest.param("symlink dev ../../../../../../../../..{out}", id="dev up"),
    pytest.param("symlink dev /proc/self/fd", id="dev magic"),
    pytest.param("fifo dev", id="dev a fifo"),
    pytest.param("symlink proc {out}", id="proc to the host"),
    pytest.param("symlink sys {out}", id="sys to the host"),
]


@settings
@pytest.mark.parametrize("line", ROWS)
def test_what_is_mounted_for_hooks(
    node: Node, busybox: Path, outside: Path, line: str, *, layer: bool
) -> None:
    line = line.format(out=outside)
    bundle = _bundle(node, busybox, line, layer=layer, devices=DEVICES)
    before = snapshot(bundle.rootfs) if layer else {}
    begun = time.monotonic()
    result = node.shim.create(bundle, node.container)
    assert time.monotonic() - begun < 50
    assert "Traceback" not in result.stderr
    if result.stderr.startswith("pyshim: "):
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
    if layer:
        assert snapshot(bundle.rootfs) == before
    nodes = [path for path in bundle.rootfs.rglob("*") if stat.S_ISCHR(path.lstat().st_mode)]
    assert not nodes, "devices were made in the image"


@executors
def test_an_image_that_brings_an_overlays_own_files(
    node: Node, busybox: Path, outside: Path
) -> None:
    """Whiteouts, opaque folders, redirects: they lead nowhere but into the image."""
    bundle = _bundle(node, busybox, "dir made", "dir upper", "dir work", layer=True)
    os.setxattr(bundle.rootfs / "made", "trusted.overlay.redirect", str(outside).encode())
    os.setxattr(bundle.rootfs / "made", "trusted.overlay.opaque", b"y")
    os.mknod(bundle.rootfs / "made/gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    before = snapshot(bundle.rootfs)
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 0, result
    assert snapshot(bundle.rootfs) == before


@settings
def test_mount_points_are_swapped(node: Node, busybox: Path, outside: Path, *, layer: bool) -> None:
    """10,000 swaps of a mount point's folder with a link to the host while roots are built.

    runc before 1.1.14 loses this race itself and makes folders on the host (CVE-2024-45310), and so
    does gVisor 20221219 (80 of 644 creates without pyshim). What only tells the version stands in
    for both: what is attacked here is pyshim.
    """
    stand_in = node.folder / "stand-in"
    stand_in.write_text(f"""\
#!/bin/sh
case $1 in --version) exec "{node.shim.lowlevel}" --version ;; esac
""")
    stand_in.chmod(0o755)
    node.shim.lowlevel = str(stand_in)
    bundle = _bundle(node, busybox, "dir data/sub", "dir made", layer=layer)
    make_tree(node.folder / "swap", f"symlink link {outside}")
    spec = bundle.spec
    spec["mounts"] += [_volume(node, f"/data/{number}") for number in range(20)]
    bundle.write(spec)
    codes: list[int] = []
    with Swapper(bundle.rootfs / "data", node.folder / "swap/link") as swapper:
        while swapper.swaps < 10_000 or len(codes) < 8:
            codes.append(node.shim.create(bundle, node.container).returncode)
            node.shim.delete(node.container)
    assert len(codes) >= 8
