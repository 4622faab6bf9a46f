"""Requests without annotations: environment variables and volume mounts of the device plugins.

Pure, and off until the configuration switches it on: an image can set its own environment, so
whoever honours it lets the image choose its devices. Sources: NVIDIA's device plugin strategies
`envvar` and `volume-mounts`, AMD's AMD_VISIBLE_DEVICES with ranges.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTS_ROOT = "/var/run/nvidia-container-devices"
DEFAULT_KIND = "nvidia.com/gpu"

_MAX_RANGE = 1024


def env_value(spec: dict[str, Any], name: str) -> str | None:
    """Return the value of the environment variable `name`, None when unset.

    The last entry of a name wins, as in every runtime; an entry without "=" is no variable.
    """
    value = None
    for entry in variables(spec):
        if entry.startswith(name + "="):
            value = entry[len(name) + 1 :]
    return value


def variables(spec: dict[str, Any]) -> list[str]:
    """Return the entries of process.env that are text, as they stand there."""
    process = spec.get("process")
    env = process.get("env") if isinstance(process, dict) else None
    return [entry for entry in env if isinstance(entry, str)] if isinstance(env, list) else []


def is_privileged(spec: dict[str, Any]) -> bool:
    """Return True when the container may have CAP_SYS_ADMIN (its bounding set)."""
    process = spec.get("process")
    capabilities = process.get("capabilities") if isinstance(process, dict) else None
    bounding = capabilities.get("bounding") if isinstance(capabilities, dict) else None
    return isinstance(bounding, list) and "CAP_SYS_ADMIN" in bounding


def device_names(value: str, kind: str) -> list[str]:
    """Return the qualified names that a list such as `0,GPU-1,2-4,all` stands for, once each.

    Blanks and empty items are skipped. `void` anywhere, or `none`, asks for nothing; `all` is the
    device of that name. `0-3` is a range of indices; `vendor.com/class=name` stands for itself.
    A path (the value beside volume mounts) asks for nothing.
    """
    items = [item.strip() for item in value.split(",")]
    if "void" in items or value.strip().startswith("/"):
        return []
    names: dict[str, None] = {}
    for item in items:
        for name in _expand(item):
            names[name if "=" in name else f"{kind}={name}"] = None
    return list(names)


def _expand(item: str) -> list[str]:
    if item in ("", "none"):
        return []
    first, dash, last = item.partition("-")
    if dash and _is_number(first) and _is_number(last):
        low, high = int(first), int(last)
        if low <= high < low + _MAX_RANGE:
            return [str(number) for number in range(low, high + 1)]
    return [item]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def mounted_names(spec: dict[str, Any], kind: str) -> list[str]:
    """Return the qualified names that mounts of /dev/null below MOUNTS_ROOT ask for.

    `<id>` is a device of `kind`; `cdi/<vendor>/<class>/<name>` and `cdi/<vendor>/<class>=<name>`
    are qualified. `imex/<channel>` is left to the IMEX channel's own mechanism.
    """
    return list(dict.fromkeys(name for _, name in mounted(spec, kind) if name))


def mounted(spec: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    """Return the destination of each mount that asks so and the name it asks for.

    "" is what none of those forms has.
    """
    asked = []
    mounts = spec.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        destination = mount.get("destination") if isinstance(mount, dict) else None
        if not isinstance(destination, str) or mount.get("source") != "/dev/null":
            continue
        if not destination.startswith(MOUNTS_ROOT + "/"):
            continue
        parts = [part for part in destination[len(MOUNTS_ROOT) + 1 :].split("/") if part]
        if parts and parts[0] != "imex" and parts not in (["none"], ["void"]):
            asked.append((destination, _mounted(parts, kind)))
    return asked


def _mounted(parts: list[str], kind: str) -> str:
    if parts[0] != "cdi":
        return f"{kind}={parts[0]}" if len(parts) == 1 else ""
    if len(parts) == 4:
        return f"{parts[1]}/{parts[2]}={parts[3]}"
    return f"{parts[1]}/{parts[2]}" if len(parts) == 3 and "=" in parts[2] else ""
