"""The doctor on GPU nodes of every layout: the driver is found, and specs are held against it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.admin.nodes import Tree, findings, listen
from tools.lab.driverroot import BUS, CONTROL, LIBDIR, MODULE, OLD, VERSION, DriverRoot

pytestmark = pytest.mark.root
UUID = "GPU-00000000-0000"


@pytest.fixture
def root(tree: Tree) -> DriverRoot:
    """Return a node with one GPU and its module, and no library and no spec."""
    root = DriverRoot(tree.root)
    root.write(f"/sys/bus/pci/devices/{BUS}/vendor", "0x10de\n")
    root.write(f"/sys/bus/pci/devices/{BUS}/class", "0x030200\n")
    root.write("/proc/driver/nvidia/version", MODULE.format(VERSION))
    root.gpu()
    for name, minor in CONTROL:
        root.node(f"/dev/{name}", minor=minor)
    root.write("/run/nvidia-persistenced/socket")
    return root


def linked(root: DriverRoot) -> None:
    root.core("/run/host-nvidia/0")
    for stem in ("libcuda", "libnvidia-ml"):
        root.link(f"{LIBDIR}/{stem}.so.1", f"/run/host-nvidia/0/{stem}.so.{VERSION}")


def nixos(root: DriverRoot) -> None:
    root.core("/nix/store/abc/lib")
    root.link("/run/opengl-driver", "/nix/store/abc")


LAYOUTS = [
    pytest.param(lambda root: root.core(), id="Debian"),
    pytest.param(lambda root: root.core("/usr/lib64"), id="RHEL"),
    pytest.param(lambda root: root.core("/usr/lib"), id="Arch"),
    pytest.param(nixos, id="NixOS"),
    pytest.param(lambda root: root.core("/usr/local/glibc/usr/lib"), id="Talos"),
    pytest.param(lambda root: root.core("/opt/nvidia/current/usr/lib"), id="Flatcar"),
    pytest.param(lambda root: root.core("/var/lib/nvidia/lib64"), id="COS"),
    pytest.param(lambda root: root.core("/home/kubernetes/bin/nvidia/lib64"), id="GKE"),
    pytest.param(linked, id="node agent"),
    pytest.param(lambda root: root.core(f"/run/nvidia/driver{LIBDIR}"), id="GPU operator"),
]


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_node_in_order(tree: Tree, root: DriverRoot, make: Callable[[DriverRoot], None]) -> None:
    make(root)
    assert findings(tree.node()) == {}


@pytest.mark.parametrize("make", LAYOUTS)
def test_the_module_is_another(
    tree: Tree, root: DriverRoot, make: Callable[[DriverRoot], None]
) -> None:
    make(root)
    root.write("/proc/driver/nvidia/version", MODULE.format(OLD))
    told = findings(tree.node())
    assert set(told) == {"nvidia-version"}
    assert (
        told["nvidia-version"].evidence
        == f"/proc/driver/nvidia/version: module {OLD}, libraries {VERSION}"
    )


def test_both_are_there_and_the_wrong_one_is_linked(tree: Tree, root: DriverRoot) -> None:
    root.core(version=OLD)
    root.library(f"{LIBDIR}/libnvidia-ml.so.{VERSION}")
    assert (
        findings(tree.node())["nvidia-version"].evidence
        == f"/proc/driver/nvidia/version: module {VERSION}, libraries {OLD}"
    )


def test_what_an_older_driver_left_is_no_fault(tree: Tree, root: DriverRoot) -> None:
    root.core()
    root.library(f"{LIBDIR}/libnvidia-ml.so.{OLD}")
    assert findings(tree.node()) == {}


def test_a_library_of_another_machine_is_none(tree: Tree, root: DriverRoot) -> None:
    root.library("/usr/lib/libnvidia-ml.so.1", machine=3, bits=32)
    told = findings(tree.node())
    assert set(told) == {"nvidia-library"}
    assert told["nvidia-library"].evidence == "looked in /usr/lib"


@pytest.mark.parametrize("where", ["", "/run/nvidia/driver"])
def test_a_node_of_the_module_before(tree: Tree, root: DriverRoot, where: str) -> None:
    """nvidia-uvm's major is any that is free; the right one is the mem driver's here, 1."""
    root.core()
    root.write("/proc/devices", "Character devices:\n  1 nvidia-uvm\n\nBlock devices:\n")
    for name, minor in (("nvidia-uvm", 0), ("nvidia-uvm-tools", 1)):
        root.at(f"/dev/{name}").unlink()
        root.node(f"{where}/dev/{name}", minor=minor)
    assert findings(tree.node()) == {}
    root.at(f"{where}/dev/nvidia-uvm").unlink()
    root.node(f"{where}/dev/nvidia-uvm", minor=5)
    found = findings(tree.node())["nvidia-node-number"]
    assert found.evidence == f"{where}/dev/nvidia-uvm is 1:5, the module has 1:0"
    option = f" --dev-root {where}" if where else ""
    assert found.next_step == f"pyshimctl cdi refresh --create-nodes{option}"


def test_nodes_of_a_driver_container(tree: Tree, root: DriverRoot) -> None:
    root.core(f"/run/nvidia/driver{LIBDIR}")
    (root.root / "dev").rename(root.root / "run/nvidia/driver/dev")
    listen(tree, "/dev/log")
    assert findings(tree.node()) == {}


def spec(root: DriverRoot, *, version: str = VERSION, caps: tuple[int, ...] = ()) -> None:
    """Write the spec of GPU 0, or of a MIG device of it."""
    nodes = ["/dev/nvidia0", *(f"/dev/nvidia-caps/nvidia-cap{cap}" for cap in caps)]
    paths = ", ".join(f"{{path: {path}, type: c, major: 195}}" for path in nodes)
    root.write(
        "/etc/cdi/nvidia.yaml",
        f"""\
cdiVersion: 0.6.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits: {{deviceNodes: [{paths}]}}
- name: {UUID}
  containerEdits: {{deviceNodes: [{paths}]}}
containerEdits:
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version={version}]
    env: [A=b]
""",
    )


@pytest.fixture
def gpu_node(root: DriverRoot, monkeypatch: pytest.MonkeyPatch) -> DriverRoot:
    """Add libraries and a right spec; its nodes have no numbers of NVIDIA's here."""
    root.core()
    spec(root)
    monkeypatch.setattr("ocishim.cdi.stale.findings", lambda *_args: [])
    return root


def told(tree: Tree) -> dict[str, str]:
    return {name: finding.evidence for name, finding in findings(tree.node()).items()}


def test_a_right_spec(tree: Tree, gpu_node: DriverRoot) -> None:
    del gpu_node
    assert told(tree) == {}


def test_a_spec_of_the_driver_before(tree: Tree, gpu_node: DriverRoot) -> None:
    spec(gpu_node, version=OLD)
    assert told(tree) == {"spec-driver": f"spec {OLD}, module {VERSION}"}


def test_a_gpu_that_was_added(tree: Tree, gpu_node: DriverRoot) -> None:
    gpu_node.gpu(1, "0000:02:00.0")
    assert told(tree) == {"spec-gpu-new": "/dev/nvidia1 GPU-00000001-0000"}


def test_a_gpu_that_the_driver_excludes_needs_no_spec(tree: Tree, gpu_node: DriverRoot) -> None:
    gpu_node.gpu(1, "0000:02:00.0", excluded=True)
    assert told(tree) == {}


def test_a_gpu_that_was_replaced(tree: Tree, gpu_node: DriverRoot) -> None:
    gpu_node.write(
        f"/proc/driver/nvidia/gpus/{BUS}/information", "GPU UUID: GPU-ffff\nDevice Minor: 0\n"
    )
    assert told(tree) == {"spec-gpu-gone": f"{UUID}; the driver has GPU-ffff"}


def mig(root: DriverRoot, gi: int, caps: tuple[int, int]) -> None:
    root.mig(0, gi, 0, caps)
    for cap in caps:
        root.node(f"/dev/nvidia-caps/nvidia-cap{cap}")


def test_instances_that_a_spec_has(tree: Tree, gpu_node: DriverRoot) -> None:
    mig(gpu_node, 1, (12, 13))
    spec(gpu_node, caps=(12, 13))
    assert told(tree) == {}


def test_instances_that_were_made_later(tree: Tree, gpu_node: DriverRoot) -> None:
    mig(gpu_node, 1, (12, 13))
    assert told(tree) == {"spec-mig-new": "GPU 0: nvidia-cap12, nvidia-cap13"}


def test_instances_that_were_made_anew(tree: Tree, gpu_node: DriverRoot) -> None:
    mig(gpu_node, 2, (21, 22))
    for cap in (12, 13):
        gpu_node.node(f"/dev/nvidia-caps/nvidia-cap{cap}")
    spec(gpu_node, caps=(12, 13))
    assert told(tree) == {
        "spec-mig": "/dev/nvidia-caps/nvidia-cap12, /dev/nvidia-caps/nvidia-cap13",
        "spec-mig-new": "GPU 0: nvidia-cap21, nvidia-cap22",
    }
