"""Every finding of the doctor, each provoked on a node made for it, and a node without any."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocishim.admin import doctor
from ocishim.admin.finding import EXIT_STATUS, Finding, gravest
from ocishim.admin.host import Host
from ocishim.admin.node import Node

SPEC = """\
cdiVersion: 0.6.0
kind: acme.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [ACME=0]
"""


class Tree:
    """A node's root directory under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("/etc/cdi/acme.yaml", SPEC)
        self.program("/usr/bin/runc", "runc version 1.3.0")
        self.write("/sbin/ldconfig", "")
        with open(sys.executable, "rb") as file:  # an ELF file of this machine
            (root / "sbin/ldconfig").write_bytes(file.read(64))
        os.chmod(root / "sbin/ldconfig", 0o755)

    def write(self, path: str, text: str = "") -> None:
        real = self.root / path.lstrip("/")
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text)

    def program(self, path: str, version: str) -> None:
        self.write(path, f"#!/bin/sh\necho '{version}'\n")
        os.chmod(self.root / path.lstrip("/"), 0o755)

    def node(self, kernel: str = "6.1.0-1-amd64", config: str = "") -> Node:
        self.write("/etc/pyshim/config.toml", config or 'runtimes = ["runc"]\n')
        return Node(Host(str(self.root)), kernel=kernel, config_path="/etc/pyshim/config.toml")


@pytest.fixture(autouse=True)
def _run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the tree's own scripts without a chroot: it holds no shell."""

    def run(self: Host, *argv: str) -> object:
        import subprocess  # noqa: PLC0415

        return subprocess.run(
            [self.real(argv[0]), *argv[1:]], capture_output=True, text=True, check=False
        )

    monkeypatch.setattr(Host, "run", run)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def findings(node: Node) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(node)}


def test_healthy_node_has_no_findings(tree: Tree) -> None:
    assert findings(tree.node()) == {}


@pytest.mark.parametrize(
    ("kernel", "found"),
    [("5.5.19", True), ("4.19.0-20-amd64", True), ("5.6.0", False), ("6.18.44-x", False)],
)
def test_kernel_floor(tree: Tree, kernel: str, *, found: bool) -> None:
    assert ("kernel" in findings(tree.node(kernel))) is found


def test_overlay_missing_matters_only_where_it_is_used(tree: Tree) -> None:
    tree.write("/proc/filesystems", "nodev\ttmpfs\n\text4\n")
    wanted = 'runtimes = ["runc"]\n[hooks]\nreadonly_rootfs = "overlay"\n'
    assert "overlayfs" in findings(tree.node(config=wanted))
    assert "overlayfs" not in findings(tree.node())


def test_bad_configuration(tree: Tree) -> None:
    found = findings(tree.node(config='runtime = ["runc"]\n'))["configuration"]
    assert "unknown setting 'runtime'" in found.evidence


def test_no_runtime(tree: Tree) -> None:
    assert "runtime" in findings(tree.node(config='runtimes = ["youki-not-here"]\n'))


@pytest.mark.parametrize(
    ("version", "name", "severity"),
    [
        pytest.param("runc version 1.1.5+ds1", "runtime-environment", "info", id="old runc"),
        pytest.param("crun version 1.8.1", "runtime-readonly", "info", id="old crun"),
        pytest.param("hello", "runtime-unknown", "warning", id="unknown"),
    ],
)
def test_runtime_versions(tree: Tree, version: str, name: str, severity: str) -> None:
    tree.program("/usr/bin/runc", version)
    assert findings(tree.node())[name].severity == severity


@pytest.mark.parametrize("content", [None, b"#!/bin/sh\n", b"\x7fELF" + b"\0" * 14 + b"\x08\0"])
def test_ldconfig(tree: Tree, content: bytes | None) -> None:
    path = tree.root / "sbin/ldconfig"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert "ldconfig" in findings(tree.node())


def test_ldconfig_real_is_preferred(tree: Tree) -> None:
    real = tree.root / "sbin/ldconfig.real"
    (tree.root / "sbin/ldconfig").rename(real)
    tree.program("/sbin/ldconfig", "the wrapper script")
    assert "ldconfig" not in findings(tree.node())


def test_spec_rejected_names_file_and_command(tree: Tree) -> None:
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    found = findings(tree.node())["spec-rejected"]
    assert found.what == "/etc/cdi/bad.yaml cannot be used as it is"
    assert found.next_step == "pyshimctl cdi validate /etc/cdi/bad.yaml"


def test_spec_conflict(tree: Tree) -> None:
    tree.write("/etc/cdi/twin.yaml", SPEC)
    assert "conflicting device" in findings(tree.node())["spec-conflict"].evidence


def test_no_devices(tree: Tree) -> None:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    assert "spec-none" in findings(tree.node())


def test_spec_dir_is_a_file(tree: Tree) -> None:
    tree.write("/var/run/cdi", "")
    assert "spec-dir" in findings(tree.node())


def test_spec_dir_everybody_may_write(tree: Tree) -> None:
    os.chmod(tree.root / "etc/cdi", 0o777)
    assert "spec-dir-writable" in findings(tree.node())


def test_stale_mount(tree: Tree) -> None:
    edits = "    mounts: [{hostPath: /usr/lib/gone.so, containerPath: /usr/lib/gone.so}]\n"
    tree.write("/etc/cdi/acme.yaml", SPEC + edits)
    assert "/usr/lib/gone.so" in findings(tree.node())["spec-stale"].evidence


def with_device(tree: Tree, *, systemd: bool = True) -> Node:
    tree.write("/etc/cdi/acme.yaml", SPEC + "    deviceNodes: [{path: /dev/acme0}]\n")
    (tree.root / "dev").mkdir()
    os.mknod(tree.root / "dev/acme0", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    if systemd:
        (tree.root / "run/systemd/system").mkdir(parents=True)
    return tree.node()


@pytest.mark.root
def test_char_links_are_found_and_fixed(tree: Tree) -> None:
    node = with_device(tree)
    assert "char-links" in findings(node)
    assert doctor.repair(node) == ["/dev/char/1:3 leads to /dev/acme0"]
    assert os.readlink(tree.root / "dev/char/1:3") == "../acme0"
    assert "char-links" not in findings(node)
    assert doctor.repair(node) == []


@pytest.mark.root
def test_wrong_char_link_is_corrected(tree: Tree) -> None:
    node = with_device(tree)
    (tree.root / "dev/char").mkdir()
    (tree.root / "dev/char/1:3").symlink_to("../gone")
    doctor.repair(node)
    assert "char-links" not in findings(node)


@pytest.mark.root
def test_char_links_do_not_matter_without_systemd(tree: Tree) -> None:
    assert "char-links" not in findings(with_device(tree, systemd=False))


CONTAINERD = """\
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "{default}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.pyshim]
runtime_type = "io.containerd.runc.v2"
{annotations}
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.pyshim.options]
BinaryName = "/usr/local/bin/pyshim"
"""
PASSES = 'container_annotations = ["cdi.k8s.io/*"]'


def with_containerd(
    tree: Tree, *, annotations: str = PASSES, default: str = "pyshim", installed: bool = True
) -> Node:
    tree.program("/usr/bin/containerd", "containerd")
    if installed:
        tree.program("/usr/local/bin/pyshim", "pyshim")
    text = CONTAINERD.format(annotations=annotations, default=default)
    tree.write("/etc/containerd/config.toml", text)
    return tree.node()


def test_containerd_configured_is_fine(tree: Tree) -> None:
    assert findings(with_containerd(tree)) == {}


@pytest.mark.parametrize(
    ("setup", "name", "severity"),
    [
        pytest.param({"annotations": ""}, "containerd-annotations", "warning", id="not passed"),
        pytest.param(
            {"annotations": PASSES + '\npod_annotations = ["cdi.k8s.io/*"]'},
            "containerd-pod-annotations",
            "error",
            id="pods decide",
        ),
        pytest.param({"default": "runc"}, "default-runtime", "info", id="not the default"),
        pytest.param({"installed": False}, "engine-program", "error", id="program gone"),
    ],
)
def test_containerd(tree: Tree, setup: dict[str, object], name: str, severity: str) -> None:
    assert findings(with_containerd(tree, **setup))[name].severity == severity  # type: ignore[arg-type]


def test_containerd_without_cdi_and_annotations(tree: Tree) -> None:
    node = with_containerd(tree, annotations="")
    path = tree.root / "etc/containerd/config.toml"
    table = "[plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = false\n"
    path.write_text(path.read_text().replace("version = 3\n", "version = 3\n" + table))
    assert findings(node)["containerd-cdi"].severity == "error"


@pytest.mark.parametrize(
    ("program", "engine"),
    [
        ("/usr/bin/containerd", "containerd"),
        ("/usr/bin/dockerd", "docker"),
        ("/usr/bin/crio", "crio"),
    ],
)
def test_engine_that_does_not_know_pyshim(tree: Tree, program: str, engine: str) -> None:
    tree.program(program, engine)
    found = findings(tree.node())["engine-unregistered"]
    assert found.next_step == f"pyshimctl configure {engine}"


def test_docker_configured(tree: Tree) -> None:
    tree.program("/usr/bin/dockerd", "docker")
    settings = {"runtimes": {"pyshim": {"path": "/usr/local/bin/pyshim"}}}
    tree.write("/etc/docker/daemon.json", json.dumps(settings))
    assert set(findings(tree.node())) == {"engine-program"}
    tree.program("/usr/local/bin/pyshim", "pyshim")
    assert findings(tree.node()) == {}


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ("/usr/bin/containerd", "/etc/containerd/config.toml"),
        ("/usr/bin/dockerd", "/etc/docker/daemon.json"),
        ("/usr/bin/crio", "/etc/crio/crio.conf"),
    ],
)
def test_engine_configuration_unreadable(tree: Tree, program: str, path: str) -> None:
    tree.program(program, "engine")
    tree.write(path, "{[broken")
    assert path in findings(tree.node())["engine-configuration"].evidence


def with_gpu(tree: Tree, *, switch: bool = False, driver: bool = True) -> None:
    gpu = "/sys/bus/pci/devices/0000:01:00.0"
    tree.write(f"{gpu}/vendor", "0x10de\n")
    tree.write(f"{gpu}/class", "0x030200\n")
    if switch:
        bridge = "/sys/bus/pci/devices/0000:02:00.0"
        tree.write(f"{bridge}/vendor", "0x10de\n")
        tree.write(f"{bridge}/class", "0x068000\n")
    if driver:
        tree.write("/proc/driver/nvidia/version", "NVRM version: 570\n")
        for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"):
            tree.write(f"/dev/{name}")
        tree.write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
        tree.write("/run/nvidia-persistenced/socket")


def test_gpu_node_in_order(tree: Tree) -> None:
    with_gpu(tree)
    assert findings(tree.node()) == {}


def test_module_not_loaded(tree: Tree) -> None:
    with_gpu(tree, driver=False)
    assert set(findings(tree.node())) == {"nvidia-module"}


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


def test_fabric_manager(tree: Tree) -> None:
    with_gpu(tree, switch=True)
    assert set(findings(tree.node())) == {"nvidia-fabricmanager"}
    # Fifteen letters are all the kernel keeps of a process's name: comm(5) in proc(5).
    tree.write("/proc/4711/comm", "nv-fabricmanage\n")
    assert findings(tree.node()) == {}


def test_cache_of_somebody_else(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    (tree.root / "run/pyshim").mkdir(parents=True, mode=0o755)
    assert "cache" in findings(tree.node())
    os.chmod(tree.root / "run/pyshim", 0o700)
    assert findings(tree.node()) == {}


def test_mounts_left(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    (tree.root / "run/pyshim").mkdir(parents=True, mode=0o700)
    tree.write("/proc/self/mountinfo", "1 2 0:1 / /run/pyshim/c1/layer rw - tmpfs tmpfs rw\n")
    assert findings(tree.node())["mounts"].evidence == "/run/pyshim/c1/layer"


def test_exit_status_by_severity() -> None:
    def one(severity: str) -> Finding:
        return Finding("x", severity, "", evidence="", why="", next_step="")

    assert EXIT_STATUS[gravest([])] == 0
    assert EXIT_STATUS[gravest([one("info")])] == 0
    assert EXIT_STATUS[gravest([one("info"), one("warning")])] == 3
    assert EXIT_STATUS[gravest([one("error"), one("warning")])] == 4


def test_command_as_json(tree: Tree) -> None:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    tree.node()
    result = CliRunner().invoke(doctor.command, ["--json", "--host-root", str(tree.root)])
    told = json.loads(result.output)
    assert told["fixed"] == []
    assert [finding["name"] for finding in told["findings"]] == ["spec-none"]
    assert result.exit_code == 3


def test_command_for_people_names_the_next_step(tree: Tree) -> None:
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    tree.node()
    result = CliRunner().invoke(doctor.command, ["--host-root", str(tree.root)])
    assert "  next:  pyshimctl cdi validate /etc/cdi/bad.yaml" in result.output
    assert result.exit_code == 4
