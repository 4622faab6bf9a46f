"""A cluster for the session with each containerd in turn, and pyshim installed as operators do it.

Nothing of the machine may be other afterwards. Leaves the machine of the node to node.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing, need
from tests.integration.containerd2 import PROGRAMS as CONTAINERD2
from tests.integration.rootless import static_runc
from tests.integration.test_packages import BARE
from tests.kubernetes import pods as pod
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.node import Node, started
from tests.kubernetes.pods import Pods
from tools.lab import archive, booted, driver, leaks, rootfs
from tools.lab.compiler import Compiler
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILT = REPOSITORY / "build/kubernetes"
BINARY = REPOSITORY / "build/pyshim"
INSTALLER = "pyshim.test/pyshim-installer:1"
NEXT = "pyshim.test/pyshim-installer:2"
"""The image of another build, which behaves alike."""
ENTRYPOINT = ["/pyshim", "--as", "pyshimctl", "daemonset"]
DRIVER_ROOT = "/run/nvidia/driver"
KIND = "k8s.device-plugin.nvidia.com/gpu"
DEVICES = ("GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1", "GPU-1d1d3726-3710-4d46-9425-1d66305d076c")
CONFIG = "/etc/containerd/config.toml"
RESTRICT = "restrict_oom_score_adj = true\n"
# The resources of the node, by the plugin that answers for them.
RESOURCES = {
    "nvidia.com/gpu": ("annotations", DEVICES),
    "pyshim.test/cri": ("cri", DEVICES),
    "pyshim.test/stale-annotation": ("annotations", ("GPU-gone",)),
    "pyshim.test/stale-cri": ("cri", ("GPU-gone",)),
}
SYSCTLS = [
    f"/proc/sys/{name}"
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
]
MEASURED: list[str] = []
"""Lines of figures, which the session's summary shows."""
TOKEN = f"pyshim-kubernetes-{os.getpid()}"


@pytest.fixture(scope="session", params=["containerd2", "containerd1"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each containerd: the newest, and Debian 12's."""
    return str(request.param)


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    need("gcc")
    return Compiler(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def node(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with that containerd, as it is shipped."""
    if not (BUILT / "version").exists():
        missing("Kubernetes is not built; make test-kubernetes does it")
    if not booted.make_bare(BARE, "docker.io", "podman"):
        missing("a bare Debian cannot be made")
    before = [Path(name).read_text() for name in SYSCTLS]
    kubernetes = [path for path in BUILT.iterdir() if os.access(path, os.X_OK) and path.is_file()]
    folder = tmp_path_factory.mktemp(engine)
    others = [Path(need(name)) for name in ("etcd", "busybox")]
    with started(BARE, folder, [*kubernetes, *others], TOKEN) as node:
        if engine == "containerd2":
            for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
                shutil.copy(CONTAINERD2 / name, node.tools)
                node.said("mv", f"/srv/lab/{name}", "/usr/bin")
            shutil.copy(static_runc(), node.tools)  # Debian 12's cannot map users of mounts
            node.said("mv", "/srv/lab/runc", "/usr/sbin")
            # It comes without one. A machine may have no CAP_SYS_RESOURCE, which is why there is one.
            node.write(CONFIG, "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n" + RESTRICT)
        else:
            table = '[plugins."io.containerd.grpc.v1.cri"]\n'
            node.write(CONFIG, node.read(CONFIG).replace(table, table + RESTRICT))
        yield node
    shutil.rmtree(folder)
    assert [Path(name).read_text() for name in SYSCTLS] == before
    assert not leaks.cgroups(TOKEN)


@pytest.fixture(scope="session")
def cluster(
    node: Node, compiler: Compiler, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The cluster, ready, with its images and the driver's files on the node."""
    cluster = Cluster(node)
    cluster.start()
    folder = tmp_path_factory.mktemp("images")
    glibc = rootfs.make_busybox(folder / "glibc")
    rootfs.add_program(glibc, compiler.loader(), "/bin/load")
    pause = folder / "pause"
    pause.mkdir()
    shutil.copy(node.tools / "pause", pause / "pause")
    installer = folder / "installer"
    installer.mkdir()
    shutil.copy(BINARY, installer / "pyshim")  # as the Containerfile says, and nothing else
    following = folder / "following"
    shutil.copytree(installer, following)
    with (following / "pyshim").open("ab") as file:
        file.write(b"2")
    for name, tree, command, entrypoint in (
        (sandbox_image(node), pause, ["/pause"], None),
        (pod.IMAGE, glibc, ["/bin/true"], None),
        ("docker.io/library/busybox:stable", glibc, ["/bin/sh"], None),
        (INSTALLER, installer, ["install"], ENTRYPOINT),
        (NEXT, following, ["install"], ENTRYPOINT),
    ):
        path = folder / "image.tar"
        archive.write(path, name, tree, command, entrypoint)
        cluster.add_image(path)
    pack_driver(node, compiler, folder)
    give_driver(node)
    yield cluster
    cluster.node.systemctl("stop", "kubelet")


def sandbox_image(node: Node) -> str:
    """Return the name of the image that containerd wants for pods' sandboxes."""
    for line in node.said("containerd", "config", "dump").splitlines():
        name, _, value = line.strip().partition(" = ")
        if name in ("sandbox", "sandbox_image"):
            return value.strip("'\"")
    raise AssertionError("containerd names no sandbox image")


def pack_driver(node: Node, compiler: Compiler, folder: Path) -> None:
    """Have a driver's files and the device plugin's spec of them ready for the node."""
    template = REPOSITORY / "tests/data/k8s-device-plugin.json"
    here = folder / "driver"
    driver.build(driver.text_of(template, here), compiler)
    library = here / "usr/lib/libpyshimclaim.so.1.0"  # of the claims' specs
    shutil.copy(compiler.library("libpyshimclaim.so.1"), library)
    subprocess.run(["tar", "-cC", here, "-f", node.tools / "driver.tar", "."], check=True)
    (node.tools / "spec.json").write_text(driver.text_of(template, Path(DRIVER_ROOT)))


def give_driver(node: Node) -> None:
    """Put the driver and its spec where they are until the node is powered off."""
    node.said("mkdir", "-p", DRIVER_ROOT, "/var/run/cdi")
    node.said("tar", "-xC", DRIVER_ROOT, "-f", "/srv/lab/driver.tar")
    node.said("cp", "/srv/lab/spec.json", "/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json")


@pytest.fixture(scope="session")
def pristine(cluster: Cluster) -> str:
    """What containerd's files say before pyshim comes."""
    return engine_files(cluster)


def engine_files(cluster: Cluster) -> str:
    """Return containerd's files, each with its name."""
    look = (
        "find /etc/containerd -type f | sort | while read -r file; do echo $file; cat $file; done"
    )
    return cluster.node.said("sh", "-c", look)


@pytest.fixture(scope="session")
def installed(cluster: Cluster, pristine: str) -> Cluster:
    """The cluster with pyshim, by the manifests and the DaemonSet, and with device plugins."""
    apply_manifests(cluster)
    start_plugins(cluster)
    return cluster


def start_plugins(cluster: Cluster) -> None:
    """Start a device plugin for each resource and wait until the node offers them."""
    for resource, (strategy, devices) in RESOURCES.items():
        service = resource.replace("/", "-")
        cluster.node.add_service(service, "driver", strategy, resource, KIND, *devices)
        cluster.node.systemctl("start", service)
    cluster.until(lambda: offers(cluster) >= RESOURCES.keys(), "kubelet")


def apply_manifests(cluster: Cluster, *options: str) -> None:
    """Apply what `pyshimctl manifest` prints and wait until the DaemonSet is done."""
    printed = subprocess.run(
        [BINARY, "--as", "pyshimctl", "manifest", "--image", INSTALLER, *options],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    cluster.done("apply", "-f", "-", text=printed)
    rolled_out(cluster)


def rolled_out(cluster: Cluster) -> None:
    """Wait until the DaemonSet's pods are those that were asked for, and done."""
    daemonset = ("-n", "pyshim-system", "rollout", "status", "daemonset/pyshim-installer")
    done = cluster.kubectl(*daemonset, "--timeout=90s")
    assert done.returncode == 0, installer_log(cluster)


def installer_log(cluster: Cluster) -> str:
    """Return what the installer's pods have said, and what is said of them."""
    about = ("-n", "pyshim-system")
    chosen = ("-l", "app.kubernetes.io/name=pyshim-installer")
    logs = cluster.kubectl(*about, "logs", "-c", "install", *chosen, "--tail=-1").stdout
    return logs + cluster.kubectl(*about, "describe", "pod", *chosen).stdout


def offers(cluster: Cluster) -> set[str]:
    """Return the resources that the node has at least one of."""
    status = cluster.get("node", "node")["status"]["allocatable"]
    return {name for name, count in status.items() if count != "0"}


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Pods]:
    """The test's pods."""
    pods = Pods(cluster)
    yield pods
    pods.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    for line in MEASURED:
        terminalreporter.write_line(line)
