"""The fault table: a full disk, no descriptors, no memory, a broken disk, at each step of create.

Whatever fails: create succeeds with everything done, or one line says what failed, the bundle is
as it was, and nothing lies around. The fixture of all integration tests counts mounts, processes,
control groups and files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import libs
from tests.conftest import need
from tests.integration.injector import Injector
from tests.trees import make_tree, names
from tools.lab.bundle import without_identity

if TYPE_CHECKING:
    from tests.integration.conftest import Node
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

DEVICE = {"cdi.k8s.io/test": "acme.com/gpu=0"}
LOWLEVEL = "/bin/true"  # what is traced is pyshim, its hooks and their ldconfig
# What is left to say when a process could not write its reason.
UNTOLD = ("the process that runs createContainer hooks failed", "failed: exit status 1")
IMAGE = (
    "dir dev", "dir proc", "file etc/ld.so.conf.d/00-pyshim.conf /old",
    "symlink usr/lib/acme/sub/libacme.so old",
)  # fmt: skip
_MOST = 4  # invocations of one call that fail, one after another


@pytest.fixture
def lowlevel() -> Path:
    return Path(LOWLEVEL)


def _hook(*args: str) -> dict[str, Any]:
    path = "/usr/bin/nvidia-cdi-hook"
    return {"hookName": "createContainer", "path": path, "args": ["nvidia-cdi-hook", *args]}


def _document(library: Path) -> str:
    """A CDI spec with one of everything that takes a step of its own."""
    edits = {
        "env": ["ACME=0"],
        "deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/null"}],
        "mounts": [{"hostPath": str(library), "containerPath": "/usr/lib/acme/libacme.so.1.2",
                    "options": ["ro", "nosuid", "rbind"]}],
        "hooks": [_hook("create-symlinks", "--link", "libacme.so.1::/usr/lib/acme/sub/libacme.so"),
                  _hook("chmod", "--mode", "755", "--path", "/usr/lib/acme"),
                  _hook("update-ldcache", "--folder", "/usr/lib/acme")],
    }  # fmt: skip
    device = {"name": "0", "containerEdits": edits}
    return json.dumps({"cdiVersion": "0.5.0", "kind": "acme.com/gpu", "devices": [device]})


class Create:
    """A create that can be done again and again: everything is put back before."""

    def __init__(self, node: Node, *, readonly: bool) -> None:
        need("strace")
        node.shim.configure({"hooks.executor": "shim", "hooks.readonly_rootfs": "overlay"})
        node.shim.add_spec("acme.json", _document(libs.library("libacme.so.1")))
        self.shim = node.shim
        self.bundle = node.bundle(None, "true", annotations=DEVICE, readonly=readonly)
        self.before = self.bundle.config.read_bytes()
        argv = node.shim.argv("create", "--bundle", str(self.bundle.path), node.container)
        self.injector = Injector(argv, node.shim.environment, node.folder)
        for _ in range(2):  # the second finds the compiled cache
            self.reset()
            created = node.shim.create(self.bundle, node.container)
            assert created.returncode == 0, created
        self.edited = without_identity(self.bundle.config.read_bytes())
        self.made = names(self.bundle.path)
        self.reset()

    def reset(self) -> None:
        if self.bundle.rootfs.exists():
            shutil.rmtree(self.bundle.rootfs)
        make_tree(self.bundle.rootfs, *IMAGE)
        self.bundle.config.write_bytes(self.before)
        self.shim.log.unlink(missing_ok=True)

    def judge(self, result: Result, error: str) -> None:
        """Done or refused, nothing in between."""
        config = self.bundle.config.read_bytes()
        assert self.injector.became(LOWLEVEL) is (result.returncode == 0)
        assert not [name for name in names(self.bundle.path) if ".pyshim" in name]
        if result.returncode == 0:
            assert (result.stdout, result.stderr) == ("", "")
            assert without_identity(config) == self.edited
            assert names(self.bundle.path) == self.made or self.shim.warnings
        else:
            assert result.returncode == 1
            # Where stderr itself could not be written, pyshim's own log has it.
            (line,) = (result.stderr or self.shim.warnings).splitlines()
            assert error in line.lower() or line.endswith(UNTOLD)
            assert config == self.before


FULL, BROKEN, MEMORY = "no space left on device", "input/output error", "cannot allocate memory"
READONLY, FILES, BUSY = "read-only file system", "too many open files", "resource temporarily"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ("openat", "EMFILE", FILES), ("openat", "EIO", BROKEN), ("openat", "ENOMEM", MEMORY),
        ("openat2", "EMFILE", FILES), ("openat2", "EIO", BROKEN), ("openat2", "ENOMEM", MEMORY),
        ("write", "ENOSPC", FULL), ("write", "EIO", BROKEN),
        ("pread64", "EIO", BROKEN),
        ("mkdirat", "ENOSPC", FULL), ("mkdirat", "EIO", BROKEN),
        ("symlinkat", "ENOSPC",
            FULL),  ("symlinkat", "EROFS", READONLY), ("symlinkat", "EIO", BROKEN),
        ("renameat", "ENOSPC", FULL), ("renameat", "EIO", BROKEN),
        ("rename", "ENOSPC", FULL), ("rename", "EROFS", READONLY), ("rename", "EIO", BROKEN),
        ("fchmod", "EROFS", READONLY), ("fchmod", "EIO", BROKEN),
        ("mknodat", "ENOSPC", FULL), ("mknodat", "ENOMEM", MEMORY),
        ("pipe2", "EMFILE", FILES), ("memfd_create", "EMFILE", FILES),
        ("memfd_create", "ENOMEM",
            MEMORY),  ("sendfile", "ENOMEM", MEMORY), ("sendfile", "EIO", BROKEN),
        ("clone3", "ENOMEM", MEMORY), ("clone3", "EAGAIN", BUSY), ("pidfd_open", "EMFILE", FILES),
        ("execveat", "ENOMEM", MEMORY), ("execveat", "EIO", BROKEN),
        ("seccomp", "ENOMEM", MEMORY), ("unshare", "ENOMEM", MEMORY),
    ],
)  # fmt: skip
def test_a_call_fails(node: Node, call: str, error: str, says: str) -> None:
    _fail_everywhere(Create(node, readonly=False), call, error, says)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ("mount", "ENOMEM",
            MEMORY),  ("open_tree", "ENOMEM", MEMORY), ("open_tree", "EMFILE", FILES),
        ("move_mount", "ENOMEM", MEMORY), ("mount_setattr", "ENOMEM", MEMORY),
        ("fsopen", "EMFILE", FILES), ("fsconfig", "ENOMEM", MEMORY), ("fsmount", "ENOMEM", MEMORY),
        ("mkdirat", "ENOSPC", FULL), ("unshare", "ENOSPC", FULL), ("pivot_root", "ENOMEM", MEMORY),
    ],
)  # fmt: skip
def test_a_call_for_the_layer_fails(node: Node, call: str, error: str, says: str) -> None:
    _fail_everywhere(Create(node, readonly=True), call, error, says)


def _fail_everywhere(create: Create, call: str, error: str, says: str) -> None:
    points = create.injector.points(call, _MOST)
    create.reset()
    judged = 0
    for number in points:
        result = create.injector.fail(call, error, number)
        if result is not None:
            create.judge(result, says)
            judged += 1
        create.reset()
    assert judged, f"pyshim never calls {call}"
