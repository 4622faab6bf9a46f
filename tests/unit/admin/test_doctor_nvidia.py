"""The doctor on nodes with NVIDIA hardware: driver, libraries, Fabric Manager, persistence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.admin.nodes import Tree, findings

DRIVER = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 2025\nGCC version:\n"
)


def with_gpu(tree: Tree, *, switch: bool = False, driver: bool = True) -> None:
    gpu = "/sys/bus/pci/devices/0000:01:00.0"
    tree.write(f"{gpu}/vendor", "0x10de\n")
    tree.write(f"{gpu}/class", "0x030200\n")
    if switch:
        bridge = "/sys/bus/pci/devices/0000:02:00.0"
        tree.write(f"{bridge}/vendor", "0x10de\n")
        tree.write(f"{bridge}/class", "0x068000\n")
    if driver:
        tree.write("/proc/driver/nvidia/version", DRIVER)
        for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"):
            tree.write(f"/dev/{name}")
        tree.write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
        tree.write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.86.15")
        tree.write("/run/nvidia-persistenced/socket")


def test_gpu_node_in_order(tree: Tree) -> None:
    with_gpu(tree)
    assert findings(tree.node()) == {}


def test_module_not_loaded(tree: Tree) -> None:
    with_gpu(tree, driver=False)
    assert set(findings(tree.node())) == {"nvidia-module"}


def bound(tree: Tree, driver: str, address: str = "0000:01:00.0") -> None:
    tree.write(f"/sys/bus/pci/drivers/{driver}/bind")
    link = tree.root / f"sys/bus/pci/devices/{address}/driver"
    link.symlink_to(f"../../drivers/{driver}")


@pytest.mark.parametrize("driver", ["vfio-pci", "nvgrace_gpu_vfio_pci", "pci-stub", "xen-pciback"])
def test_what_virtual_machines_are_given_needs_no_module(tree: Tree, driver: str) -> None:
    with_gpu(tree, driver=False)
    bound(tree, driver)
    assert findings(tree.node()) == {}


def test_another_driver_has_the_gpu(tree: Tree) -> None:
    with_gpu(tree, driver=False)
    bound(tree, "nouveau")
    found = findings(tree.node())["nvidia-module"]
    assert found.evidence == (
        "1 GPU on the PCI bus, no /proc/driver/nvidia/version; 0000:01:00.0 belongs to nouveau"
    )
    assert found.next_step == (
        "echo blacklist nouveau >/etc/modprobe.d/nouveau.conf, make the initramfs anew and reboot"
    )


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ("dev/nvidia0", "nvidia-nodes"),
        ("dev/nvidia-uvm", "nvidia-nodes"),
        ("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "nvidia-library"),
        ("run/nvidia-persistenced/socket", "nvidia-persistence"),
    ],
)
def test_gpu_node_lacks_something(tree: Tree, missing: str, name: str) -> None:
    with_gpu(tree)
    (tree.root / missing).unlink()
    assert set(findings(tree.node())) == {name}


def test_library_in_the_operators_driver_root(tree: Tree) -> None:
    with_gpu(tree)
    library = "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    (tree.root / library).unlink()
    tree.write(f"/run/nvidia/driver/{library}")
    assert findings(tree.node()) == {}


@pytest.mark.parametrize(
    ("library", "found"),
    [
        pytest.param("libnvidia-ml.so.570.86.15", False, id="same"),
        pytest.param("libnvidia-ml.so.575.51.03", True, id="upgraded"),
        pytest.param("libnvidia-ml.so.1", False, id="version unknown"),
    ],
)
def test_libraries_of_another_driver(tree: Tree, library: str, *, found: bool) -> None:
    with_gpu(tree)
    (tree.root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.86.15").unlink()
    tree.write(f"/usr/lib/x86_64-linux-gnu/{library}")
    told = findings(tree.node())
    assert set(told) == ({"nvidia-version"} if found else set())
    if found:
        assert (
            told["nvidia-version"].evidence
            == "/proc/driver/nvidia/version: module 570.86.15, libraries 575.51.03"
        )


def test_fabric_manager_does_not_run(tree: Tree) -> None:
    with_gpu(tree, switch=True)
    assert set(findings(tree.node())) == {"nvidia-fabricmanager"}
    # Fifteen letters are all the kernel keeps of a process's name: comm(5) in proc(5).
    tree.process(4711, comm="nv-fabricmanage\n")
    assert findings(tree.node()) == {}


def test_a_container_is_no_fabric_manager(tree: Tree) -> None:
    """Whatever its image's author calls a program."""
    with_gpu(tree, switch=True)
    tree.process(4711, Path("/"), comm="nv-fabricmanage\n")
    assert set(findings(tree.node())) == {"nvidia-fabricmanager"}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        pytest.param("Fabric Manager version is : 570.86.15", False, id="same"),
        pytest.param("Fabric Manager version is : 570.86.10", True, id="last digits"),
        pytest.param("Fabric Manager version is : 575.51.03", True, id="upgraded"),
        pytest.param("usage: 1.2.3", False, id="version unknown"),
    ],
)
def test_fabric_manager_of_another_version(tree: Tree, told: str, *, found: bool) -> None:
    with_gpu(tree, switch=True)
    tree.process(4711, comm="nv-fabricmanage\n")
    tree.tells("/usr/bin/nv-fabricmanager", told)
    result = findings(tree.node())
    assert set(result) == ({"nvidia-fabricmanager-version"} if found else set())
    if found:
        version = told.rpartition(" ")[2]
        evidence = f"module 570.86.15, /usr/bin/nv-fabricmanager {version}"
        assert result["nvidia-fabricmanager-version"].evidence == evidence


def test_fabric_manager_that_ended_because_of_its_version(tree: Tree) -> None:
    with_gpu(tree, switch=True)
    tree.tells("/usr/bin/nv-fabricmanager", "Fabric Manager version is : 575.51.03")
    assert set(findings(tree.node())) == {"nvidia-fabricmanager", "nvidia-fabricmanager-version"}


def test_fabric_manager_does_not_matter_without_nvswitch(tree: Tree) -> None:
    with_gpu(tree)
    tree.tells("/usr/bin/nv-fabricmanager", "Fabric Manager version is : 575.51.03")
    assert findings(tree.node()) == {}


@pytest.mark.parametrize("path", ["run/nvidia/driver", "etc/ld.so.cache"])
def test_a_loop_of_links_ends_no_check(tree: Tree, path: str) -> None:
    with_gpu(tree)
    loop = tree.root / path
    loop.unlink(missing_ok=True)
    loop.parent.mkdir(parents=True, exist_ok=True)
    loop.symlink_to(loop.name)
    tree.write("/run/nvidia-persistenced/socket").unlink()
    found = findings(tree.node())
    assert "check-failed" not in found
    assert "nvidia-persistence" in found
