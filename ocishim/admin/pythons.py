"""The interpreter an installation will run with, on the machine it is installed on."""

from __future__ import annotations

import os
import sys

from ocishim.admin import launchers
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_FOLDERS = ("/usr/bin", "/usr/local/bin")
_OLDEST = (3, 10)
# Debian's python3-minimal has no full standard library; what we need of it is asked for.
_QUESTION = (
    "import sys, _imp, _ctypes, json, subprocess, importlib.metadata;"
    "print(sys.version_info[0], sys.version_info[1], _imp.extension_suffixes()[0])"
)


class Python:
    """An interpreter: real path on its machine, (major, minor), suffix of extension modules."""

    __slots__ = ("abi", "path", "version")

    def __init__(self, path: str, version: tuple[int, int], abi: str) -> None:
        self.path = path
        self.version = version
        self.abi = abi

    @property
    def name(self) -> str:
        """Its version as people write it: 3.11."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def like_ours(self) -> bool:
        """Whether it can load the extension modules of the interpreter that runs this."""
        from _imp import extension_suffixes  # noqa: PLC0415 - beside its only use

        return self.abi == extension_suffixes()[0] and self.version == sys.version_info[:2]


def choose(host: Host, wanted: str | None) -> Python:
    """Return the interpreter `wanted`, else this one, else the machine's own.

    Raises ConfigError when there is none that can run pyshim.
    """
    own = [] if host.elsewhere else [launchers.interpreter()]
    usual = [f"{folder}/{name}" for folder in _FOLDERS for name in _NAMES]
    tried: list[str] = []
    for path in [wanted] if wanted else [*own, *usual]:
        if wanted is None and not host.is_program(path):
            continue
        found = ask(host, path)
        if isinstance(found, Python):
            return found
        tried.append(f"{path}: {found}")
    raise ConfigError(
        f"no interpreter for pyshim ({'; '.join(tried) or 'there is no python3'})",
        hint="install Python 3.10 or newer there, or name one: --python PATH",
    )


def ask(host: Host, path: str) -> Python | str:
    """Return what answers at `path`, or why it is of no use."""
    if not host.is_program(path):
        return "no such program"
    real = host.inside(host.real(path))
    answer = host.run(real, "-I", "-S", "-c", _QUESTION)
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) != 3:
        last = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        return f"cannot run pyshim: {last}"
    version = (int(words[0]), int(words[1]))
    if version < _OLDEST:
        return f"is Python {words[0]}.{words[1]}, and 3.10 is the oldest"
    return Python(real, version, words[2])


def site_for(python: Python, folder: str | None) -> str | None:
    """Return the folder of libraries for `python`, None for those of this interpreter.

    folder: has one folder of libraries for each Python, named 3.10, 3.11 and so on.
    Raises ConfigError when neither fits.
    """
    if folder is not None and os.path.isdir(f"{folder}/{python.name}"):
        return f"{folder}/{python.name}"
    if python.like_ours:
        return None
    raise ConfigError(
        f"{python.path} is Python {python.name}, and the libraries at hand are for"
        f" {sys.version_info[0]}.{sys.version_info[1]}",
        hint="run pyshimctl with that Python, or give libraries for it: --libraries DIR",
    )
