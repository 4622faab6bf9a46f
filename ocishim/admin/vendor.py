"""The files an installation takes along: pyshim's packages, and the libraries it needs.

An installation does not look at the machine's own Python packages: an engine's node must not
change under it when somebody upgrades one. Only finds files; installation.py copies them.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from importlib import metadata

from ocishim.admin import launchers
from ocishim.errors import ConfigError

PACKAGES = ("ocishim",)
"""What is pyshim's own in the library's folder, beside `deploy`."""
SITE = "site"
"""The folder of the libraries, beside the packages."""

_DISTRIBUTION = "pyshim"

Files = dict[str, str]
"""Where a file comes from, by its path in the installation."""


def deploy() -> str:
    """Return the folder of the files for Kubernetes: beside the packages, or where pip put it."""
    beside = f"{launchers.library()}/deploy"
    return beside if os.path.isdir(beside) else f"{sysconfig.get_path('data')}/share/pyshim/deploy"


def deploy_text(name: str) -> str:
    """Return one of the files for Kubernetes. Raises OSError."""
    if "_pyshim" in sys.builtin_module_names:
        from ocishim.frozen import Place  # noqa: PLC0415 - the static file

        return Place("deploy").joinpath(name).read_text()
    with open(os.path.join(deploy(), name), encoding="utf-8") as file:
        return file.read()


def own_files() -> Files:
    """Return pyshim's packages and the files for Kubernetes."""
    library = launchers.library()
    found = _tree(deploy(), "deploy")
    for package in PACKAGES:
        found.update(_tree(f"{library}/{package}", package))
    return found


def libraries(folder: str | None = None) -> Files:
    """Return the libraries: those of the running interpreter, or all of `folder`.

    Raises ConfigError when one is missing.
    """
    installed = f"{launchers.library()}/{SITE}"
    if folder is None and launchers.program() and os.path.isdir(installed):
        folder = installed
    if folder is not None:
        return _tree(folder, SITE)
    found: Files = {}
    for distribution in _closure():
        found.update(_distribution_files(distribution))
    return found


def _tree(folder: str, name: str) -> Files:
    found: Files = {}
    for path, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        below = os.path.relpath(path, folder)
        for file in sorted(files):
            if not file.endswith(".pyc"):
                found[os.path.normpath(f"{name}/{below}/{file}")] = f"{path}/{file}"
    return found


def _closure() -> list[metadata.Distribution]:
    """Return the distributions pyshim requires, and those they require."""
    pending = _requirements(_distribution(_DISTRIBUTION, ""))
    found: dict[str, metadata.Distribution] = {}
    while pending:
        name, marker = pending.pop()
        if name in found:
            continue
        distribution = _distribution(name, marker)
        if distribution is not None:
            found[name] = distribution
            pending += _requirements(distribution)
    return [found[name] for name in sorted(found)]


def _distribution(name: str, marker: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        # A marker excludes it here (tomli from Python 3.11 on): pip has decided, not we.
        if marker:
            return None
        raise ConfigError(
            f"the library {name} is not installed for this Python",
            hint="install pyshim with pip into a virtual environment first",
        ) from None


def _requirements(distribution: metadata.Distribution | None) -> list[tuple[str, str]]:
    found = []
    for requirement in (distribution.requires if distribution else None) or []:
        needed, _, marker = requirement.partition(";")
        if "extra" not in marker:
            name = re.split(r"[^\w.-]", needed.strip(), maxsplit=1)[0]
            found.append((re.sub(r"[-_.]+", "-", name).lower(), marker.strip()))
    return found


def _distribution_files(distribution: metadata.Distribution) -> Files:
    found: Files = {}
    for file in distribution.files or []:
        outside = ".." in file.parts or "__pycache__" in file.parts
        source = str(file.locate())
        if not outside and file.suffix != ".pyc" and os.path.isfile(source):
            found[f"{SITE}/{file.as_posix()}"] = source
    if not found:
        name = distribution.metadata["Name"]
        raise ConfigError(
            f"the library {name} does not say which files it has",
            hint="install pyshim with pip into a virtual environment and run its pyshimctl",
        )
    return found
