"""Pods, and what the cluster says of them.

A pod has one container, `main`, that runs a script. Leaves the cluster to cluster.py.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.kubernetes.cluster import restarts

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster

IMAGE = "pyshim.test/glibc:1"
SLEEP = "trap 'exit 0' TERM; sleep 100000 & wait"
_SECONDS = 60

Object = dict[str, Any]


def container(script: str = SLEEP, *, name: str = "main", **fields: Any) -> Object:
    """Return a container that runs `script`; `fields` are the API's."""
    return {"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", script], **fields}


def asking(resource: str, count: int = 1) -> Object:
    """Return the fields of a container that asks a device plugin."""
    return {"resources": {"limits": {resource: str(count)}}}


def pod(name: str, *containers: Object, handler: str | None = "pyshim", **fields: Any) -> Object:
    """Return a pod that runs once; `fields` are those of its spec."""
    spec: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "containers": list(containers),
        **fields,
    }
    if handler:
        spec["runtimeClassName"] = handler
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


class Pods:
    """The pods of one test, which are deleted after it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.names: list[str] = []

    def create(self, *pods: Object) -> None:
        """Create pods, as one request each and none waited for."""
        self.names += [one["metadata"]["name"] for one in pods]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(pods)})
        self.cluster.done("create", "-f", "-", text=text)

    def run(self, one: Object) -> tuple[str, str]:
        """Create a pod and wait for its end; its phase and what `main` printed."""
        self.create(one)
        name = one["metadata"]["name"]
        self.until(name, "Succeeded", "Failed")
        return self.phase(name), self.cluster.done("logs", name, "-c", "main")

    def begin(self, one: Object) -> str:
        """Create a pod, wait until it is ready and return its name."""
        self.create(one)
        name: str = one["metadata"]["name"]
        self.ready(name)
        return name

    def ready(self, *names: str, seconds: int = _SECONDS) -> None:
        """Wait until pods are ready."""
        done = self.cluster.kubectl(
            "wait", "--for=condition=Ready", f"--timeout={seconds}s", *(f"pod/{n}" for n in names)
        )
        assert done.returncode == 0, (done.stderr, self.described(*names))

    def until(self, name: str, *phases: str) -> None:
        """Wait until a pod is in one of these phases."""
        deadline = time.monotonic() + _SECONDS
        while self.phase(name) not in phases:
            assert time.monotonic() < deadline, self.described(name)
            time.sleep(0.2)

    def phase(self, name: str) -> str:
        """Return Pending, Running, Succeeded or Failed."""
        return self.cluster.done("get", "pod", name, "-o", "jsonpath={.status.phase}")

    def described(self, *names: str) -> str:
        """Return what `kubectl describe` shows a user."""
        return self.cluster.done("describe", "pod", *names)

    def says(self, name: str, words: str) -> str:
        """Wait until a pod's events have these words; the line with them."""
        deadline = time.monotonic() + _SECONDS
        # A container's state, which stands before them, may have the words as well.
        while words not in (events := (shown := self.described(name)).partition("\nEvents:")[2]):
            assert time.monotonic() < deadline, shown
            time.sleep(0.5)
        return next(line for line in events.splitlines() if words in line)

    def enter(self, name: str, script: str, container: str = "main") -> str:
        """Run a script in a container by kubectl exec; what it printed."""
        return self.cluster.done("exec", name, "-c", container, "--", "/bin/sh", "-c", script)

    def restart(self, name: str) -> None:
        """End the first process of `main`, and wait until the kubelet has started it anew."""
        count = restarts(self.cluster, name)
        # Whoever was faster: the shell may be killed with its container.
        self.cluster.kubectl("exec", name, "-c", "main", "--", "/bin/sh", "-c", "kill 1")
        self.cluster.until(lambda: restarts(self.cluster, name) > count, "kubelet")
        self.ready(name)

    def delete(self, *names: str, force: bool = False) -> None:
        """Delete pods and wait until they are gone."""
        options = ["--force", "--grace-period=0"] if force else []
        self.cluster.done("delete", "pod", *options, "--timeout=60s", *names)
        self.names = [name for name in self.names if name not in names]

    def end(self) -> None:
        """Delete what the test has left."""
        if self.names:
            options = ("--ignore-not-found", "--timeout=90s", "--grace-period=1")
            self.cluster.done("delete", "pod", *options, *self.names)
