"""`pyshimctl version`: which pyshim this is, what it runs on, and the runtime it would become."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from typing import Any

import click

from ocishim import __version__
from ocishim.admin import configure, printer
from ocishim.admin.host import Host
from ocishim.admin.install import integrity, ownfiles
from ocishim.cdi import versions
from ocishim.errors import PyshimError
from ocishim.lowlevel import lowlevel
from ocishim.posixos import IS_STATIC
from ocishim.settings import config as settings

_PARTS = {"libyaml": "yaml.cyaml", "prctl": "_prctl", "nvml": "pynvml"}
"""What pyshim can also do without, by the module that brings it."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(*, as_json: bool) -> None:
    """Print which pyshim this is, and the low-level runtime it would become.

    The static file has a digest, that of sha256sum, and a build, that of the Python in it.
    Features: the newest CDI version, and +NAME or -NAME for what pyshim can also do without.
    """
    report = _report()
    if as_json:
        printer.report("version", report)
        return
    for name, words in _lines(**report).items():
        printer.line(f"{name:<12}{words}")


def _report() -> dict[str, Any]:
    return {
        "pyshim": __version__,
        "program": configure.installed(Host()),
        "library": ownfiles.library(),
        "file": _file() if IS_STATIC else None,
        "python": {"version": platform.python_version(), "path": _interpreter()},
        "features": {"cdi": versions.CURRENT, **{name: _there(_PARTS[name]) for name in _PARTS}},
        "lowlevel": _lowlevel(),
    }


def _file() -> dict[str, str]:
    """Return path, digest and build of the static file that runs, or "unknown"."""
    import _pyshim  # noqa: PLC0415 - a builtin of the static file

    try:
        digest = integrity.digest(ownfiles.static_file())
        path = os.path.realpath(ownfiles.static_file())
    except OSError:  # no /proc
        digest = path = "unknown"
    return {"path": path, "sha256": digest, "build": f"{_pyshim.BUILD:016x}"}


def _interpreter() -> str:
    return "in the file" if IS_STATIC else sys.executable


def _there(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _lowlevel() -> dict[str, str]:
    """Return path, kind and version, or the error that a create would end with."""
    try:
        config = settings.load()
        own = configure.installed(Host())
        path = lowlevel.find(config.runtimes, settings.search_path(), own, config.path)
        version = lowlevel.version(path, config.cache)
    except PyshimError as err:
        return {"error": str(err)}
    return {"path": path, "kind": version.kind, "version": version.text.strip().split("\n")[0]}


def _lines(
    *,
    file: dict[str, str] | None,
    library: str,
    python: dict[str, str],
    features: dict[str, str | bool],
    lowlevel: dict[str, str],
    **others: str,
) -> dict[str, str]:
    """Return the report for people, by the first word of each line."""
    where = {"library": library}
    if file:
        where = {"file": file["path"], "digest": file["sha256"], "build": file["build"]}
    parts = [f"{'+' if there else '-'}{name}" for name, there in features.items() if name != "cdi"]
    runtime = "{kind} {version} ({path})" if "path" in lowlevel else "{error}"
    return {
        "pyshim": others["pyshim"],
        **where,
        "interpreter": f"Python {python['version']} ({python['path']})",
        "features": " ".join([f"cdi-{features['cdi']}", *parts]),
        "runtime": runtime.format(**{**lowlevel, "kind": lowlevel.get("kind") or "runtime"}),
    }
