"""NVIDIA's driver in a root, found once for all who ask: generate, doctor and what they compare.

Which version runs and which is installed, and where each of its parts lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ocishim.admin.editing import files
from ocishim.admin.generate import driverfiles, libraries, versions
from ocishim.admin.generate.driverfiles import File
from ocishim.admin.generate.libraries import Library
from ocishim.admin.generate.smi import Smi
from ocishim.admin.host import Host

_MAX_BYTES = 1 << 16


class Driver:
    """The driver in `host`'s root, for programs of `machine`.

    running: version of the kernel module, "" when it is not loaded. version: of the libraries,
    "" when there is none. folders: where libraries were looked for. core: what there is of the two
    that everything needs. branch: those of the folders that are this driver's alone.
    """

    __slots__ = ("_libraries", "branch", "core", "folders", "host", "machine", "running", "version")

    def __init__(
        self,
        host: Host,
        machine: str = "",
        extra: tuple[str, ...] = (),
        running: str | None = None,
    ) -> None:
        self.host = host
        self.machine = machine or os.uname().machine
        self.folders = libraries.folders(host, self.machine, extra)
        if running is None:
            running = versions.module(lambda path: read(host, path))
        self.running = running
        self.core = libraries.core(host, self.folders, self.machine)
        self.version = self.core.version(self.running)
        homes = self.core.homes.get(self.version, []) if self.version else []
        self.folders = libraries.with_homes(host, self.folders, homes)
        names = {os.path.basename(home) for home in homes}
        self.branch = [folder for folder in self.folders
                       if os.path.basename(folder) in names and "/nvidia/" in folder]  # fmt: skip
        self._libraries: list[Library] | None = None

    @property
    def libraries(self) -> list[Library]:
        """The driver's libraries; none when it has no version."""
        if self._libraries is None:
            where = self.folders if self.version else []
            self._libraries = libraries.find(self.host, where, self.version, self.machine)
        return self._libraries

    def smi(self) -> Smi | None:
        """Return the driver's nvidia-smi, None when it has none."""
        ml = [one.folder for one in self.libraries if one.name.startswith("libnvidia-ml.so.")]
        where = [*ml, *self.folders] if self.host.elsewhere else ml
        return smi_of(self.host, list(dict.fromkeys(where)), self.programs())

    def programs(self) -> Iterator[File]:
        """Yield the driver's programs; of Debian's branches side by side those of this one."""
        return driverfiles.programs(self.host, self.machine, self.folders, self.branch)


def smi_of(host: Host, libraries: list[str], programs: Iterator[File]) -> Smi | None:
    """Return nvidia-smi among the root's programs, None without; `libraries`: where its own are."""
    for found in programs:
        if os.path.basename(found.path) == "nvidia-smi":
            return Smi(host, found.there, libraries)
    return None


def read(host: Host, path: str) -> str:
    """Return the text of a small file of the root, or of this machine's kernel where it has none.

    A driver root has no /proc of its own, as a rule; the kernel is the same.
    """
    return files.text(host, path, _MAX_BYTES) or files.text(Host("/"), path, _MAX_BYTES)
