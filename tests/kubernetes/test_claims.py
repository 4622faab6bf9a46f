"""Claims of dynamic resource allocation: a driver's spec for each, with a node, a library and hooks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.conftest import DRIVER_ROOT
from tests.kubernetes.pods import SLEEP, Object, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

NAME = "claims.pyshim.test"
API = "resource.k8s.io/v1"
LOOK = "ls /dev/claimed; readlink /usr/lib/libpyshimclaim.so; load libpyshimclaim.so.1"
SEEN = """/dev/claimed
libpyshimclaim.so.1.0
libpyshimclaim.so.1 => /usr/lib/libpyshimclaim.so.1
"""


@pytest.fixture(scope="session")
def claims(installed: Cluster, engine: str) -> Cluster:
    """The cluster with the driver, its DeviceClass and a template of claims."""
    if engine == "containerd1":
        pytest.skip("containerd 1.6 knows no CDIDevices")
    access = "/srv/lab/admin.conf"
    devices = [f"device{number}" for number in range(4)]
    installed.node.add_service("dra", "driver", "dra", NAME, access, "node", DRIVER_ROOT, *devices)
    installed.node.systemctl("start", "dra")
    request = {"name": "one", "exactly": {"deviceClassName": NAME}}
    objects: list[Object] = [
        {
            "apiVersion": API,
            "kind": "DeviceClass",
            "metadata": {"name": NAME},
            "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{NAME}"'}}]},
        },
        {
            "apiVersion": API,
            "kind": "ResourceClaimTemplate",
            "metadata": {"name": "one"},
            "spec": {"spec": {"devices": {"requests": [request]}}},
        },
    ]
    installed.done(
        "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    installed.until(lambda: installed.get("resourceslices")["items"], "dra")
    return installed


def claiming(name: str, script: str) -> Object:
    """Return a pod that claims a device."""
    main = container(script, resources={"claims": [{"name": "one"}]})
    claim = {"name": "one", "resourceClaimTemplateName": "one"}
    return pod(name, main, resourceClaims=[claim])


def test_a_claim_comes(claims: Cluster, pods: Pods) -> None:
    assert pods.run(claiming("claims", LOOK)) == ("Succeeded", SEEN)


def test_claims_come_and_go(claims: Cluster, pods: Pods) -> None:
    """Each has a spec of its own, which is gone with it."""
    names = [f"claims{number}" for number in range(3)]
    pods.create(*(claiming(name, SLEEP) for name in names))
    pods.ready(*names)
    assert [pods.enter(name, LOOK) for name in names] == [SEEN] * 3
    pods.delete(*names)
    specs = ("sh", "-c", f"ls /var/run/cdi | grep {NAME}")
    claims.until(lambda: claims.node.run(*specs).stdout == "", "dra")
