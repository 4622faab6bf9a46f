"""pyshim comes to a node by what deploy/ has, and pods begin. First of the files, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kubernetes.conftest import apply_manifests, installer_log
from tests.kubernetes.pods import container, pod
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods


def test_pods_begin_without_pyshim(cluster: Cluster, pods: Pods) -> None:
    assert pods.run(pod("before", container("echo begun"), handler=None)) == (
        "Succeeded",
        "begun\n",
    )


def test_the_daemonset_installs_and_restarts_once(installed: Cluster) -> None:
    assert "restarting containerd\n" in installer_log(installed)
    assert installed.node.said("pyshimctl", "version").startswith("pyshim ")
    before = installed.node.read("/run/lab/containerd.pid")
    daemonset = ("-n", "pyshim-system", "rollout", "restart", "daemonset/pyshim-installer")
    installed.done(*daemonset)
    apply_manifests(installed)
    assert installed.node.read("/run/lab/containerd.pid") == before


def test_a_pod_of_the_handler_begins(installed: Cluster, pods: Pods) -> None:
    pods.begin(pod("handled", container()))
    path = "{.status.containerStatuses[0].containerID}"
    name = installed.done("get", "pod", "handled", "-o", f"jsonpath={path}").rpartition("/")[2]
    bundle = f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{name}"
    assert "/usr/local/bin/pyshim" in installed.node.read(f"{bundle}/options.json")


def test_the_test_pod_has_a_device(installed: Cluster, pods: Pods) -> None:
    installed.done("apply", "-f", "-", text=(REPOSITORY / "deploy/test-pod.yaml").read_text())
    pods.names.append("pyshim-test")
    pods.until("pyshim-test", "Succeeded", "Failed")
    assert installed.done("logs", "pyshim-test").splitlines()[-1] == "devices: 4"
    assert pods.phase("pyshim-test") == "Succeeded"
