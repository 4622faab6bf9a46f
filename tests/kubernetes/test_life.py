"""A node's daemons end and begin again while pods of pyshim run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.conftest import offers
from tests.kubernetes.pods import asking, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

SEES = "ls /dev | grep -c 'nvidia[0-9]'"


@pytest.mark.parametrize("action", ["restart", "kill"])
@pytest.mark.parametrize("service", ["containerd", "kubelet"])
def test_pods_outlive_daemons(installed: Cluster, pods: Pods, service: str, action: str) -> None:
    name = pods.begin(pod("outlives", container(**asking("nvidia.com/gpu"))))
    installed.node.systemctl(action, service)
    if action == "kill":
        installed.node.systemctl("start", service)
    installed.until(installed.ready, "kubelet")
    installed.until(lambda: installed.kubectl("exec", name, "--", "true").returncode == 0, service)
    assert pods.enter(name, SEES) == "1\n"
    installed.until(lambda: "nvidia.com/gpu" in offers(installed), "kubelet")
    assert pods.run(pod("after", container(SEES, **asking("nvidia.com/gpu")))) == (
        "Succeeded",
        "1\n",
    )
    status = installed.get("pod", name)["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0
    pods.delete(name)
