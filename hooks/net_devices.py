"""move-net-devices HOST=NAME...: put the host's network interfaces into a container's namespace.

A createRuntime hook: it runs in the host's namespaces with the container's pid in the state.
Cold: pyroute2 speaks rtnetlink. runtime-spec config-linux.md, "Network Devices": keep permanent
global addresses, set the link up, refuse a name that is taken. All is checked before the first
interface moves, and a failure moves back what has moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ocishim.errors import HookError, UsageError
from ocishim.oci.hooktable import MOVE_NET_DEVICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocishim.oci.state import State

_RT_SCOPE_UNIVERSE = 0
_IFA_F_PERMANENT = 0x80


class Device:
    """One interface to move: its names, and what it had on the host.

    index: its number there. there: its number in the container, 0 before it has moved.
    """

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.name = name
        self.index = 0
        self.there = 0
        self.addresses: list[tuple[str, int]] = []


def run(words: Sequence[str], state: State) -> None:
    """Move what `words` name into the namespace of the container `state` tells of."""
    devices = parse(words)
    if state.pid < 1:
        raise HookError(f"{MOVE_NET_DEVICES}: the runtime tells no pid of the container")
    apply(devices, state.pid)


def parse(words: Sequence[str]) -> list[Device]:
    """Return the devices of `HOST=NAME` words; UsageError for anything else."""
    devices = []
    for word in words:
        host, _, name = word.partition("=")
        if not host or not name:
            raise UsageError(f"{word!r} is not HOST=NAME")
        devices.append(Device(host, name))
    return devices


def apply(devices: list[Device], pid: int) -> None:
    """Move `devices` into the network namespace of process `pid`; HookError says why not."""
    from pyroute2 import IPRoute, NetNS  # noqa: PLC0415 - 100 ms, only where it is needed
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    namespace = f"/proc/{pid}/ns/net"
    if os.path.samefile(namespace, "/proc/self/ns/net"):
        raise HookError("the container has the host's network: there is nowhere to move to")
    with IPRoute() as host, _opened(NetNS, namespace) as container:
        _look_up(host, container, devices)
        moved: list[Device] = []
        try:
            for device in devices:
                moved.append(device)
                _move(host, container, device, namespace)
        except (NetlinkError, OSError) as error:
            for device in moved:
                _move_back(host, container, device)
            failed = moved[-1]
            raise HookError(f"network device {failed.host}: {error}") from error


@contextmanager
def _opened(kind: Any, namespace: str) -> Iterator[Any]:
    opened = kind(namespace, flags=0)
    try:
        yield opened
    finally:
        opened.close()


def _look_up(host: Any, container: Any, devices: list[Device]) -> None:
    for device in devices:
        found = host.link_lookup(ifname=device.host)
        if not found:
            raise HookError(f"network device {device.host!r} is not on this host")
        device.index = found[0]
        if "%d" not in device.name and container.link_lookup(ifname=device.name):
            raise HookError(
                f"network device {device.host!r}: the name {device.name!r} is taken in the "
                "container"
            )
        for message in host.get_addr(index=device.index):
            permanent = (message.get_attr("IFA_FLAGS") or 0) & _IFA_F_PERMANENT
            if message["scope"] == _RT_SCOPE_UNIVERSE and permanent:
                local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                device.addresses.append((local, message["prefixlen"]))


def _move(host: Any, container: Any, device: Device, namespace: str) -> None:
    before = _indexes(container)
    try:
        _give(host, device.index, namespace, device.name)
    finally:
        # The kernel moves first and renames then: a link whose name it refuses has moved as well.
        # And it picks the number where the name holds %d, and another index where ours is taken.
        device.there = next(iter(_indexes(container) - before), 0)
    _bring_up(container, device.there, device)


def _indexes(side: Any) -> set[int]:
    return {link["index"] for link in side.get_links()}


def _move_back(host: Any, container: Any, device: Device) -> None:
    """Best effort: the failure that led here is what gets reported."""
    try:
        if device.there:
            _give(container, device.there, "/proc/self/ns/net", device.host)
        _bring_up(host, host.link_lookup(ifname=device.host)[0], device)
    except Exception:  # noqa: BLE001, S110 - pyroute2 raises many kinds; see the docstring
        pass


def _give(side: Any, index: int, namespace: str, name: str) -> None:
    """Take the link down and put it into `namespace` under `name`."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        side.link("set", index=index, state="down")
        side.link("set", index=index, net_ns_fd=descriptor, ifname=name)
    finally:
        os.close(descriptor)


def _bring_up(side: Any, index: int, device: Device) -> None:
    """Set the link up and give it the addresses it had.

    In this order: IPv6 ones go when it goes down, and when it comes up while its peer is down.
    """
    side.link("set", index=index, state="up")
    has = {message.get_attr("IFA_ADDRESS") for message in side.get_addr(index=index)}
    for address, prefix in device.addresses:
        if address not in has:
            side.addr("add", index=index, address=address, prefixlen=prefix)
