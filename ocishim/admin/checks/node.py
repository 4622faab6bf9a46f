"""What the doctor knows of the node it looks at: its file tree, pyshim's settings, its programs.

Everything a check asks goes through here, so that a test can show it any node.
"""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from ocishim import posixos
from ocishim.admin.editing import files
from ocishim.admin.explain import whatif
from ocishim.admin.explain.whatif import Refusal
from ocishim.admin.host import Host
from ocishim.cache import Cache
from ocishim.cdi.registry import registry
from ocishim.cdi.registry.entries import Found
from ocishim.cdi.registry.registry import Registry
from ocishim.errors import ConfigError, LowlevelError, quoted
from ocishim.lowlevel import lowlevel
from ocishim.settings import config as settings
from ocishim.settings import configfile, defaults
from ocishim.settings.config import Config


class Writer(NamedTuple):
    """Who may write to something of root's, how that is seen, and the command that ends it."""

    who: str
    evidence: str
    step: str


class Node:
    """The node whose root is `host`. config: pyshim's settings, defaults where the file is bad.

    config_error: what is wrong with the file, None when nothing. kernel: release as uname has it.
    """

    __slots__ = ("_found", "_refused", "_registry", "config", "config_error", "host", "kernel")

    def __init__(self, host: Host, *, kernel: str = "", config_path: str = "") -> None:
        self.host = host
        self.kernel = kernel or os.uname().release
        self.config_error: ConfigError | None = None
        path = config_path or settings.path()
        values = defaults.DEFAULTS
        try:
            if os.path.lexists(host.entry(path)):
                values = configfile.read(host.real(path))
        except ConfigError as err:
            self.config_error = err
        self.config = Config(values, path, Cache(host.root + settings.cache_dir()))
        self._registry: Registry | None = None
        self._found: list[Found] | None = None
        self._refused: dict[str, Refusal] | None = None

    @property
    def registry(self) -> Registry:
        """The CDI devices of the node's spec dirs, read once."""
        if self._registry is None:
            there = [self.host.target(path) for path in self.config.spec_dirs]
            self._registry = registry.load([path for path in there if os.path.isdir(path)], None)
        return self._registry

    @property
    def found(self) -> list[Found]:
        """All devices that can be asked for."""
        if self._found is None:
            self._found = self.registry.resolve(self.registry.devices())
        return self._found

    @property
    def refused(self) -> dict[str, Refusal]:
        """Why create refuses devices of this machine, by spec file; of another nobody can say."""
        if self._refused is None:
            self._refused = {}
            try:
                if not self.host.elsewhere and not self.config_error:
                    self._refused = whatif.refusals(self.found, self.config, self.runtime()[0])
            except ConfigError:
                pass  # no runtime, no installation: findings of their own
        return self._refused

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path` on the node."""
        return self.host.exists(path)

    def mode(self, path: str) -> int:
        """Return the permission bits at `path`, links followed; 0 when it is not there."""
        there = self.host.status(path)
        return stat.S_IMODE(there.st_mode) if there else 0

    def writer(self, path: str) -> Writer | None:
        """Return who beside root, and who asks, may write to `path` or below it; None: nobody."""
        found = self.host.status(path)
        if not found:
            return None
        if found.st_mode & stat.S_IWOTH:
            mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
            return Writer("everybody", mode, f"chmod o-w {quoted(path)}")
        if found.st_uid not in (0, os.geteuid()) and posixos.sees_all_ids():
            who = f"user {found.st_uid}"
            return Writer(who, f"it belongs to {who}", f"chown root {quoted(path)}")
        return None

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in the node's folder `path`; none when it cannot be read."""
        return self.host.listdir(path)

    def read(self, path: str) -> str:
        """Return the text of the node's file `path`, at most 1 MiB; "" when it cannot be read."""
        return files.text(self.host, path)

    def processes(self, name: str) -> list[str]:
        """Return the folders in /proc of the machine's own processes that are called so."""
        folders = [self.host.inside(folder) for folder in self.host.processes()]
        return [folder for folder in folders if self.read(f"{folder}/comm").strip() == name]

    def started(self, program: str) -> float:
        """Return when the machine's process of that name was started, 0 when none runs.

        The earliest of several, as seconds since 1970: field 22 of /proc/PID/stat is in ticks
        since the boot, and btime of /proc/stat is that of the boot (proc(5)).
        """
        boot = re.search(r"^btime (\d+)$", self.read("/proc/stat"), re.MULTILINE)
        ticks = [
            int(fields[19])
            for folder in self.processes(program)
            for fields in [self.read(f"{folder}/stat").rpartition(")")[2].split()]
            if len(fields) > 19 and fields[19].isdigit()
        ]
        return int(boot[1]) + min(ticks) / os.sysconf("SC_CLK_TCK") if boot and ticks else 0

    def changed(self, path: str) -> float:
        """Return when the node's file `path` was last written, 0 when it is not there."""
        there = self.host.status(path)
        return there.st_mtime if there else 0

    def runtime(self) -> tuple[str, lowlevel.Version]:
        """Return the low-level runtime's path and version.

        Raises LowlevelError when none is found, ConfigError when it cannot be asked.
        """
        for entry in self.config.runtimes:
            names = [entry] if "/" in entry else [f"{d}/{entry}" for d in lowlevel.USUAL_DIRS]
            for name in names:
                if self.host.is_program(name):
                    return name, lowlevel.parse_version(self.host.run(name, "--version").stdout)
        raise LowlevelError("no low-level runtime found", hint="apt-get install runc")
