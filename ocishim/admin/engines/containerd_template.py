"""k3s and RKE2: containerd's configuration is rendered at each start, from a template beside it.

Nothing of a template is TOML for sure, so that our tables are a block at its end, between two
comments. Source: k3s' documentation ("Configuring containerd", "Base template").
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import Edit, read
from ocishim.admin.engines import whole_file
from ocishim.admin.engines.containerd_files import PLUGINS, Files
from ocishim.admin.engines.containerd_tables import entry
from ocishim.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

SUFFIX = ".tmpl"
_BASE = '{{ template "base" . }}\n'  # all that k3s writes itself; no template says the same
_BLOCK = re.compile(r"\n?^# pyshim: begins .*?^# pyshim: ends\r?\n", re.DOTALL | re.MULTILINE)


def there(host: Host, config: str) -> list[str]:
    """Return the templates beside the rendered file `config`."""
    folder = os.path.dirname(config)
    paths = (f"{folder}/config{version}.toml{SUFFIX}" for version in ("", "-v3"))
    return [path for path in paths if host.is_file(path)]


def block(text: str) -> str:
    """Return what is ours of a template's text, "" for nothing."""
    found = _BLOCK.search(text)
    return found[0] if found else ""


def having_ours(host: Host, config: str) -> str:
    """Return the template beside the rendered file `config` that has our tables, "" for none."""
    ours = (path for path in there(host, config) if block(read(host, path) or ""))
    return next(ours, "")


def edit(host: Host, wish: Wish, path: str) -> Edit:
    """Return what has to change in the template `path`, with or without the runtime."""
    before = read(host, path)
    rest = _BLOCK.sub("", before or _BASE)
    if wish.remove:
        unchanged = before is not None and not _BLOCK.search(before)
        text = before if unchanged else None if rest.strip() == _BASE.strip() else rest
        return whole_file(host, path, text)
    tables = _tables(host, wish, path)
    if wish.enable_cdi or (wish.set_as_default and rendered(host, path, tables) is None):
        raise UsageError(
            f"{path}: k3s' base template has the table of these settings already, and a second one"
            " is an error",
            hint="name the runtime in pods (runtimeClassName), or write a whole template of your"
            " own; --default-runtime knows only what k3s finds itself",
        )
    begins = "\n# pyshim: begins (pyshimctl configure containerd)\n"
    return whole_file(host, path, f"{rest}{begins}{tables}# pyshim: ends\n")


def rendered(host: Host, path: str, tables: str | None = None) -> str | None:
    """Return what k3s will render the template `path` to, with `tables` or those that it has.

    It is the rendered file beside with our block, as k3s renders no other part otherwise. None
    where there is no such file, where it is of another version, and where it would be no TOML.
    """
    text = read(host, _rendered_file(path))
    block = _BLOCK.search(read(host, path) or "")
    if text is None or (tables is None and block is None):
        return None
    ours = tables if tables is not None or block is None else block[0]
    whole = f"{_BLOCK.sub('', text)}\n{ours}"
    try:
        version = tomlfile.plain(whole, path).get("version")
    except ConfigError:
        return None
    return whole if version == _version(path) else None


def _rendered_file(path: str) -> str:
    return os.path.join(os.path.dirname(path), "config.toml")


def _version(path: str) -> int:
    return 3 if "-v3." in os.path.basename(path) else 2


def _tables(host: Host, wish: Wish, path: str) -> str:
    """Return the runtime's tables; runc's settings are those of the rendered file beside."""
    files = Files(host, _rendered_file(path))
    containerd: dict[str, Any] = {"runtimes": {wish.name: entry(files, wish)}}
    if wish.set_as_default:
        containerd["default_runtime_name"] = wish.name
    return tomlfile.dumps({"plugins": {PLUGINS[_version(path)]: {"containerd": containerd}}})
