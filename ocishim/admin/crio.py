"""CRI-O's configuration: always a drop-in in crio.conf.d, merged key by key over crio.conf.

Grammar: docs/crio.conf.5.md and crio.conf.d.5.md of CRI-O. CRI-O applies CDI annotations itself
and always; there is nothing to enable.
"""

from __future__ import annotations

import os
from typing import Any

from ocishim.admin import tomlfile
from ocishim.admin.engines import HEADER, Plan, Wish, first_table, own_runtime, whole_file
from ocishim.admin.files import read
from ocishim.admin.host import Host
from ocishim.admin.tomlfile import find

CONFIG = "/etc/crio/crio.conf"
DROP_IN = "99-pyshim.conf"
NEXT_STEP = "systemctl reload crio"  # runtimes and default_runtime are read anew on SIGHUP

# Of the copied runtime these say which program it is; the rest is how CRI-O treats it.
_NOT_COPIED = (
    "runtime_path",
    "runtime_type",
    "runtime_config_path",
    "platform_runtime_paths",
    "inherit_default_runtime",
)
_DEFAULT_ROOT = "/run/runc"  # without one CRI-O would call us with --root ''


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for CRI-O to have, or no longer have, the runtime."""
    config = wish.config or CONFIG
    drop_in = wish.drop_in or f"{config}.d/{DROP_IN}"
    if wish.remove:
        return Plan([whole_file(host, drop_in, None)], NEXT_STEP)
    effective = _effective(host, config, drop_in)
    runtime: dict[str, Any] = {"runtimes": {wish.name: entry(effective, wish)}}
    if wish.set_as_default:
        runtime["default_runtime"] = wish.name
    text = HEADER.format(engine="crio") + tomlfile.dumps({"crio": {"runtime": runtime}})
    notes = ["CRI-O applies CDI annotations itself, always"] if wish.enable_cdi else []
    program = _source(effective).get("runtime_path")
    if program and program != wish.program:
        notes.append(own_runtime(program, "CRI-O"))
    return Plan([whole_file(host, drop_in, text)], NEXT_STEP, notes)


def entry(effective: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Return the runtime's table: how CRI-O treats its default runtime, with our program."""
    source = _source(effective)
    kept = {key: value for key, value in source.items() if value and key not in _NOT_COPIED}
    return {
        "runtime_path": wish.program,
        "runtime_type": "oci",
        "runtime_root": _DEFAULT_ROOT,
        **kept,
    }


def _source(effective: dict[str, Any]) -> dict[str, Any]:
    """Return the table of the runtime to be copied: the default one, if it is of our type."""
    runtimes = find(effective, "crio", "runtime", "runtimes")
    oci = {
        name: table
        for name, table in (runtimes.items() if isinstance(runtimes, dict) else ())
        if isinstance(table, dict) and table.get("runtime_type", "oci") in ("", "oci")
    }
    default = find(effective, "crio", "runtime", "default_runtime")
    return first_table(oci, default, "crun", "runc")


def _effective(host: Host, config: str, drop_in: str) -> dict[str, Any]:
    """Return what crio.conf and its drop-ins say, ours aside."""
    folder = os.path.dirname(drop_in)
    real = host.real(folder)
    names = sorted(os.listdir(real)) if os.path.isdir(real) else []
    paths = [config, *(f"{folder}/{name}" for name in names)]
    result: dict[str, Any] = {}
    for path in paths:
        if path != drop_in and not os.path.isdir(host.real(path)):
            result = tomlfile.merged(result, tomlfile.plain(read(host, path) or "", path))
    return result
