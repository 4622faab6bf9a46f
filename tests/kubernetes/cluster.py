"""A cluster of one node: etcd, the control plane, containerd and the kubelet as services of node.py.

The programs are those of tools/kubernetes.sh. Leaves what runs in the cluster to pods.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kubernetes.node import Node

ADDRESS = "10.80.0.1"
SERVER = f"https://{ADDRESS}:6443"
_SECONDS = 120
_LAB = "/srv/lab"

_SUBJECTS = {
    "admin": "/O=system:masters/CN=admin",
    "kubelet": "/O=system:nodes/CN=system:node:node",
    "apiserver": "/CN=kube-apiserver",
}
_NAMES = f"subjectAltName=IP:{ADDRESS},IP:127.0.0.1,IP:10.96.0.1"

_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.85.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


class Cluster:
    """The cluster's services on `node`; `containerd` is the version that was found there."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def start(self) -> None:
        """Start everything, and wait until pods can be."""
        self._certificates()
        self._services()
        self.node.write("/etc/cni/net.d/10-pods.conflist", json.dumps(_NETWORK))
        self.start_daemons()
        account = ("get", "serviceaccount", "default")
        self.until(lambda: self.kubectl(*account).returncode == 0, "controller-manager")

    def start_daemons(self) -> None:
        """Start the services, and wait until the node is ready."""
        self.node.systemctl("start", "etcd", "apiserver", "containerd")
        self.until(lambda: self.kubectl("get", "--raw", "/readyz").returncode == 0, "apiserver")
        self.node.systemctl("start", "controller-manager", "scheduler", "kubelet")
        self.until(self.ready, "kubelet")

    def ready(self) -> bool:
        """Tell whether the node is Ready."""
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "node", "node", "-o", f"jsonpath={path}").stdout == "True"

    def kubectl(self, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Call kubectl as the cluster's administrator."""
        return self.node.run("kubectl", *argv, text=text)

    def done(self, *argv: str, text: str = "") -> str:
        """Call kubectl, which has to succeed; what it printed."""
        return self.node.said("kubectl", *argv, text=text)

    def get(self, *argv: str) -> Any:
        """Return an object of the cluster."""
        return json.loads(self.done("get", *argv, "-o", "json"))

    def until(self, ready: Callable[[], object], service: str, seconds: float = _SECONDS) -> None:
        """Wait; the end of the service's log is what a failure shows."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, self.node.log(service)[-4000:]
            time.sleep(0.2)

    def add_image(self, archive: Path) -> None:
        """Give the node the image of an archive."""
        with archive.open("rb") as file:
            argv = self.node.command("ctr", "-n", "k8s.io", "images", "import", "-")
            subprocess.run(argv, stdin=file, check=True, capture_output=True, timeout=_SECONDS)

    def _certificates(self) -> None:
        tools = self.node.tools
        new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "30")
        _openssl(tools, *new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=lab")
        (tools / "names").write_text(_NAMES)
        for name, subject in _SUBJECTS.items():
            _openssl(tools, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            issuer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30")
            request = ("x509", "-req", "-in", f"{name}.csr", "-extfile", "names")
            _openssl(tools, *request, *issuer, "-out", f"{name}.crt")
        _openssl(tools, "genrsa", "-out", "accounts.key", "2048")
        for name in ("admin", "kubelet"):
            (tools / f"{name}.conf").write_text(json.dumps(_access(name)))

    def _services(self) -> None:
        add = self.node.add_service
        add("etcd", "etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync")
        add(
            "apiserver",
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={_LAB}/apiserver.crt",
            f"--tls-private-key-file={_LAB}/apiserver.key",
            f"--client-ca-file={_LAB}/ca.crt",
            f"--kubelet-client-certificate={_LAB}/admin.crt",
            f"--kubelet-client-key={_LAB}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={_LAB}/accounts.key",
            f"--service-account-signing-key-file={_LAB}/accounts.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--endpoint-reconciler-type=none",
        )
        access = f"--kubeconfig={_LAB}/admin.conf"
        add(
            "controller-manager",
            "kube-controller-manager",
            access,
            f"--service-account-private-key-file={_LAB}/accounts.key",
            f"--root-ca-file={_LAB}/ca.crt",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )
        fast = ("--kube-api-qps=500", "--kube-api-burst=1000")
        add("scheduler", "kube-scheduler", access, "--leader-elect=false", *fast)
        add("containerd", "containerd")
        (self.node.tools / "kubelet.json").write_text(json.dumps(self._kubelet()))
        add(
            "kubelet",
            "kubelet",
            f"--kubeconfig={_LAB}/kubelet.conf",
            f"--config={_LAB}/kubelet.json",
            "--hostname-override=node",
            f"--node-ip={ADDRESS}",
        )

    def _kubelet(self) -> dict[str, Any]:
        small = {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"}
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": f"{_LAB}/ca.crt"},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.node.token}",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "enforceNodeAllocatable": ["none"],
            "evictionHard": small,
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "maxPods": 150,
            "oomScoreAdj": 0,
            "registryPullQPS": 0,
            "resolvConf": "",
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        }


def restarts(cluster: Cluster, pod: str) -> int:
    """Return how often the kubelet has started a pod's container anew."""
    count: int = cluster.get("pod", pod)["status"]["containerStatuses"][0]["restartCount"]
    return count


def _openssl(folder: Path, *argv: str) -> None:
    subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True, timeout=60)


def _access(name: str) -> dict[str, Any]:
    """Return a kubeconfig with the certificate `name`."""
    credentials = {
        "client-certificate": f"{_LAB}/{name}.crt",
        "client-key": f"{_LAB}/{name}.key",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lab",
                "cluster": {"server": SERVER, "certificate-authority": f"{_LAB}/ca.crt"},
            }
        ],
        "users": [{"name": name, "user": credentials}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }
