"""Podman's configuration: a drop-in in containers.conf.d (containers.conf(5)).

Podman asks for errors as JSON only from runtimes whose program's name is in
runtime_supports_json, and a drop-in replaces such a list as a whole, so ours repeats it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import read
from ocishim.admin.editing.tomlfile import find
from ocishim.admin.engines import HEADER, Plan, complaint, programs, whole_file
from ocishim.errors import ConfigError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

PROGRAMS = ("podman",)
CONFIG = "/etc/containers/containers.conf"
DROP_IN = "99-pyshim.conf"
NEXT_STEP = ""  # Podman reads its configuration at every start

_VENDOR_CONFIG = "/usr/share/containers/containers.conf"
_JSON_DEFAULT = ["crun", "runc", "kata", "runsc", "youki", "krun"]  # containers.conf(5)


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for Podman to have, or no longer have, the runtime."""
    config = wish.config or CONFIG
    drop_in = wish.drop_in or f"{config}.d/{DROP_IN}"
    if wish.remove:
        return Plan([whole_file(host, drop_in, None)], NEXT_STEP)
    known = _supports_json(host, config, drop_in)
    engine: dict[str, Any] = {
        "runtime_supports_json": list(dict.fromkeys([*known, os.path.basename(wish.program)])),
        "runtimes": {wish.name: [wish.program]},
    }
    if wish.set_as_default:
        engine["runtime"] = wish.name
    if wish.enable_cdi:
        engine["cdi_spec_dirs"] = wish.spec_dirs
    text = HEADER.format(engine="podman") + tomlfile.dumps({"engine": engine})
    return Plan([whole_file(host, drop_in, text)], NEXT_STEP)


def program(host: Host, wish: Wish) -> str:  # noqa: ARG001 - another engine's
    """Return the path of podman, "" when it is not there."""
    return programs.find(host, PROGRAMS)


def problem(host: Host, wish: Wish, scratch: str) -> str:
    """Return Podman's words where it cannot read its files, "" where it can.

    Its storage is a new one below `scratch`: looking must not make the machine's.
    """
    named = wish.drop_in or (f"{wish.config}.d/{DROP_IN}" if wish.config else "")
    if named and not host.is_file(named):
        return ""
    only = [f"CONTAINERS_CONF={named}"] if named else []
    own = [f"--{name}={scratch}/{name}" for name in ("root", "runroot", "tmpdir")]
    argv = [program(host, wish), *own, "--storage-driver=vfs", "--events-backend=none", "info"]
    return complaint(host, "env", "HOME=/root", *only, *argv)


def files(host: Host, config: str, folder: str = "") -> list[str]:
    """Return the files that Podman reads, in its order; `folder` has the drop-ins."""
    folder = folder or f"{config}.d"
    real = host.real(folder)
    names = sorted(os.listdir(real)) if os.path.isdir(real) else []
    drop_ins = [f"{folder}/{name}" for name in names if name.endswith(".conf")]
    return [_VENDOR_CONFIG, config, *drop_ins]


def _supports_json(host: Host, config: str, drop_in: str) -> list[str]:
    """Return the list in force without our drop-in."""
    result = _JSON_DEFAULT
    for path in files(host, config, os.path.dirname(drop_in)):
        if path != drop_in:
            tree = tomlfile.plain(read(host, path) or "", path)
            found = find(tree, "engine", "runtime_supports_json") or result
            if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
                where = "'engine.runtime_supports_json'"
                raise ConfigError(
                    f"{path}: expected array of strings in {where}", hint=f"correct {path}"
                )
            result = found
    return result
