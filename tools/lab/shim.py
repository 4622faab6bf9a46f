"""pyshim as a person installs it: the program, a config.toml, a spec dir and a cache folder.

Leaves what a spec needs of the host to driver.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tools.lab.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / ".venv/bin"


class Shim(Runtime):
    """pyshim in front of the low-level runtime `lowlevel`, with all its files in `folder`."""

    def __init__(self, folder: Path, lowlevel: Path | str) -> None:
        self.config = folder / "config.toml"
        self.spec_dir = folder / "cdi"
        self.log = folder / "pyshim.log"
        self.lowlevel = str(lowlevel)
        self.spec_dir.mkdir(parents=True, exist_ok=True)
        self.configure()
        environment = {
            "PYSHIM_CONFIG": str(self.config), "PYSHIM_CACHE_DIR": str(folder / "cache"),
        }
        super().__init__(PROGRAMS / "pyshim", folder / "root", environment)

    def configure(self, settings: Mapping[str, object] | None = None) -> None:
        """Write config.toml; `settings` are dotted keys beside the ones the lab needs."""
        lines = [f"runtimes = {json.dumps([self.lowlevel])}"]
        values = {
            "cdi.spec_dirs": [str(self.spec_dir)], "log.file": str(self.log), **(settings or {}),
        }
        # Strings, numbers, booleans and lists of strings read the same in TOML as in JSON.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def add_spec(self, name: str, text: str) -> Path:
        """Put a CDI spec file into the spec dir."""
        path = self.spec_dir / name
        path.write_text(text)
        return path

    @property
    def warnings(self) -> str:
        """What pyshim has written to its own log."""
        return self.log.read_text() if self.log.exists() else ""
