"""The folder of one installed version: what belongs there, and how it is made.

Where it lies and when it is used is installation.py's.
"""

from __future__ import annotations

import os
import shutil

from ocishim.admin.install import integrity

PROGRAMS = ("pyshim", "pyshim-hook", "pyshimctl")
_FILE = "pyshim"


def entries(name: str) -> integrity.Entries:
    """Return what belongs into the folder of the version `name`."""
    links = {f"bin/{one}": (0o777, integrity.LINK + _FILE) for one in PROGRAMS if one != _FILE}
    folders = dict.fromkeys((".", "bin"), (0o755, integrity.FOLDER))
    return {**folders, **links, f"bin/{_FILE}": (0o755, name.rpartition("-")[2])}


def build(file: str, folder: str) -> None:
    """Make the folder from the static file. Raises OSError."""
    os.makedirs(f"{folder}/bin")
    for one in (folder, f"{folder}/bin"):
        os.chmod(one, 0o755)  # noqa: S103 - also where the folder above hands down its setgid bit
    target = f"{folder}/bin/{_FILE}"
    shutil.copyfile(file, target)
    os.chmod(target, 0o755)  # noqa: S103 - hooks of user namespaces run it
    with open(target, "rb") as copy:
        os.fsync(copy.fileno())
    for program in PROGRAMS:
        if program != _FILE:
            os.symlink(_FILE, f"{folder}/bin/{program}")
