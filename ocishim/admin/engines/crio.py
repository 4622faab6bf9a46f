"""CRI-O's configuration: always a drop-in in crio.conf.d, merged key by key over crio.conf.

Grammar: docs/crio.conf.5.md and crio.conf.d.5.md of CRI-O. CRI-O applies CDI annotations itself
and always; there is nothing to enable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import find, find_table
from ocishim.admin.engines import (
    HEADER,
    Plan,
    complaint,
    dropins,
    first_table,
    own_runtime,
    programs,
    whole_file,
)

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

PROGRAMS = ("crio",)
CONFIG = "/etc/crio/crio.conf"
DROP_IN = "99-pyshim.conf"
# After SIGHUP CRI-O lists a new handler and refuses it, and serves one that was removed (seen).
UNIT = "crio"

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
        return Plan([whole_file(host, drop_in, None)], UNIT)
    others = effective(host, config, os.path.dirname(drop_in), without=drop_in)
    runtime: dict[str, Any] = {"runtimes": {wish.name: entry(others, wish)}}
    if wish.set_as_default:
        runtime["default_runtime"] = wish.name
    ours = {"crio": {"runtime": runtime}}
    text = HEADER.format(engine="crio") + tomlfile.dumps(ours)
    notes = ["CRI-O applies CDI annotations itself, always"] if wish.enable_cdi else []
    notes += dropins.overridden(host, drop_in, ours)
    own = _source(others).get("runtime_path")
    if own and own != wish.program:
        notes.append(own_runtime(own, "CRI-O"))
    return Plan([whole_file(host, drop_in, text)], UNIT, notes)


def program(host: Host, wish: Wish) -> str:  # noqa: ARG001 - another engine's
    """Return the path of crio, "" when it is not there."""
    return programs.find(host, PROGRAMS)


def problem(host: Host, wish: Wish, scratch: str) -> str:  # noqa: ARG001 - another engine's
    """Return CRI-O's words where it cannot read its files, "" where it can."""
    options = []
    if wish.config or wish.drop_in:
        config = wish.config or CONFIG
        folder = os.path.dirname(wish.drop_in) if wish.drop_in else f"{config}.d"
        # A file that is named and not there is an error, and the folder goes with the file.
        options = ["--config", config] if host.is_file(config) else []
        options += ["--config-dir", folder]
    return complaint(host, program(host, wish), *options, "config")


def entry(others: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Return the runtime's table: how CRI-O treats its default runtime, with our program."""
    source = _source(others)
    kept = {key: value for key, value in source.items() if value and key not in _NOT_COPIED}
    return {
        "runtime_path": wish.program,
        "runtime_type": "oci",
        "runtime_root": _DEFAULT_ROOT,
        **kept,
    }


def _source(others: dict[str, Any]) -> dict[str, Any]:
    """Return the table of the runtime to be copied: the default one, if it is of our type."""
    oci = {
        name: table
        for name, table in find_table(others, "crio", "runtime", "runtimes").items()
        if isinstance(table, dict) and table.get("runtime_type", "oci") in ("", "oci")
    }
    default = find(others, "crio", "runtime", "default_runtime")
    return first_table(oci, default, "crun", "runc")


def effective(host: Host, config: str = CONFIG, folder: str = "", without: str = "") -> Any:
    """Return what crio.conf and the drop-ins in `folder` say, the file `without` aside."""
    result: dict[str, Any] = {}
    for path in _files(host, config, folder or f"{config}.d"):
        if path != without:
            result = tomlfile.merged(result, dropins.tree(host, path, "crio", "runtime"))
    return result


def files(host: Host) -> list[str]:
    """Return the usual files that CRI-O reads, in its order."""
    return _files(host, CONFIG, f"{CONFIG}.d")


def _files(host: Host, config: str, folder: str) -> list[str]:
    """Return the files that CRI-O reads, in its order: all of the folder, whatever their names."""
    return [config, *dropins.paths(host, folder, DROP_IN)]
