"""What the doctor knows of the node it looks at: its file tree, pyshim's settings, its programs.

Everything a check asks goes through here, so that a test can show it any node.
"""

from __future__ import annotations

import os
import stat

from ocishim import config as settings
from ocishim import configfile, lowlevel
from ocishim.admin.host import Host
from ocishim.cache import Cache
from ocishim.config import Config
from ocishim.errors import ConfigError

_MAX_BYTES = 1 << 20


class Node:
    """The node whose root is `host`. config: pyshim's settings, defaults where the file is bad.

    config_error: what is wrong with the file, "" when nothing. kernel: release as uname has it.
    """

    __slots__ = ("config", "config_error", "host", "kernel")

    def __init__(self, host: Host, *, kernel: str = "", config_path: str = "") -> None:
        self.host = host
        self.kernel = kernel or os.uname().release
        self.config_error = ""
        path = config_path or settings.path()
        values = settings.DEFAULTS
        if host.is_file(path):
            try:
                values = configfile.read(host.real(path))
            except ConfigError as err:
                self.config_error = str(err)
        self.config = Config(values, path, Cache(host.real(settings.cache_dir())))

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path` on the node."""
        return os.path.exists(self.host.real(path))

    def mode(self, path: str) -> int:
        """Return the permission bits at `path`, links followed; 0 when it is not there."""
        try:
            return stat.S_IMODE(os.stat(self.host.real(path)).st_mode)
        except OSError:
            return 0

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in the node's folder `path`; none when it cannot be read."""
        try:
            return sorted(os.listdir(self.host.real(path)))
        except OSError:
            return []

    def read(self, path: str) -> str:
        """Return the text of the node's file `path`, at most 1 MiB; "" when it cannot be read."""
        try:
            with open(self.host.real(path), "rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def runtime(self) -> tuple[str, lowlevel.Version]:
        """Return the low-level runtime's path and version. Raises ConfigError: none is found."""
        for entry in self.config.runtimes:
            names = [entry] if "/" in entry else [f"{d}/{entry}" for d in lowlevel.USUAL_DIRS]
            for name in names:
                if self.host.is_program(name):
                    return name, lowlevel.parse_version(self.host.run(name, "--version").stdout)
        raise ConfigError("no low-level runtime found", hint="apt-get install runc")
