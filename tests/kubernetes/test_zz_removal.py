"""pyshim goes from a node by the DaemonSet while pods of it run. Last of the files, by its name.

The tests follow one another: upgraded, removed, installed as the default, removed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.kubernetes.conftest import NEXT, engine_files, installer_log, rolled_out
from tests.kubernetes.pods import Object, asking, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

HOME = "/usr/local/lib/pyshim"
INSTALL: Object = {"path": "/args", "value": ["install"]}
REMOVE: Object = {"path": "/args", "value": ["remove"]}
DAEMONSET = ("-n", "pyshim-system")
SEES = "ls /dev | grep -c 'nvidia[0-9]'"
NEEDS = "could not be entered without the runtime 'pyshim' in containerd's configuration"
PROGRAM = "/usr/local/bin/pyshim"
OURS = ("/usr/local/bin/pyshim*", "/usr/local/lib/pyshim", "/etc/pyshim", "/run/pyshim*")
SECONDS = 330  # the kubelet waits longer after each failure, five minutes at most


def patch(cluster: Cluster, *changes: Object) -> None:
    """Change the installer's container in the DaemonSet."""
    path = "/spec/template/spec/initContainers/0"
    operations = [{"op": "replace", **one, "path": path + one["path"]} for one in changes]
    options = ("--type=json", "-p", json.dumps(operations))
    cluster.done(*DAEMONSET, "patch", "daemonset", "pyshim-installer", *options)


def begins_anew(cluster: Cluster) -> None:
    """Have the DaemonSet make its pods once more."""
    cluster.done(*DAEMONSET, "rollout", "restart", "daemonset/pyshim-installer")


def settles(cluster: Cluster) -> None:
    """Wait until the DaemonSet is done, also after failures."""
    status = ("rollout", "status", "daemonset/pyshim-installer", f"--timeout={SECONDS}s")
    done = cluster.kubectl(*DAEMONSET, *status)
    assert done.returncode == 0, installer_log(cluster)


def left(cluster: Cluster) -> list[str]:
    """Return what of pyshim the node has."""
    return cluster.node.run("sh", "-c", f"ls -d {' '.join(OURS)} 2>/dev/null").stdout.split()


def program_is_ours(cluster: Cluster, name: str) -> bool:
    """Tell whether pyshim is the runtime of a pod's container, as containerd's shim has it."""
    path = "{.status.containerStatuses[0].containerID}"
    made = cluster.done("get", "pod", name, "-o", f"jsonpath={path}").rpartition("/")[2]
    bundle = f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{made}"
    return PROGRAM in cluster.node.read(f"{bundle}/options.json")


def is_told(cluster: Cluster, *names: str) -> None:
    """Wait until the installer's log says that these pods keep it from removing all."""
    cluster.until(lambda: NEEDS in installer_log(cluster), "kubelet")
    told = next(line for line in installer_log(cluster).splitlines() if NEEDS in line)
    assert [name for name in names if f"pod default/{name}" not in told] == []


def test_an_upgrade_keeps_pods_and_engine(installed: Cluster, pods: Pods) -> None:
    name = pods.begin(pod("upgraded", container(**asking("nvidia.com/gpu"))))
    engine = installed.node.read("/run/lab/containerd.pid")
    version = installed.node.said("readlink", f"{HOME}/current")
    patch(installed, {"path": "/image", "value": NEXT})
    rolled_out(installed)
    assert installed.node.read("/run/lab/containerd.pid") == engine
    assert installed.node.said("readlink", f"{HOME}/current") != version
    assert pods.enter(name, SEES) == "1\n"
    asked = pod("upgrade", container(SEES, **asking("nvidia.com/gpu")))
    assert pods.run(asked) == ("Succeeded", "1\n")
    pods.delete(name)


def test_it_stays_until_the_last_pod_is_gone(installed: Cluster, pods: Pods, pristine: str) -> None:
    pods.run(pod("ended", container("true")))
    restarted = pod("restarted", container(), restartPolicy="Always")
    names = [pods.begin(pod("stays", container(**asking("nvidia.com/gpu")))), pods.begin(restarted)]
    engine = installed.node.read("/run/lab/containerd.pid")
    patch(installed, REMOVE)
    is_told(installed, *names)
    assert installed.node.read("/run/lab/containerd.pid") == engine
    assert pods.enter("stays", SEES) == "1\n"
    pods.restart("restarted")
    assert pods.enter("restarted", "echo entered") == "entered\n"
    pods.delete("stays")
    pods.enter("restarted", "true")
    assert left(installed) != []
    pods.delete("restarted")
    settles(installed)
    assert (left(installed), engine_files(installed)) == ([], pristine)
    pods.delete("ended")
    name = pods.begin(pod("after", container(), handler=None))
    assert pods.enter(name, "echo entered") == "entered\n"
    pods.delete(name)


def test_a_default_goes_first(installed: Cluster, pods: Pods, pristine: str) -> None:
    """The installer's own pod begins under pyshim: it takes that away, and its next one the rest."""
    patch(installed, INSTALL, {"path": "/env/2/value", "value": "true"})
    rolled_out(installed)
    begins_anew(installed)  # a pod that runs under pyshim
    rolled_out(installed)
    names = [
        pods.begin(pod("unnamed", container(), handler=None)),
        pods.begin(pod("named", container(**asking("nvidia.com/gpu")))),
    ]
    assert [program_is_ours(installed, name) for name in names] == [True, True]
    patch(installed, REMOVE)
    rolled_out(installed)
    assert f"note: this pod itself runs under {PROGRAM}" in installer_log(installed)
    assert [pods.enter(name, "echo entered") for name in names] == ["entered\n"] * 2
    later = pods.begin(pod("later", container(), handler=None))
    assert not program_is_ours(installed, later)
    begins_anew(installed)
    is_told(installed, *names)
    assert [pods.enter(name, "echo entered") for name in names] == ["entered\n"] * 2
    pods.delete(*names)
    settles(installed)
    assert (left(installed), engine_files(installed)) == ([], pristine)
    assert pods.enter(later, "echo entered") == "entered\n"
    pods.delete(later)
