"""What a user is shown of a device that is not there: the reason, by `kubectl describe pod`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.pods import asking, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

NAME = "k8s.device-plugin.nvidia.com/gpu=GPU-gone"
OURS = f"pyshim: unresolvable CDI devices {NAME}: k8s.device-plugin.nvidia.com/gpu has no device GPU-gone"
CONTAINERDS = "CDI device injection failed: unresolvable CDI devices"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("way", ["annotation", "cri"])
def test_a_device_that_no_spec_has(pods: Pods, engine: str, way: str) -> None:
    if engine == "containerd1" and way == "cri":
        pytest.skip("containerd 1.6 knows no CDIDevices")
    pods.create(pod("gone", container(**asking(f"pyshim.test/stale-{way}"))))
    words = OURS if engine == "containerd1" else CONTAINERDS
    assert "Failed" in pods.says("gone", words)
    pods.delete("gone")


def test_a_spec_of_a_driver_that_has_gone(pods: Pods, installed: Cluster, engine: str) -> None:
    """Where pyshim resolves it, the message names the spec file; the engine's own is its own."""
    library = "/run/nvidia/driver/usr/bin/nvidia-smi"
    installed.node.said("mv", library, f"{library}.gone")
    try:
        pods.create(pod("stale", container(**asking("nvidia.com/gpu"))))
        said = pods.says("stale", library)
    finally:
        installed.node.said("mv", f"{library}.gone", library)
    assert "pyshim" in said or engine == "containerd2"
    pods.delete("stale")
