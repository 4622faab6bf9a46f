"""k3s and RKE2: containerd's configuration is rendered at each start, from a template beside it.

Nothing of a template is TOML for sure, so that our tables are a block at its end, between two
comments. Source: k3s' documentation ("Configuring containerd", "Base template").
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import Edit, read
from ocishim.admin.engines import whole_file
from ocishim.admin.engines.containerd_files import PLUGINS, Files
from ocishim.admin.engines.containerd_tables import entry
from ocishim.errors import UsageError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

SUFFIX = ".tmpl"
_BASE = '{{ template "base" . }}\n'  # all that k3s writes itself; no template says the same
_BLOCK = re.compile(r"\n*# pyshim: begins .*?^# pyshim: ends\n", re.DOTALL | re.MULTILINE)


def there(host: Host, config: str) -> list[str]:
    """Return the templates beside the rendered file `config`."""
    folder = os.path.dirname(config)
    paths = (f"{folder}/config{version}.toml{SUFFIX}" for version in ("", "-v3"))
    return [path for path in paths if host.is_file(path)]


def block(text: str) -> str:
    """Return what is ours of a template's text, "" for nothing."""
    found = _BLOCK.search(text)
    return found[0] if found else ""


def edit(host: Host, wish: Wish, path: str) -> Edit:
    """Return what has to change in the template `path`, with or without the runtime."""
    before = read(host, path)
    rest = _BLOCK.sub("\n", before or _BASE)
    if wish.remove:
        unchanged = before is not None and not _BLOCK.search(before)
        text = before if unchanged else None if rest.strip() == _BASE.strip() else rest
        return whole_file(host, path, text)
    if wish.set_as_default or wish.enable_cdi:
        raise UsageError(
            f"{path}: the template has these settings already, and a second one is an error",
            hint="start k3s with --default-runtime; it enables CDI by itself",
        )
    text = f"{rest.rstrip()}\n\n# pyshim: begins (pyshimctl configure containerd)\n"
    text += f"{_tables(host, wish, path)}# pyshim: ends\n"
    return whole_file(host, path, text)


def _tables(host: Host, wish: Wish, path: str) -> str:
    """Return the runtime's tables; runc's settings are those of the rendered file beside."""
    rendered = Files(host, os.path.join(os.path.dirname(path), "config.toml"))
    plugin = PLUGINS[3 if "-v3." in os.path.basename(path) else 2]
    runtimes = {wish.name: entry(rendered, wish)}
    return tomlfile.dumps({"plugins": {plugin: {"containerd": {"runtimes": runtimes}}}})
