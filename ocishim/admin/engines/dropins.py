"""Files in TOML and folders of drop-ins, for CRI-O and Podman: what is there is read, or told.

A folder among the drop-ins is none, as for both engines; anything else that is no file ends them,
or keeps them waiting.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import read, refused
from ocishim.errors import ConfigError, quoted

if TYPE_CHECKING:
    from ocishim.admin.host import Host


def paths(host: Host, folder: str, own: str) -> list[str]:
    """Return what lies in `folder`, sorted; a folder only under the name of our drop-in, `own`.

    Raises ConfigError when `folder` is there and is no folder, or cannot be read.
    """
    try:
        names = sorted(os.listdir(host.real(folder)))
    except FileNotFoundError:
        return []
    except OSError as err:
        raise refused(err, folder, "cannot be read: ") from None
    found = [f"{folder}/{name}" for name in names]
    return [path for path in found if path.endswith(f"/{own}") or not host.is_folder(path)]


def overridden(host: Host, own: str, ours: dict[str, Any], suffix: str = "") -> list[str]:
    """Return a note for each drop-in that is read after `own` and says otherwise than `ours`."""
    folder, name = os.path.split(own)
    notes = []
    for path in paths(host, folder, name):
        if os.path.basename(path) > name and path.endswith(suffix):
            keys = _others(tomlfile.plain(read(host, path) or "", path), ours)
            notes += [f"{path} is read later, and sets {', '.join(keys)}"] if keys else []
    if notes:
        after = f"{folder}/zzz-pyshim{os.path.splitext(name)[1]}"
        notes[-1] += f"; --drop-in {quoted(after)} comes after it"
    return notes


def _others(theirs: dict[str, Any], ours: dict[str, Any], above: str = "") -> list[str]:
    """Return the keys, dotted, to which `theirs` gives another value than `ours`."""
    found = []
    for key in sorted(theirs.keys() & ours.keys()):
        their, our = theirs[key], ours[key]
        if isinstance(their, dict) and isinstance(our, dict):
            found += _others(their, our, f"{above}{key}.")
        elif their != our and not (isinstance(their, list) and {"append": True} in their):
            found.append(f"'{above}{key}'")
    return found


def tree(host: Host, path: str, *tables: str) -> dict[str, Any]:
    """Return what the file `path` says, {} for no file; `tables` lead to a table, or to nothing.

    Raises ConfigError naming the file.
    """
    result = tomlfile.plain(read(host, path) or "", path)
    inner: Any = result
    for number, name in enumerate(tables):
        inner = inner.get(name, {})
        if not isinstance(inner, dict):
            where = ".".join(tables[: number + 1])
            raise ConfigError(f"{path}: expected table in '{where}'", hint=f"correct {path}")
    return result
