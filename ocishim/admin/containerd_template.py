"""k3s and RKE2: containerd's configuration is rendered at each start, from a template beside it.

Nothing of a template is TOML for sure, so that our tables are a block at its end, between two
comments. Source: k3s' documentation ("Configuring containerd", "Base template").
"""

from __future__ import annotations

import os
import re

from ocishim.admin import containerd, tomlfile
from ocishim.admin.engines import Plan, Wish, whole_file
from ocishim.admin.files import read
from ocishim.admin.host import Host
from ocishim.errors import UsageError

SUFFIX = ".tmpl"
_BASE = '{{ template "base" . }}\n'  # all that k3s writes itself; no template says the same
_BLOCK = re.compile(r"\n*# pyshim: begins .*?^# pyshim: ends\n", re.DOTALL | re.MULTILINE)


def plan(host: Host, wish: Wish, path: str) -> Plan:
    """Return what has to change in the template `path`, with or without the runtime."""
    before = read(host, path)
    rest = _BLOCK.sub("\n", before or _BASE)
    next_step = "systemctl restart " + ("rke2-server" if "/rke2/" in path else "k3s")
    if wish.remove:
        text = None if rest.strip() == _BASE.strip() else rest
        return Plan([whole_file(host, path, text)], next_step)
    if wish.set_as_default or wish.enable_cdi:
        raise UsageError(
            f"{path}: the template has these settings already, and a second one is an error",
            hint="start k3s with --default-runtime; it enables CDI by itself",
        )
    text = f"{rest.rstrip()}\n\n# pyshim: begins (pyshimctl configure containerd)\n"
    text += f"{_tables(host, wish, path)}# pyshim: ends\n"
    return Plan([whole_file(host, path, text)], next_step)


def _tables(host: Host, wish: Wish, path: str) -> str:
    """Return the runtime's tables; runc's settings are those of the rendered file beside."""
    rendered = containerd.Files(host, os.path.join(os.path.dirname(path), "config.toml"), None)
    plugin = containerd.PLUGINS[3 if "-v3." in os.path.basename(path) else 2]
    runtimes = {wish.name: containerd.entry(rendered, wish)}
    return tomlfile.dumps({"plugins": {plugin: {"containerd": {"runtimes": runtimes}}}})
