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
from ocishim.rootfs import layer
from tests.isolated import isolated
from tests.trees import make_tree
from tests.unit.admin.nodes import Tree, findings

BUNDLE = "/run/containerd/task/c1"
MOUNTS = f"""\
30 1 0:1 / {BUNDLE}/rootfs ro - erofs /dev/loop0 ro
31 30 0:2 / {BUNDLE}/rootfs rw - tmpfs pyshim-files rw
32 31 0:3 / {BUNDLE}/rootfs rw - overlay pyshim rw
33 1 0:4 / /run/containerd/task/c2/rootfs rw - overlay overlay rw
"""
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


@isolated
def test_fix_takes_the_layer_and_leaves_the_engines_mount(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "task/c1/rootfs", "dir etc")
    subprocess.run(["mount", "-t", "tmpfs", "engine", root], check=True)
    before = Path("/proc/self/mountinfo").read_text()
    layer.stack(str(root), {"root": {"readonly": True}})
    (root / "made").touch()
    node = Node(Host("/"))
    assert str(root) in leftovers.abandoned(node)
    assert doctor.repair(node)[-1] == f"the layer over {root} is unmounted"
    assert Path("/proc/self/mountinfo").read_text() == before
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
