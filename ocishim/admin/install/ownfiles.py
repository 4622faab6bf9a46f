"""Where pyshim's programs and files are, and the static file that an installation copies."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from ocishim.create.entry import hook_program
from ocishim.errors import ConfigError, quoted
from ocishim.posixos import IS_STATIC

_SELF = "/proc/self/exe"


def library() -> str:
    """Return the folder that holds the package `ocishim`; in the static file, that file."""
    return str(Path(__file__).absolute().parents[3])


def static_file() -> str:
    """Return the static file: this program's own, else the one that was built in this clone.

    Raises ConfigError when it was not built.
    """
    if IS_STATIC:
        return _SELF
    built = f"{library()}/build/pyshim"
    if not os.path.isfile(built):
        raise ConfigError(
            f"{built} is not there: what a node gets is one static file, and this is its source",
            hint=f"make -C {quoted(str(library()))} binary, then install again",
        )
    return built


def program() -> str:
    """Return the path of `pyshim` that others start, when it is the static file, else "".

    Of an installation (PREFIX/lib/pyshim/NAME/bin) that is the link in PREFIX/bin.
    """
    if not IS_STATIC:
        return ""
    prefix, name = installed()
    return f"{prefix}/bin/pyshim" if name else os.path.realpath(_SELF)


def installed() -> tuple[str, str]:
    """Return prefix and version's name of the installation that this runs from; no name: none."""
    own = os.path.realpath(_SELF) if IS_STATIC else ""
    prefix, _, below = own.rpartition("/lib/pyshim/")
    name, _, rest = below.partition("/")
    return (prefix, name) if rest == "bin/pyshim" else ("", "")


def programs() -> tuple[str, str]:
    """Return the paths of `pyshim` and `pyshim-hook`: of this installation, else on PATH.

    Raises ConfigError when pyshim is not installed.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "pyshim")
    own = (path for path in (program(), beside) if path and os.access(path, os.X_OK))
    found = next(own, None) or shutil.which("pyshim")
    if not found:
        raise ConfigError("pyshim is not installed", hint="run 'pyshimctl install'")
    return found, hook_program(found)


def deployed(name: str) -> str:
    """Return one of the files of deploy/, wherever this pyshim keeps them. Raises OSError."""
    if IS_STATIC:
        from ocishim.admin.frozen import Place  # noqa: PLC0415 - the static file

        return Place("deploy").joinpath(name).read_text()
    folders = (library(), f"{sysconfig.get_path('data')}/share/pyshim")
    folder = next((one for one in folders if os.path.isdir(f"{one}/deploy")), folders[0])
    with open(f"{folder}/deploy/{name}", encoding="utf-8") as file:
        return file.read()
