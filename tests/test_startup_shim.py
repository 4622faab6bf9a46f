"""What it costs where pyshim runs the hooks itself, or puts a layer over the rootfs: modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.probe import oci
from tests.test_startup import DEVICE, STANDARD, _box, by_pyshim, ours

if TYPE_CHECKING:
    from tests.probe import Box

__all__ = ["_box"]  # the fixture `box`

pytestmark = pytest.mark.root

KERNEL = {
    "ocishim.linux", "ocishim.linux.const", "ocishim.linux.ffi", "ocishim.linux.mntns",
    "ocishim.linux.syscalls",
}  # fmt: skip
EXECUTOR = KERNEL | {
    "ocishim.executor", "ocishim.executor.containerroot", "ocishim.executor.devicerules",
    "ocishim.executor.hookgroup", "ocishim.executor.hookprocess", "ocishim.executor.hookrunner",
    "ocishim.executor.mountpoint", "ocishim.executor.usermap", "ocishim.hookplan.lost",
    "ocishim.linux.memfd", "ocishim.linux.process", "ocishim.linux.usernamespace",
    "ocishim.oci.container", "ocishim.rootfs.dirent", "ocishim.rootfs.handle",
    "ocishim.rootfs.locate", "ocishim.rootfs.ownmounts", "ocishim.rootfs.rootfs",
    "ocishim.rootfs.tree",
}  # fmt: skip
LAYER = KERNEL | {"ocishim.rootfs.layer", "ocishim.linux.mountinfo"}
# What a container with a hook that is none of ours loads whoever runs it.
PLAIN = {name for name in DEVICE if not name.startswith("ocishim.cdi.registry")} - {
    "ocishim.cdi.edits", "ocishim.cdi.fields", "ocishim.cdi.hostdev", "ocishim.cdi.stale", "ocishim.oci.container",
}  # fmt: skip
# What is rare may have all of it, 0.9 ms.
OS = {"_abc", "_collections_abc", "abc", "genericpath", "os", "posixpath", "stat"}
HOOKS = {"createContainer": [{"path": "/bin/true", "env": ["A=1"], "timeout": 1}]}


def settings(box: Box, hooks: dict[str, object]) -> None:
    """Configure, and let a first call compile what a node has compiled."""
    box.settings({"runtimes": ["/bin/true"], "log.level": "info", **hooks})
    box.bundle(oci(hooks=HOOKS, root={"path": "rootfs", "readonly": True}), "hooked")
    assert box.call("create", "-b", "hooked", "c").status == 0


def test_the_shim_executor(box: Box) -> None:
    settings(box, {"hooks.executor": "shim"})
    found = by_pyshim(box, "create", "--bundle", "hooked", "c")
    assert ours(found) == PLAIN | EXECUTOR
    assert found - ours(found) <= STANDARD | OS | {"_json", "_ctypes", "fcntl", "select"}


def test_a_layer(box: Box) -> None:
    settings(box, {"hooks.readonly_rootfs": "overlay"})
    found = by_pyshim(box, "create", "--bundle", "hooked", "c")
    assert ours(found) == PLAIN | LAYER
    assert found - ours(found) <= STANDARD | OS | {"_json", "_ctypes"}
