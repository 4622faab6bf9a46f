"""What of somebody else's stands where an installation would be: named, never touched.

What is ours stays ours however damaged it is, and is mended.
"""

from __future__ import annotations

import itertools
import os
import shlex

from ocishim.admin.host import Host
from ocishim.admin.install import units
from ocishim.admin.install.installation import Installation
from ocishim.admin.install.integrity import Fault
from ocishim.errors import ConfigError
from ocishim.settings import defaults


def found(installation: Installation, *, refresh: bool = False) -> list[Fault]:
    """Return all of it; refresh: the units of `--refresh` are to be put in place, too."""
    return folders(installation, refresh=refresh) or strangers(installation, refresh=refresh)


def folders(installation: Installation, *, refresh: bool = False) -> list[Fault]:
    """Return what is no folder, and has to be one; the rest cannot be looked at before."""
    host = installation.host
    wanted = [installation.home, installation.bin, os.path.dirname(defaults.DEFAULT_PATH)]
    blocked = [fault for path in wanted for fault in _blocked(host, path)]
    if not blocked and (refresh or units.is_there(installation)):
        wanted = sorted({os.path.dirname(path) for path in units.paths(installation)})
        blocked = [fault for path in wanted for fault in _blocked(host, path)]
    return [*dict.fromkeys(blocked)]


def strangers(installation: Installation, *, refresh: bool = False) -> list[Fault]:
    """Return what has the name of something of ours; `folders` has found nothing."""
    host = installation.host
    wrong = [
        path for path in installation.wrong_links() if not _may_be_replaced(installation, path)
    ]
    if refresh or units.is_there(installation):
        wrong += [path for path in units.paths(installation) if _is_folder(host.entry(path))]
    return [Fault(path, "is there and not ours") for path in wrong]


def refuse(installation: Installation, faults: list[Fault]) -> None:
    """Raise ConfigError when there are `faults`, as the functions above return them."""
    if faults:
        hint = " && ".join(away(installation, faults))
        if all(one.path.startswith(f"{installation.prefix}/") for one in faults):
            hint += ", or choose another --prefix"
        raise ConfigError(", ".join(f"{one.path} {one.what}" for one in faults), hint=hint)


def away(installation: Installation, faults: list[Fault]) -> list[str]:
    """Return the commands that move it out of the way, where nothing is."""
    places = [installation.host.entry(one.path) for one in faults]
    return [shlex.join(["mv", place, _free(place)]) for place in places]


def _free(path: str) -> str:
    names = (f"{path}.old{number or ''}" for number in itertools.count())
    return next(name for name in names if not os.path.lexists(name))


def _blocked(host: Host, folder: str) -> list[Fault]:
    """Return the first on the way to `folder` that is none, links followed."""
    path = ""
    for part in folder.strip("/").split("/"):
        path += f"/{part}"
        real = host.target(path)
        if not real:
            return [Fault(path, "is a link that leads in a circle")]
        while not os.path.lexists(real):
            real = os.path.dirname(real)
        if not os.path.isdir(real):
            return [Fault(path, "is no folder")]
    return []


def _may_be_replaced(installation: Installation, path: str) -> bool:
    """Whether nobody misses what is at `path`: nothing, or a link to nowhere or to us."""
    entry = installation.host.entry(path)
    if not os.path.islink(entry):
        return not os.path.lexists(entry) or (os.path.isfile(entry) and not os.stat(entry).st_size)
    real = installation.host.target(path)
    home = installation.host.real(installation.home)
    return not os.path.exists(real) or real.startswith(f"{home}/")


def _is_folder(entry: str) -> bool:
    return os.path.isdir(entry) and not os.path.islink(entry)
