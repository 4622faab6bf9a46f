"""Podman's configuration: a drop-in in containers.conf.d (containers.conf(5)).

Podman asks for errors as JSON only from runtimes whose program's name is in
runtime_supports_json, and --cgroups=disabled only of those in runtime_supports_nocgroup (so
Podman's code; its manual says ...nocgroups, which other versions read), where crun alone belongs.
A drop-in replaces such a list as a whole, so ours repeats it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import find
from ocishim.admin.engines import HEADER, Plan, complaint, dropins, programs, whole_file
from ocishim.errors import ConfigError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

PROGRAMS = ("podman",)
CONFIG = "/etc/containers/containers.conf"
DROP_IN = "99-pyshim.conf"
UNIT = ""  # Podman reads its configuration at every start

_VENDOR_CONFIG = "/usr/share/containers/containers.conf"
_CGROUPS = "/sys/fs/cgroup"
_JSON = ("runtime_supports_json",)
_NO_CGROUPS = ("runtime_supports_nocgroup", "runtime_supports_nocgroups")
_DEFAULTS = {  # containers.conf(5)
    **{key: ["crun", "runc", "kata", "runsc", "youki", "krun"] for key in _JSON},
    **{key: ["crun", "krun"] for key in _NO_CGROUPS},
}


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for Podman to have, or no longer have, the runtime."""
    config = wish.config or CONFIG
    drop_in = wish.drop_in or f"{config}.d/{DROP_IN}"
    if wish.remove:
        return Plan([whole_file(host, drop_in, None)], UNIT)
    program = os.path.basename(wish.program)
    keys = (*_JSON, *_NO_CGROUPS) if wish.lowlevel == "crun" else _JSON
    engine: dict[str, Any] = {
        key: list(dict.fromkeys([*_in_force(host, config, drop_in, key), program])) for key in keys
    }
    engine["runtimes"] = {wish.name: [wish.program]}
    if wish.set_as_default:
        engine["runtime"] = wish.name
    if wish.enable_cdi:
        engine["cdi_spec_dirs"] = wish.spec_dirs
    text = HEADER.format(engine="podman") + tomlfile.dumps({"engine": engine})
    notes = dropins.overridden(host, drop_in, {"engine": engine}, ".conf")
    return Plan([whole_file(host, drop_in, text)], UNIT, notes)


def program(host: Host, wish: Wish) -> str:  # noqa: ARG001 - another engine's
    """Return the path of podman, "" when it is not there."""
    return programs.find(host, PROGRAMS)


def problem(host: Host, wish: Wish, scratch: str) -> str:
    """Return Podman's words where it cannot read its files, "" where it can.

    Raises ConfigError in a tree in which it runs with no files whatever.
    Its storage is a new one below `scratch`: looking must not make the machine's.
    """
    named = wish.drop_in or (f"{wish.config}.d/{DROP_IN}" if wish.config else "")
    if named and not host.is_file(named):
        return ""
    only = [f"CONTAINERS_CONF={named}"] if named else []
    if host.elsewhere and not host.exists(_CGROUPS):
        raise ConfigError(f"it does not run without {_CGROUPS}, which {host.root} lacks")
    own = [f"--{name}={scratch}/{name}" for name in ("root", "runroot", "tmpdir")]
    argv = [program(host, wish), *own, "--storage-driver=vfs", "--events-backend=none", "info"]
    return complaint(host, "env", "HOME=/root", *only, *argv)


def files(host: Host, config: str, folder: str = "") -> list[str]:
    """Return the files that Podman reads, in its order; `folder` has the drop-ins."""
    folder = folder or f"{config}.d"
    found = dropins.paths(host, folder, DROP_IN)
    return [_VENDOR_CONFIG, config, *(path for path in found if path.endswith(".conf"))]


def _in_force(host: Host, config: str, drop_in: str, key: str) -> list[str]:
    """Return the list `key` that is in force without our drop-in.

    {append = true} in it has this list, and those of the files that follow, added to what was
    there (containers.conf(5)).
    """
    result, append = _DEFAULTS[key], False
    for path in files(host, config, os.path.dirname(drop_in)):
        found = find(dropins.tree(host, path, "engine"), "engine", key) or []
        if path == drop_in or not found:
            continue
        names, attributes = _apart(found, path, key)
        append = attributes.get("append", append)
        result = [*result, *names] if append else names
    return result


def _apart(found: object, path: str, key: str) -> tuple[list[str], dict[str, Any]]:
    """Return the names of a list, and what its tables say together."""
    listed = found if isinstance(found, list) else [None]
    if not all(isinstance(one, (str, dict)) for one in listed):
        fault = f"{path}: expected array of strings in 'engine.{key}'"
        raise ConfigError(fault, hint=f"correct {path}")
    attributes = [one for one in listed if isinstance(one, dict)]
    return [one for one in listed if isinstance(one, str)], {
        name: value for table in attributes for name, value in table.items()
    }
