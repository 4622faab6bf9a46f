"""What is wrong with an installation: every file, link and folder of it.

`pyshimctl install --check` prints it, the doctor makes one finding of it, `install` mends it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from ocishim.admin.install import integrity, programs, units
from ocishim.admin.install.installation import PREFIX, Installation
from ocishim.admin.install.integrity import Fault
from ocishim.errors import ConfigError


def faults(installation: Installation) -> list[Fault]:
    """Return what is wrong; the paths are the machine's own. Nothing is there: that alone."""
    if not os.path.isdir(installation.host.real(installation.home)):
        return [Fault(installation.home, "is missing: pyshim is not installed there")]
    return [*_all(installation)]


def _all(installation: Installation) -> Iterator[Fault]:
    home, name = installation.home, installation.current
    for fault in installation.home_faults():
        yield fault._replace(path=os.path.normpath(f"{home}/{fault.path}"))
    if not name or not os.path.isdir(installation.host.real(f"{home}/{name}")):
        yield Fault(f"{home}/current", "leads to no version")
        return
    for fault in installation.version_faults(name):
        yield fault._replace(path=os.path.normpath(f"{home}/{name}/{fault.path}"))
    for path in installation.wrong_links():
        yield Fault(path, f"is no link to {home}/current/bin")
    yield from units.faults(installation)


def whole_file() -> str:
    """Return the static file to be installed.

    Raises ConfigError when there is none, or when it is an installation's own that was changed
    since: it could only install what is wrong with it.
    """
    file = programs.static_file()
    _, name = programs.installed()
    if name and not integrity.digest(file).startswith(name.rpartition("-")[2]):
        raise ConfigError(
            f"{os.path.realpath(file)} was changed since it was installed",
            hint="install pyshim again from where it came",
        )
    return file


def next_step(installation: Installation) -> str:
    """Return the command that mends `installation`."""
    words = ["pyshimctl", "install"]
    if installation.prefix != PREFIX:
        words += ["--prefix", installation.prefix]
    if installation.host.elsewhere:
        words += ["--host-root", installation.host.root]
    return shlex.join(words)
