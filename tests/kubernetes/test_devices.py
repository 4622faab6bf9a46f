"""Devices come to containers from the kubelet's device plugins, by either way of naming them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.cluster import restarts
from tests.kubernetes.pods import SLEEP, Object, asking, container, pod
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

LIBRARIES = f"/usr/lib/{MULTIARCH}"
LOOK = f"ls /dev | grep nvidia; readlink {LIBRARIES}/libcuda.so; load libcuda.so.1"
NODES = "nvidia-uvm\nnvidia-uvm-tools\nnvidia{}\nnvidiactl\n"
LINK = "libcuda.so.1\n"
LOADED = f"libcuda.so.1 => {LIBRARIES}/libcuda.so.1\n"
ANNOTATIONS, CRI = "nvidia.com/gpu", "pyshim.test/cri"


def came(printed: str) -> bool:
    """Tell whether LOOK has seen one device, whichever the kubelet chose, and its libraries."""
    return printed in [
        "".join(sorted(NODES.format(number).splitlines(keepends=True))) + LINK + LOADED
        for number in (0, 1)
    ]


@pytest.fixture(params=[ANNOTATIONS, CRI], ids=["annotations", "cri"])
def resource(request: pytest.FixtureRequest, engine: str) -> str:
    """A resource of each way of naming devices that the engine knows."""
    if engine == "containerd1" and request.param == CRI:
        pytest.skip("containerd 1.6 knows no CDIDevices")
    return str(request.param)


@pytest.mark.usefixtures("installed")
class TestDevices:
    def test_a_device_comes(self, pods: Pods, resource: str) -> None:
        phase, printed = pods.run(pod("device", container(LOOK, **asking(resource))))
        assert came(printed), printed
        assert phase == "Succeeded"

    def test_two_devices_come(self, pods: Pods, resource: str) -> None:
        look = "ls /dev | grep -c 'nvidia[0-9]'"
        asked = pod("devices", container(look, **asking(resource, 2)))
        assert pods.run(asked) == ("Succeeded", "2\n")

    def test_nothing_comes_unasked(self, pods: Pods) -> None:
        unasked = pod("unasked", container("ls /dev | grep nvidia; ls /etc/ld.so.cache"))
        phase, printed = pods.run(unasked)
        assert (phase, "nvidia" in printed) == ("Failed", False)

    @pytest.mark.parametrize("setting", ["skip", "when-writable", "overlay"])
    def test_read_only_roots(
        self, pods: Pods, installed: Cluster, resource: str, setting: str
    ) -> None:
        installed.node.said("pyshimctl", "config", "set", f"hooks.readonly_rootfs={setting}")
        context: Object = {"securityContext": {"readOnlyRootFilesystem": True}}
        name = f"read-only-{setting}"
        try:
            asked = pod(name, container(f"{LOOK}; touch /new", **asking(resource), **context))
            _, printed = pods.run(asked)
        finally:
            installed.node.said("pyshimctl", "config", "unset", "hooks.readonly_rootfs")
        assert "Read-only file system" in printed
        seen = printed.replace("touch: /new: Read-only file system\n", "")
        assert came(seen) == (setting != "skip"), printed
        assert "nvidiactl\n" in printed

    def test_every_kind_of_container(self, pods: Pods, resource: str) -> None:
        """An init container, a sidecar and the main one, each with a device or without."""
        look = "ls /dev | grep -c 'nvidia[0-9]'"
        first = container(f"[ $({look}) = 1 ]", name="first", **asking(resource))
        sidecar = container(name="sidecar", restartPolicy="Always", **asking(resource))
        main = container(f"{look}; [ $({look}) = 1 ]", **asking(resource))
        other = container(f"[ $({look}) = 0 ]", name="other")
        asked = pod("kinds", main, other, initContainers=[first, sidecar])
        assert pods.run(asked) == ("Succeeded", "1\n")

    def test_users_of_its_own(self, pods: Pods, engine: str, resource: str) -> None:
        if engine == "containerd1":
            pytest.skip("containerd 1.6 gives no pod users of its own")
        look = f"read -r _ user _ </proc/self/uid_map; [ $user != 0 ] || exit 1; {LOOK}"
        main = container(f"{look}; : </dev/nvidiactl", **asking(resource))
        phase, printed = pods.run(pod("own-users", main, hostUsers=False))
        assert came(printed), printed
        assert phase == "Succeeded"

    def test_entered_probed_and_restarted(self, pods: Pods, resource: str) -> None:
        probe: Object = {"exec": {"command": ["load", "libcuda.so.1"]}, "periodSeconds": 1}
        probes: Object = dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), probe)
        main = container(SLEEP, **asking(resource), **probes)
        name = pods.begin(pod("restarted", main, restartPolicy="Always"))
        for count in (0, 1):
            assert came(pods.enter(name, LOOK))
            assert restarts(pods.cluster, name) == count
            if count == 0:
                pods.restart(name)
        pods.delete(name, force=True)
