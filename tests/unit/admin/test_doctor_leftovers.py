"""The doctor and layers that nobody uses any more; really mounted ones too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim.admin import doctor
from ocishim.admin.checks import leftovers
from ocishim.admin.checks.node import Node
from ocishim.admin.host import Host
from ocishim.linux import mountinfo
from ocishim.rootfs import layer
from tests.isolated import isolated, mounts
from tests.trees import make_tree
from tests.unit.admin.nodes import Tree, findings

BUNDLE = "/run/containerd/task/c1"
MOUNTS = f"""\
30 1 0:1 / {BUNDLE}/rootfs ro - erofs /dev/loop0 ro
31 30 0:2 / {BUNDLE}/rootfs rw - tmpfs pyshim-files rw
32 31 0:3 / {BUNDLE}/rootfs rw - overlay pyshim rw
33 1 0:4 / /run/containerd/task/c2/rootfs rw - overlay overlay rw
"""
ENGINES = b"33 1 0:4 / /x rw - tmpfs engine rw"
POD = {"annotations": {"io.kubernetes.cri.sandbox-id": "pod1"}}


@pytest.fixture
def node_of(tree: Tree) -> Tree:
    """A node, seen through its root, with a layer of the container c1."""
    tree.write("/proc/1/mountinfo", MOUNTS)
    return tree


def test_a_layer_without_a_bundle(node_of: Tree) -> None:
    found = findings(node_of.node())["layers"]
    assert (found.severity, found.evidence) == ("warning", f"{BUNDLE}/rootfs")
    assert found.next_step == f"on the node itself: umount {BUNDLE}/rootfs, twice"


@pytest.mark.parametrize(
    ("command", "used"),
    [
        pytest.param("runsc-gofer\0--root=/x\0gofer\0c1\0", True, id="its own gofer"),
        pytest.param("containerd-shim-runsc-v1\0-id\0pod1\0", True, id="the pod's shim"),
        pytest.param("sleep\0100\0", False, id="somebody else"),
    ],
)
@pytest.mark.parametrize("config", [json.dumps(POD), "{"], ids=["config", "half a config"])
def test_a_layer_with_a_bundle(node_of: Tree, command: str, config: str, *, used: bool) -> None:
    node_of.write(f"{BUNDLE}/config.json", config)
    node_of.write("/proc/77/cmdline", command)
    if config == "{" and "pod1" in command:
        used = False
    assert ("layers" not in findings(node_of.node())) is used


def test_another_trees_layers_are_not_unmounted(node_of: Tree) -> None:
    assert leftovers.fix_layers(node_of.node()) == []


@pytest.mark.parametrize("mount", [
    pytest.param("/home/eve/m rw - fuse pyshim rw", id="a FUSE file system of a user's"),
    pytest.param("/home/eve/m rw - fuse.sshfs pyshim-files rw", id="another"),
    pytest.param("/home/eve/m rw - fuse.overlay pyshim rw", id="one with a type of its own"),
    pytest.param("/srv/m rw - tmpfs pyshim rw", id="a tmpfs of root's"),
    pytest.param("/home/eve/\r30 rw - fuse pyshim rw", id="a carriage return in a name"),
])  # fmt: skip
def test_a_mount_that_is_called_as_a_layer(tree: Tree, mount: str) -> None:
    tree.write("/proc/1/mountinfo", f"30 1 0:1 / {mount}\n")
    assert "layers" not in findings(tree.node())


@isolated
@pytest.mark.parametrize("source", [pytest.param("engine", id="a file system of the host's"),
                                    pytest.param("pyshim-files", id="a layer in use")])  # fmt: skip
def test_the_folder_above_is_swapped_while_a_layer_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """By the owner of a folder above it, between the look and the act."""
    root, victim = tmp_path / "eve/m", tmp_path / "host/m"
    for place, name in ((root, "pyshim-files"), (victim, source)):
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", name, place], check=True)
    (victim / "file").touch()
    look = mountinfo.mount_of

    def swapping(fd: int) -> mountinfo.Mount:
        found = look(fd)
        root.parent.rename(tmp_path / "moved")
        root.parent.symlink_to(victim.parent)
        monkeypatch.setattr(mountinfo, "mount_of", lambda _: mountinfo.parse(ENGINES))
        return found

    monkeypatch.setattr(mountinfo, "mount_of", swapping)
    layer.unstack(str(root))
    assert (victim / "file").exists()
    assert not os.path.ismount(tmp_path / "moved/m")


@isolated
def test_fix_takes_the_layer_and_leaves_the_engines_mount(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "task/c1/rootfs", "dir etc")
    subprocess.run(["mount", "-t", "tmpfs", "engine", root], check=True)
    before = mounts(tmp_path)
    layer.stack(str(root), {"root": {"readonly": True}})
    (root / "made").touch()
    node = Node(Host("/"))
    assert str(root) in leftovers.abandoned(node)
    assert doctor.repair(node)[-1] == f"the layer over {root} is unmounted"
    assert mounts(tmp_path) == before
    assert not (root / "made").exists()


@isolated
def test_fix_leaves_a_layer_in_use(tmp_path: Path) -> None:
    bundle = tmp_path / f"container-{os.getpid()}"
    root = make_tree(bundle / "rootfs", "dir etc")
    (bundle / "config.json").write_text("{}")
    subprocess.run(["mount", "-t", "tmpfs", "engine", root], check=True)
    layer.stack(str(root), {})
    with subprocess.Popen(
        [sys.executable, "-c", "input('here')", bundle.name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as gofer:  # fmt: skip
        assert gofer.stdout is not None
        gofer.stdout.read(4)  # before its exec is done, it has no command line
        assert leftovers.fix_layers(Node(Host("/"))) == []
        gofer.communicate(b"\n")
    assert leftovers.fix_layers(Node(Host("/"))) == [f"the layer over {root} is unmounted"]
