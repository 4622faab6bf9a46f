"""Network devices that CDI gives to a container: through the runtime, or moved by pyshim's hook.

runtime-spec 1.3 has linux.netDevices; a runtime whose `features` do not enable it ignores the
property, and runc and crun lose the interface or its addresses in some cases (lowlevel/quirks.py).
For those pyshim takes the property and adds a createRuntime hook that moves the interfaces
(hooks/net_devices.py).
Nothing is moved or edited here, but the runtime is asked, once, and the answer cached.
"""

from __future__ import annotations

import os

from ocishim import jsonio
from ocishim.errors import DocumentError, StaleError, UnresolvedDeviceError
from ocishim.hookplan import knownhooks
from ocishim.lowlevel import lowlevel, quirks
from ocishim.oci import hookchanges
from ocishim.oci.hooktable import MOVE_NET_DEVICES
from ocishim.oci.members import find, find_dict, find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cache import Cache
    from ocishim.oci.changes import Change
    from ocishim.oci.types import Hook

_SYSFS = "/sys/class/net"
_OWN_NETWORK = "/proc/self/ns/net"
_NAME_MAX = 15  # IFNAMSIZ less its NUL, netdevice(7)


def wanted(spec: dict[str, Any]) -> dict[str, str]:
    """Return host interface name -> name in the container from linux.netDevices, maybe empty.

    Raises DocumentError for a property of another shape.
    """
    devices = find_dict(spec, "linux", "netDevices")
    found = {}
    for host, device in devices.items():
        name = device.get("name") if isinstance(device, dict) else None
        found[host] = name if isinstance(name, str) and name else host
    return found


def arrange(
    spec: dict[str, Any], runtime: str, cache: Cache, hook_program: str, timeout: int
) -> tuple[list[Change], list[str]]:
    """See to it that linux.netDevices reach the container: the change, if one is due, and how.

    runtime: the low-level runtime's path.
    Raises UnresolvedDeviceError for an interface the host does not have or a name that is none,
    and where the container has the host's network.
    """
    devices = wanted(spec)
    if not devices:
        return [], []
    _check(devices)
    _check_namespace(spec, next(iter(devices)))
    if _supported(runtime, cache):
        return [], [f"network device {host}: moved by the runtime" for host in devices]
    hook: Hook = {
        "path": hook_program,
        "args": ["pyshim-hook", MOVE_NET_DEVICES, *map("=".join, devices.items())],
        "env": list(knownhooks.MINIMAL_ENV),
        "timeout": timeout,
    }
    told = [f"network device {host}: moved by a createRuntime hook of pyshim" for host in devices]
    put = hookchanges.PutFirstHook("createRuntime", hook, told)
    return [hookchanges.TakeNetDevices(), put], told


def _check_namespace(spec: dict[str, Any], device: str) -> None:
    """Refuse the host's network: there is nowhere to move to, and crun would say nothing."""
    namespaces = find_list(spec, "linux", "namespaces")
    at = find(namespaces, "type", "network")
    path = namespaces[at].get("path") if at >= 0 else _OWN_NETWORK
    if path and _is_own(path):
        raise UnresolvedDeviceError(
            f"network device {device!r} cannot be given to a container in the host's network",
            hint="give it a network namespace of its own, or ask without the device",
        )


def _is_own(path: object) -> bool:
    try:
        return os.path.samestat(os.stat(str(path)), os.stat(_OWN_NETWORK))
    except OSError:
        return False  # the runtime says what is wrong with it


def _check(devices: dict[str, str]) -> None:
    """Refuse before anything runs what can only fail: no such interface, no such name."""
    takers: dict[str, str] = {}
    for host, name in devices.items():
        for text in (host, name):
            if not _is_interface_name(text):
                raise UnresolvedDeviceError(
                    f"network device {text!r} is no interface name",
                    hint=f"at most {_NAME_MAX} bytes, and none of '/', ':' and blanks",
                )
        if not os.path.exists(f"{_SYSFS}/{host}"):
            raise StaleError(
                f"network device {host!r} is not on this host",
                hint="another container may have it; 'ip link' lists what is there",
            )
        # The reference compares the names of one device's edits only. A %d is the kernel's to fill.
        if takers.setdefault(name, host) != host and "%d" not in name:
            raise UnresolvedDeviceError(
                f"network devices {takers[name]!r} and {host!r} are both to be {name!r} "
                "in the container",
                hint="ask for one of the two",
            )


def _is_interface_name(text: str) -> bool:
    """Whether the kernel takes it: dev_valid_name() in net/core/dev.c."""
    bad = not text or len(text.encode(errors="surrogateescape")) > _NAME_MAX or text in (".", "..")
    return not bad and not any(char in "/:" or char.isspace() for char in text)


def _supported(runtime: str, cache: Cache) -> bool:
    """Whether the runtime moves interfaces and loses none; asked once per binary."""
    if not quirks.of(lowlevel.version(runtime, cache)).keeps_net_devices:
        return False
    return lowlevel.remembered("lowlevel-netdevices", runtime, cache, bool, _has_them)


def _has_them(runtime: str) -> bool:
    """Whether the runtime's features say that it has linux.netDevices."""
    status, output = lowlevel.asked(runtime, "features")
    try:
        features = jsonio.loads(output, "features")
        return status == 0 and features["linux"]["netDevices"]["enabled"] is True
    except (DocumentError, KeyError, TypeError):
        return False
