"""The whole way: crictl asks containerd for a pod, and pyshim gives its container the device.

What the kubelet does, call by call: RunPodSandbox with the runtime handler, CreateContainer with
the annotations a device plugin answered, StartContainer.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.containerd2 import Cri2, Cri2Other
from tests.integration.cri import IMAGE, Cri, running
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.compiler import Compiler

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.xdist_group("cri")]

KIND = "k8s.device-plugin.nvidia.com/gpu"
GPU = f"{KIND}=GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1"
LIB = f"/usr/lib/{MULTIARCH}"
NODES = ["nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl"]
READONLY = {"linux": {"security_context": {"readonly_rootfs": True}}}


OLD = pytest.param(Cri, id="1.x")
NEW = pytest.param(Cri2, id="2.x")
OTHER = pytest.param(Cri2Other, id="2.x other prefix")


@pytest.fixture(scope="module", params=[OLD, NEW, OTHER])
def daemon(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    busybox: Path,
    glibc: Path,
) -> Iterator[Cri]:
    """The node, on each containerd."""
    with running(request.param, tmp_path_factory.mktemp("cri"), busybox, glibc) as node:
        yield node


@pytest.fixture
def node(daemon: Cri, compiler: Compiler, tmp_path: Path) -> Iterator[Cri]:
    """The node with the device plugin's spec and pyshim's defaults; no pod is left on it."""
    daemon.equip(compiler, tmp_path / "driver")
    yield daemon
    daemon.remove_pods()
    assert list(daemon.tasks.iterdir()) == []
    assert [path for path in daemon.shim.root.rglob("*") if path.is_file()] == []


def test_a_container_gets_what_its_device_plugin_answered(node: Cri) -> None:
    script = (
        "ls /dev | grep nvidia; env | grep NVIDIA_VIS; nvidia-smi;"
        f" readlink {LIB}/libcuda.so; load libcuda.so.1 libnvidia-ml.so.1"
    )
    pod = node.run_pod("gpu", "pyshim")
    container = node.create(pod, "gpu", IMAGE, script, annotations=node.asking(GPU))

    node.start_container(container)

    assert node.wait(container) == (
        0,
        [
            *NODES,
            "NVIDIA_VISIBLE_DEVICES=void",
            "nvidia-smi: stand-in, no GPU here",
            "libcuda.so.1",
            f"libcuda.so.1 => {LIB}/libcuda.so.1",
            f"libnvidia-ml.so.1 => {LIB}/libnvidia-ml.so.1",
        ],
    )
    assert node.shim.warnings == ""


def test_what_exec_gets_of_the_environment(node: Cri) -> None:
    """Containerd makes it of its own record: what pyshim added is the container's, not exec's."""
    pod = node.run_pod("exec", "pyshim")
    script = "env >/environment; sleep 60"
    container = node.create(pod, "exec", IMAGE, script, annotations=node.asking(GPU))
    node.start_container(container)

    def said(*argv: str) -> str:
        return node.said(*node.command("exec", container, *argv))

    ours = "NVIDIA_VISIBLE_DEVICES=void"
    for _ in range(100):
        if "PATH=" in (own := said("sh", "-c", "cat /environment || true")):
            break
        time.sleep(0.1)
    assert ours in own.splitlines()
    by_engine = isinstance(node, Cri2) and not isinstance(node, Cri2Other)
    assert (ours in said("env").splitlines()) == by_engine
    assert said("sh", "-c", "ls /dev | grep nvidia0") == "nvidia0\n"


def test_explain_finds_the_container(node: Cri) -> None:
    """By the short id that crictl prints."""
    pod = node.run_pod("gpu", "pyshim")
    container = node.create(pod, "gpu", IMAGE, "sleep 60", annotations=node.asking(GPU))
    node.start_container(container)
    [short] = node.said(*node.command("ps")).splitlines()[1].split()[:1]

    told = node.said(
        "env",
        f"PATH={Path(node.shim.program).parent}:{node.environment['PATH']}",
        *(sys.executable, "-m", "ocishim.admin", "explain"),
        *("--container", short, "--root", f"{node.shim.root}/k8s.io"),
    )

    assert f"bundle    {node.tasks}/{container}\n" in told
    assert f"annotation '{next(iter(node.asking(GPU)))}' asks for {GPU}\n" in told
    assert "device node /dev/nvidia0" in told


@pytest.mark.parametrize("handler", ["pyshim", "careless"])
def test_the_sandbox_gets_nothing(node: Cri, handler: str) -> None:
    """Whatever the pod's author wrote, and even where the handler lets it through."""
    pod = node.run_pod("gpu", handler, annotations={f"{node.prefix}/mine": GPU})

    spec = node.spec(pod)

    assert spec["annotations"]["io.kubernetes.cri.container-type"] == "sandbox"
    passed = [f"{node.prefix}/mine"] if handler == "careless" else []
    assert [key for key in spec["annotations"] if key.startswith(node.prefix)] == passed
    assert "nvidia" not in str({**spec, "annotations": {}})
    assert "hooks" not in spec


def test_a_container_of_that_pod_gets_what_it_asked_for_alone(node: Cri) -> None:
    pod = node.run_pod("gpu", "pyshim", annotations={f"{node.prefix}/mine": GPU})
    container = node.create(pod, "gpu", IMAGE, "ls /dev | grep nvidia || echo none")

    node.start_container(container)

    assert node.wait(container) == (0, ["none"])


@pytest.mark.parametrize("daemon", [OLD, OTHER], indirect=True)
def test_an_unknown_device_is_told_to_crictl(node: Cri) -> None:
    pod = node.run_pod("gpu", "pyshim")
    asked = node.asking(f"{KIND}=GPU-7")
    container = node.create(pod, "gpu", IMAGE, "true", annotations=asked)

    result = node.crictl("start", container)

    assert result.returncode != 0
    assert (
        "failed to create shim task: OCI runtime create failed: "
        f"pyshim: unresolvable CDI devices {KIND}=GPU-7: {KIND} has no device GPU-7, nearest "
    ) in result.stderr
    assert f"looked in {node.shim.spec_dir} (1 file) (run 'pyshimctl cdi list')" in result.stderr


@pytest.mark.parametrize(
    ("policy", "link", "warnings"),
    [
        pytest.param("skip", "no link", 1, id="skip"),
        pytest.param("when-writable", "libcuda.so.1", 0, id="when-writable"),
        pytest.param("overlay", "libcuda.so.1", 0, id="overlay"),
    ],
)
def test_read_only_root_filesystem(node: Cri, policy: str, link: str, warnings: int) -> None:
    """The pod's securityContext has readOnlyRootFilesystem."""
    node.configure({"hooks.readonly_rootfs": policy})
    script = (
        f"ls /dev | grep nvidia; readlink {LIB}/libcuda.so || echo no link;"
        " touch /new 2>/dev/null || echo read-only"
    )
    pod = node.run_pod("gpu", "pyshim")
    container = node.create(pod, "gpu", IMAGE, script, annotations=node.asking(GPU), **READONLY)

    node.start_container(container)

    assert node.wait(container) == (0, [*NODES, link, "read-only"])
    assert node.shim.warnings.count("hooks.readonly_rootfs") == warnings
