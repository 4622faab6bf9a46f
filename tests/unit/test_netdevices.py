"""Who moves network interfaces into a container: the runtime, pyshim, or nobody, which is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocishim.cache import Cache
from ocishim.errors import UnresolvedDeviceError
from ocishim.hookplan import netdevices
from ocishim.oci import spec as oci_spec

HOOK = {
    "path": "/bin/pyshim-hook",
    "args": ["pyshim-hook", "move-net-devices", "lo=eth7"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "timeout": 10,
}
OURS = "network device lo: moved by a createRuntime hook of pyshim"
THEIRS = "network device lo: moved by the runtime"


def runtime(folder: Path, version: str, *, features: str) -> str:
    path = folder / "runtime"
    path.write_text(
        f"#!/bin/sh\ncase $1 in\n--version) echo '{version}';;\nfeatures) {features};;\nesac\n"
    )
    path.chmod(0o755)
    return str(path)


def spec(*namespaces: dict[str, str]) -> dict[str, Any]:
    return {"linux": {"namespaces": list(namespaces), "netDevices": {"lo": {"name": "eth7"}}}}


def arranged(document: dict[str, Any], program: str) -> list[str]:
    changes, told = netdevices.arrange(document, program, Cache(""), "/bin/pyshim-hook", 10)
    oci_spec.apply(document, changes)
    return told


HAS = """echo '{"linux": {"netDevices": {"enabled": true}}}'"""


@pytest.mark.parametrize(
    ("version", "features", "ours"),
    [
        pytest.param("runc version 1.1.5", "exit 1", True, id="runc without"),
        pytest.param("runc version 1.4.4", HAS, True, id="runc loses IPv6 addresses"),
        pytest.param("crun version 1.28", HAS, True, id="crun loses interfaces"),
        pytest.param("youki version: 0.9.0", HAS, False, id="another that has them"),
        pytest.param("youki version: 0.7.0", "echo '{}'", True, id="another that has not"),
    ],
)
def test_who_moves(tmp_path: Path, version: str, features: str, ours: bool) -> None:  # noqa: FBT001
    document = spec({"type": "network"})
    before = spec({"type": "network"})
    told = arranged(document, runtime(tmp_path, version, features=features))
    assert told == [OURS if ours else THEIRS]
    if ours:
        del before["linux"]["netDevices"]
        before["hooks"] = {"createRuntime": [HOOK]}
    assert document == before


OWN = {"type": "network", "path": "/proc/self/ns/net"}


@pytest.mark.parametrize(
    "namespaces",
    [
        pytest.param([], id="no network namespace"),
        pytest.param([{"type": "pid"}], id="only others"),
        pytest.param([OWN], id="the host's by its path"),
        pytest.param([{**OWN, "path": f"/proc/{os.getpid()}/ns/net"}], id="by another path"),
    ],
)
@pytest.mark.parametrize("version", ["runc version 1.4.4", "crun version 1.28", "x version 1"])
def test_the_hosts_network(tmp_path: Path, namespaces: list[dict[str, str]], version: str) -> None:
    document = spec(*namespaces)
    with pytest.raises(UnresolvedDeviceError) as caught:
        arranged(document, runtime(tmp_path, version, features=HAS))
    assert str(caught.value) == (
        "network device 'lo' cannot be given to a container in the host's network"
        " (give it a network namespace of its own, or ask without the device)"
    )
    assert document == spec(*namespaces)


def test_a_pods_network(tmp_path: Path) -> None:
    """A path that leads elsewhere, or nowhere, is the runtime's to judge."""
    document = spec({"type": "network", "path": str(tmp_path / "netns")})
    assert arranged(document, runtime(tmp_path, "runc version 1.4.4", features=HAS)) == [OURS]


def test_twice_is_once(tmp_path: Path) -> None:
    program = runtime(tmp_path, "runc version 1.4.4", features=HAS)
    document = spec({"type": "network"})
    arranged(document, program)
    once = {**document, "hooks": {"createRuntime": list(document["hooks"]["createRuntime"])}}
    document["linux"]["netDevices"] = {"lo": {"name": "eth7"}}
    arranged(document, program)
    assert document == once
