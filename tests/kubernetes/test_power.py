"""A node loses power: all processes and /run are gone, and pods come back when it boots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.kubernetes.cluster import restarts
from tests.kubernetes.conftest import give_driver, rolled_out, start_plugins
from tests.kubernetes.pods import asking, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Object, Pods

SEES = "ls /dev | grep -c 'nvidia[0-9]'"
LABELS = {"app": "powered"}


def deployment() -> Object:
    """Return a Deployment of one pod with a device: its pods are made anew when one cannot begin."""
    template = pod("", container(**asking("nvidia.com/gpu")), restartPolicy="Always")
    spec = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": template["spec"]},
    }
    metadata = {"name": "powered"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def sees(cluster: Cluster) -> bool:
    """Tell whether a pod of the Deployment can be entered and has its device."""
    listed = cluster.get("pod", "-l", "app=powered")["items"]
    names = [one["metadata"]["name"] for one in listed]
    found = [cluster.kubectl("exec", name, "--", "/bin/sh", "-c", SEES).stdout for name in names]
    return "1\n" in found


def test_pods_come_back(installed: Cluster, pods: Pods) -> None:
    """Pyshim and its registration are on the disk; its cache is not, nor the driver's spec."""
    installed.done("create", "-f", "-", text=json.dumps(deployment()))
    try:
        installed.until(lambda: sees(installed), "kubelet")
        plain = pods.begin(pod("plain", container(), restartPolicy="Always"))
        installed.node.power_off()
        give_driver(installed.node)
        installed.start_daemons()
        start_plugins(installed)
        installed.until(lambda: restarts(installed, plain) == 1, "kubelet")
        pods.ready(plain)
        assert pods.enter(plain, "echo entered") == "entered\n"
        installed.until(lambda: sees(installed), "kubelet", seconds=240)
        rolled_out(installed)
        pods.delete(plain)
    finally:
        installed.done("delete", "deployment", "powered", "--cascade=foreground", "--timeout=90s")
