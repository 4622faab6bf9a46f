"""A rootfs whose owners the kernel maps: containerd 2.x's snapshots, Podman's `--rootfs DIR:idmap`.

On the disk its files are root's; in the container's user namespace, too. Whatever hooks make there
belongs to root on the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocishim.linux import const, mntns, syscalls
from tests import libs
from tests.trees import make_tree, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

HOOKS = [
    ["create-symlinks", "--link", "../t::/opt/new/l", "--link", "x::/var/old"],
    ["chmod", "--mode", "751", "--path", "/var"],
    ["update-ldcache", "--folder", "/opt/lib"],
]
SCRIPT = "ls -ldn /opt/new /opt/new/l /var/old /etc/ld.so.cache /var | awk '{print $1, $3, $4, $9}'"
MADE = """\
-rw-r--r-- 0 0 /etc/ld.so.cache
drwxr-xr-x 0 0 /opt/new
lrwxrwxrwx 0 0 /opt/new/l
drwxr-x--x 0 0 /var
lrwxrwxrwx 0 0 /var/old
"""


def user_namespace() -> int:
    """A descriptor of a namespace whose root is the host's user 200000."""
    sleeper = subprocess.Popen(["unshare", "-U", "sleep", "60"])
    try:
        while os.readlink(f"/proc/{sleeper.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
            pass
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{sleeper.pid}/{name}").write_text("0 200000 65536\n")
        return os.open(f"/proc/{sleeper.pid}/ns/user", os.O_RDONLY)
    finally:
        sleeper.kill()
        sleeper.wait()


def mount(disk: Path, place: Path) -> None:
    """Mount the folder `disk`, the owners of whose files are the namespace's."""
    copy = syscalls.open_tree(const.AT_FDCWD, str(disk), const.OPEN_TREE_CLONE)
    namespace, target = user_namespace(), os.open(place, os.O_PATH)
    try:
        syscalls.mount_setattr(
            copy, const.MOUNT_ATTR_IDMAP, 0, recursive=False, user_namespace=namespace
        )
        mntns.attach(copy, target)
    finally:
        for fd in (copy, namespace, target):
            os.close(fd)


@pytest.fixture(name="disk")
def _disk(tmp_path: Path, busybox: Path, _leaves_nothing: None) -> Iterator[Path]:
    """An image on the disk, and a mount of it at `mapped` beside it."""
    disk, mapped = tmp_path / "disk", make_tree(tmp_path / "mapped")
    shutil.copytree(busybox, disk, symlinks=True)
    make_tree(disk, "symlink var/old gone")
    libs.put(libs.library("liba.so.1"), disk / "opt/lib/liba.so.1.2")
    for folder in (disk, *disk.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o111)
    mount(disk, mapped)
    yield disk
    subprocess.run(["umount", mapped], check=True)


@pytest.mark.parametrize("executor", ["auto", "shim"])
@pytest.mark.parametrize("readonly", [False, True], ids=["folder", "layer"])
def test_owners(node: Node, disk: Path, executor: str, *, readonly: bool) -> None:
    node.shim.configure({"hooks.executor": executor, "hooks.readonly_rootfs": "overlay"})
    hooks = [
        {"path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", *words], "env": ["A=1"]}
        for words in HOOKS
    ]
    bundle = node.bundle(
        None, SCRIPT, root=str(disk.parent / "mapped"), readonly=readonly, user_namespace=True,
        hooks={"createContainer": hooks},
    )  # fmt: skip
    bundle.path.chmod(0o755)
    before = snapshot(disk)
    result = node.run(bundle)
    assert (result.returncode, result.stdout, result.stderr) == (0, MADE, "")
    assert (snapshot(disk) == before) is readonly
    found = list(disk.rglob("*"))
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in found} == {(0, 0)}
    assert not [path for path in found if path.name.startswith(".pyshim-")]
