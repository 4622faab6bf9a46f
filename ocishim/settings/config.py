"""The settings `pyshim` runs with, and where they come from.

The hot path reads them compiled (cache.py); the TOML file is parsed by configfile.py only when
it changed. A setting nobody wrote has its default. Only this module, admin/ and start.py read
the environment: PYSHIM_CONFIG names another file, PYSHIM_CACHE_DIR another cache directory.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.cache import Cache, identity
from ocishim.settings.defaults import DEFAULT_PATH, DEFAULTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Config:
    """The settings, one attribute each; `path` is the file, whether or not it exists.

    timeout is in seconds. env_requests are tables with name, kind and unprivileged.
    """

    __slots__ = (
        "annotation_prefixes", "cache", "env_requests", "executor", "log_file", "log_format",
        "log_level", "metrics", "native", "path", "podman_annotations", "readonly_rootfs",
        "runtimes", "spec_dirs", "stale", "timeout", "volume_mounts",
    )  # fmt: skip

    def __init__(self, values: dict[str, Any], path: str, cache: Cache) -> None:
        self.path = path
        self.cache = cache
        self.runtimes: list[str] = values["runtimes"]
        self.spec_dirs: list[str] = values["cdi.spec_dirs"]
        self.annotation_prefixes: list[str] = values["cdi.annotation_prefixes"]
        self.stale: str = values["cdi.stale"]
        self.executor: str = values["hooks.executor"]
        self.native: bool = values["hooks.native"]
        self.readonly_rootfs: str = values["hooks.readonly_rootfs"]
        self.timeout: int = values["hooks.timeout"]
        self.env_requests: list[dict[str, Any]] = values["requests.env"]
        self.volume_mounts: bool = values["requests.volume_mounts"]
        self.podman_annotations: bool = values["requests.podman_annotations"]
        self.log_file: str = values["log.file"]
        self.log_level: str = values["log.level"]
        self.log_format: str = values["log.format"]
        self.metrics: str = values["log.metrics"]

    def log_flags(self) -> list[str]:
        """Return the flags by which the hook program writes to the same log."""
        flags = ["--log", self.log_file] if self.log_file else []
        flags += ["--log-format", self.log_format] if self.log_format != "text" else []
        return [*flags, "--log-level", self.log_level]


def path() -> str:
    """Return the configuration file's path, from PYSHIM_CONFIG or the default."""
    return posixos.getenv("PYSHIM_CONFIG") or DEFAULT_PATH


def search_path() -> str:
    """Return PATH as the low-level runtime's look-up wants it, "" when unset."""
    return posixos.getenv("PATH")


def cache_dir() -> str:
    """Return the compiled cache's directory: under /run, or the user's own when rootless.

    Root of a user namespace is uid 0 too: rootless Podman's cannot write to /run, and that of
    RootlessKit (rootless Docker, nerdctl, BuildKit) has a /run that nobody else sees.
    """
    chosen = posixos.getenv("PYSHIM_CACHE_DIR")
    if chosen:
        return chosen
    runtime_dir = posixos.getenv("XDG_RUNTIME_DIR")
    if runtime_dir and (
        posixos.geteuid() != 0
        or posixos.getenv("ROOTLESSKIT_STATE_DIR")
        or not posixos.access("/run", posixos.W_OK)
    ):
        return runtime_dir + "/pyshim"
    return "/run/pyshim"


def load() -> Config:
    """Return the settings in force.

    Raises ConfigError naming file, key and line when the file is there and wrong.
    """
    file = path()
    cache = Cache(cache_dir())
    try:
        found = posixos.stat(file)
    except FileNotFoundError:
        return Config(DEFAULTS, file, cache)
    except OSError as err:
        from ocishim.errors import ConfigError, reason  # noqa: PLC0415 - failure only

        raise ConfigError(f"{file}: cannot be read: {reason(err)}") from None
    key = (file, identity(found))
    values = cache.get("config", key)
    if values is None:
        from ocishim.settings import configfile  # noqa: PLC0415 - TOML costs 11 ms, cold only

        values = configfile.read(file)
        cache.put("config", key, values)
    return Config(values, file, cache)  # type: ignore[arg-type]
