"""Network devices, supplementary groups and cache classes from a CDI spec, on the real runtimes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pyroute2
import pytest
import yaml

from ocishim.errors import HookError
from ocishim.hooks import net_devices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = [
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # pyroute2's own
]
NIC = {"cdi.k8s.io/nic": "acme.com/nic=0"}
ADDRESSES = [("10.77.0.1", 24), ("fd77::1", 64)]


@pytest.fixture
def host() -> Iterator[Any]:
    with pyroute2.IPRoute() as opened:
        yield opened


@pytest.fixture
def veth(host: Any) -> Iterator[str]:
    """A pair of interfaces: one to give away, one that stays; both gone afterwards."""
    name, peer = f"ps{os.getpid() % 10000}a", f"ps{os.getpid() % 10000}b"
    host.link("add", ifname=name, kind="veth", peer=peer)
    index = host.link_lookup(ifname=name)[0]
    for address, prefix in ADDRESSES:
        host.addr("add", index=index, address=address, prefixlen=prefix)
    host.link("set", index=index, state="up")
    yield name
    for left in host.link_lookup(ifname=peer):
        with contextlib.suppress(pyroute2.NetlinkError):  # gone with the other's network namespace
            host.link("del", index=left)


def nic_spec(host_name: str, name: str, *more: tuple[str, str]) -> str:
    devices = [
        {"hostInterfaceName": one, "name": other} for one, other in ((host_name, name), *more)
    ]
    return yaml.safe_dump(
        {
            "cdiVersion": "1.1.0",
            "kind": "acme.com/nic",
            "devices": [{"name": "0", "containerEdits": {"netDevices": devices}}],
        }
    )


SHOW = "cd /sys/class/net && for i in *; do echo $i $(cat $i/operstate); done; ip -o addr"


def test_interface_moves_with_its_addresses_and_is_up(
    node: Node, busybox: Path, veth: str, host: Any
) -> None:
    node.shim.add_spec("nic.yaml", nic_spec(veth, "eth7"))

    result = node.run(node.bundle(busybox, SHOW, annotations=NIC))

    assert result.returncode == 0, result
    assert "eth7" in [line.split()[0] for line in result.stdout.splitlines()]
    for address, prefix in ADDRESSES:
        assert f"{address}/{prefix}" in result.stdout
    assert not host.link_lookup(ifname=veth)


def test_name_taken_in_the_container_moves_nothing(
    node: Node, busybox: Path, veth: str, host: Any
) -> None:
    node.shim.add_spec("nic.yaml", nic_spec(veth, "lo"))

    result = node.run(node.bundle(busybox, SHOW, annotations=NIC))

    assert result.returncode != 0
    if "runc" in str(node.shim.lowlevel):  # crun keeps a hook's words to itself
        assert f"network device '{veth}': the name 'lo' is taken in the container" in result.stderr
    assert_untouched(host, veth)


def test_second_interface_missing_moves_nothing(
    node: Node, busybox: Path, veth: str, host: Any
) -> None:
    node.shim.add_spec("nic.yaml", nic_spec(veth, "eth7", ("nosuch0", "eth8")))

    result = node.run(node.bundle(busybox, SHOW, annotations=NIC))

    assert result.stderr.strip() == (
        "pyshim: network device 'nosuch0' is not on this host "
        "(another container may have it; 'ip link' lists what is there)"
    )
    assert_untouched(host, veth)


def test_two_interfaces_of_one_name_move_nothing(
    node: Node, busybox: Path, veth: str, host: Any
) -> None:
    """The CDI reference allows it: it compares the names of one device's edits only."""
    peer = veth[:-1] + "b"
    document = yaml.safe_load(nic_spec(veth, "eth7"))
    edits = {"netDevices": [{"hostInterfaceName": peer, "name": "eth7"}]}
    document["devices"].append({"name": "1", "containerEdits": edits})
    node.shim.add_spec("nic.yaml", yaml.safe_dump(document))
    asked = {"cdi.k8s.io/nic": "acme.com/nic=0,acme.com/nic=1"}

    result = node.run(node.bundle(busybox, SHOW, annotations=asked))

    assert result.stderr.strip() == (
        f"pyshim: network devices '{veth}' and '{peer}' are both to be 'eth7' in the container "
        "(ask for one of the two)"
    )
    assert_untouched(host, veth)


@pytest.mark.parametrize("name", ["eth7", "gpu%d"])
def test_what_has_moved_comes_back(veth: str, host: Any, name: str) -> None:
    """The second fails while it moves, all checks passed: its name is taken meanwhile."""
    peer = veth[:-1] + "b"
    container = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    try:
        _wait_for_namespace(container.pid)
        first, second = net_devices.parse([f"{veth}={name}", f"{peer}=lo2"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(net_devices, "_look_up", _looked_up_before_lo2_was_there)
            with pytest.raises(HookError, match=f"^network device {peer}: .*File exists"):
                net_devices.apply([first, second], container.pid)
        assert_untouched(host, veth)
        assert host.link_lookup(ifname=peer)
    finally:
        container.kill()
        container.wait()


def _wait_for_namespace(pid: int) -> None:
    own = os.readlink("/proc/self/ns/net")
    for _ in range(200):
        if os.readlink(f"/proc/{pid}/ns/net") != own:
            return
        time.sleep(0.02)
    raise AssertionError("no network namespace of its own")


_look_up = net_devices._look_up


def _looked_up_before_lo2_was_there(host: Any, container: Any, devices: Any) -> None:
    _look_up(host, container, devices)
    container.link("add", ifname="lo2", kind="veth", peer="lo3")


def assert_untouched(host: Any, name: str) -> None:
    index = host.link_lookup(ifname=name)
    assert index, f"{name} is gone"
    assert host.get_links(index[0])[0]["state"] == "up"
    found = {message.get_attr("IFA_ADDRESS") for message in host.get_addr(index=index[0])}
    assert {address for address, _ in ADDRESSES} <= found


def test_host_network_is_refused(node: Node, busybox: Path, veth: str, host: Any) -> None:
    node.shim.add_spec("nic.yaml", nic_spec(veth, "eth7"))
    bundle = node.bundle(busybox, "true", annotations=NIC)
    spec = bundle.spec
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
    bundle.write(spec)

    assert node.run(bundle).returncode != 0
    assert_untouched(host, veth)


def edited(node: Node, bundle: Bundle, features: str) -> dict[str, Any]:
    """Let pyshim edit `bundle` for a runtime that answers `features` with that text."""
    runtime = node.folder / "runtime"
    runtime.write_text(f"#!/bin/sh\n[ \"$1\" = features ] && echo '{features}'\nexit 0\n")
    runtime.chmod(0o755)
    node.shim.lowlevel = str(runtime)
    node.shim.configure()
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 0, result
    return dict(bundle.spec)


@pytest.mark.parametrize(
    ("features", "hooks"),
    [
        pytest.param('{"linux": {"netDevices": {"enabled": true}}}', 0, id="the runtime's work"),
        pytest.param('{"linux": {"netDevices": {"enabled": false}}}', 1, id="disabled"),
        pytest.param('{"linux": {}}', 1, id="unknown to it"),
        pytest.param("no JSON", 1, id="no features"),
    ],
)
def test_features_decide_who_moves(
    node: Node, busybox: Path, veth: str, features: str, hooks: int
) -> None:
    node.shim.add_spec("nic.yaml", nic_spec(veth, "eth7"))
    bundle = node.bundle(busybox, "true", annotations=NIC)

    spec = edited(node, bundle, features)

    left = spec["linux"].get("netDevices")
    assert left == (None if hooks else {veth: {"name": "eth7"}})  # moved by one of the two
    assert len(spec.get("hooks", {}).get("createRuntime", [])) == hooks
    assert edited(node, bundle, features) == spec  # once more changes nothing


def test_additional_groups(node: Node, busybox: Path) -> None:
    text = nic_spec("x", "y").replace("netDevices", "additionalGids")
    document = yaml.safe_load(text)
    document["devices"][0]["containerEdits"]["additionalGids"] = [4711, 0]
    node.shim.add_spec("gids.yaml", json.dumps(document))
    result = node.run(node.bundle(busybox, "id -G", annotations=NIC))
    assert result.stdout.split() == ["0", "4711"]


def test_cache_class_is_handed_down(node: Node, busybox: Path) -> None:
    """What the runtime makes of it is its own: runc refuses it where resctrl is not mounted."""
    document = yaml.safe_load(nic_spec("x", "y"))
    edits = document["devices"][0]["containerEdits"]
    del edits["netDevices"]
    edits["intelRdt"] = {"closID": "guaranteed", "l3CacheSchema": "L3:0=7f0"}
    node.shim.add_spec("rdt.yaml", json.dumps(document))
    bundle = node.bundle(busybox, "true", annotations=NIC)
    result = node.run(bundle)
    assert bundle.spec["linux"]["intelRdt"] == edits["intelRdt"]
    if "runc" in str(node.shim.lowlevel) and not os.path.exists("/sys/fs/resctrl/schemata"):
        assert result.returncode != 0
