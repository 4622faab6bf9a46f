"""What is wrong with an installation: every file, link and folder of it.

`pyshimctl install --check` prints it, the doctor makes one finding of it, `install` mends it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from ocishim.admin.install import integrity, inway, ownfiles, units
from ocishim.admin.install.installation import PREFIX, Installation
from ocishim.admin.install.integrity import Fault
from ocishim.errors import ConfigError


def faults(installation: Installation) -> list[Fault]:
    """Return what is wrong; the paths are the machine's own. Nothing is there: that alone."""
    blocked = inway.folders(installation)
    if blocked:
        return blocked
    if not installation.host.is_folder(installation.home):
        missing = Fault(installation.home, "is missing: pyshim is not installed there")
        return [missing, *inway.strangers(installation)]
    return [*_all(installation)]


def _all(installation: Installation) -> Iterator[Fault]:
    home, name = installation.home, installation.current
    for fault in installation.home_faults():
        yield fault._replace(path=os.path.normpath(f"{home}/{fault.path}"))
    if name not in installation.versions():
        yield Fault(f"{home}/current", "leads to no version")
    for version in installation.named():
        for fault in installation.version_faults(version):
            yield fault._replace(path=os.path.normpath(f"{home}/{version}/{fault.path}"))
    strangers = inway.strangers(installation)
    theirs = {one.path for one in strangers}
    for path in installation.wrong_links():
        if path not in theirs:
            yield Fault(path, f"is no link to {home}/current/bin")
    yield from (one for one in units.faults(installation) if one.path not in theirs)
    yield from strangers


def whole_file() -> str:
    """Return the static file to be installed.

    Raises ConfigError when there is none, or when it is an installation's own that was changed
    since: it could only install what is wrong with it.
    """
    file = ownfiles.static_file()
    _, name = ownfiles.installed()
    if name and not integrity.digest(file).startswith(name.rpartition("-")[2]):
        raise ConfigError(
            f"{os.path.realpath(file)} was changed since it was installed",
            hint="install pyshim again from where it came",
        )
    return file


def next_step(installation: Installation) -> str:
    """Return the command that mends `installation`, after those that make way for it."""
    away = inway.away(installation, inway.found(installation))
    words = ["pyshimctl", "install"]
    if installation.prefix != PREFIX:
        words += ["--prefix", installation.prefix]
    if installation.host.elsewhere:
        words += ["--host-root", installation.host.root]
    return " && ".join([*away, shlex.join(words)])
