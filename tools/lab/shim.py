"""pyshim as a person installs it: the program, a config.toml, a spec dir and a cache folder.

Leaves what a spec needs of the host to driver.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tools.lab.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PYSHIM_BINARY", "")
"""The static file to be tested (make test-binary); nothing: what runs from this tree."""
PROGRAMS = Path(BINARY).parent if BINARY else Path(sys.prefix) / "bin"


# The entry points of pyproject.toml.
_SCRIPTS = {
    "pyshim": ("ocishim.start", "pyshim"),
    "pyshim-hook": ("ocishim.hooks.program", "start"),
    "pyshimctl": ("ocishim.admin.cli", "main"),
}


class Shim(Runtime):
    """pyshim in front of the low-level runtime `lowlevel`, with all its files in `folder`."""

    def __init__(
        self,
        folder: Path,
        lowlevel: Path | str,
        programs: Path = PROGRAMS,
    ) -> None:
        self.config = folder / "config.toml"
        self.spec_dir = folder / "cdi"
        self.log = folder / "pyshim.log"
        self.lowlevel = str(lowlevel)
        self.spec_dir.mkdir(parents=True, exist_ok=True)
        self.configure()
        environment = {
            "PYSHIM_CONFIG": str(self.config),
            "PYSHIM_CACHE_DIR": str(folder / "cache"),
        }
        super().__init__(programs / "pyshim", folder / "root", environment)

    def configure(self, settings: Mapping[str, object] | None = None) -> None:
        """Write config.toml; `settings` are dotted keys beside the ones the lab needs."""
        lines = [f"runtimes = {json.dumps([self.lowlevel])}"]
        values = {
            "cdi.spec_dirs": [str(self.spec_dir)],
            "log.file": str(self.log),
            **(settings or {}),
        }
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def add_spec(self, name: str, text: str) -> Path:
        """Put a CDI spec file into the spec dir."""
        path = self.spec_dir / name
        path.write_text(text)
        return path

    def wrapper(self) -> Path:
        """Return a program that is pyshim with this environment, for callers that drop it."""
        path = self.config.with_name("bin") / "pyshim"
        path.parent.mkdir(exist_ok=True)
        settings = " ".join(
            f"{name}={value}"
            for name, value in self.environment.items()
            if name.startswith("PYSHIM_")
        )
        path.write_text(f'#!/bin/sh\nexport {settings}\nexec {self.program} "$@"\n')
        path.chmod(0o755)
        return path

    @property
    def warnings(self) -> str:
        """What pyshim has written to its own log, but for the line that tells of each create."""
        lines = self.log.read_text().splitlines(keepends=True) if self.log.exists() else []
        return "".join(line for line in lines if line.split()[1:2] != ["info"])


def install(folder: Path) -> None:
    """Install pyshim into `folder`, which everybody may enter; the programs go to its bin.

    The libraries stay in the virtual environment: what a hook needs in a container is here.
    """
    if not BINARY:
        shutil.copytree(REPOSITORY / "ocishim", folder / "ocishim")
    write_programs(folder / "bin", folder)
    folder.chmod(0o755)  # Python lists the folders it imports from
    for parent in folder.parents[:-2]:
        parent.chmod(parent.stat().st_mode | 0o111)


def write_programs(folder: Path, library: Path = REPOSITORY) -> None:
    """Put pyshim, pyshim-hook and pyshimctl into `folder`: the static file, or scripts.

    The scripts run what lies in `library` by the interpreter behind the virtual environment's,
    which everybody can execute; pyshimctl finds its own libraries there.
    """
    if BINARY:
        copy_binary(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    python = os.path.realpath(sys.executable)
    site = sysconfig.get_path("purelib")
    for name, (module, function) in _SCRIPTS.items():
        lines = (
            f"#!{python} -IS",
            f"import sys; sys.path[:0] = [{str(library)!r}]; sys.path.append({site!r})",
            f"from {module} import {function}; {function}()",
        )
        path = folder / name
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)


def copy_binary(folder: Path, file: str | Path = BINARY) -> None:
    """Put the static file into `folder` under its three names."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder / "pyshim")
    for name in ("pyshim-hook", "pyshimctl"):
        (folder / name).symlink_to("pyshim")


def _toml(value: object) -> str:
    """Return `value` as TOML; strings, numbers and booleans read as they do in JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
