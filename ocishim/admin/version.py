"""`pyshimctl version`: pyshim, its Python, and the low-level runtime it would become."""

from __future__ import annotations

import platform
import sys

import click

from ocishim import __version__, lowlevel
from ocishim import config as settings
from ocishim.admin import configure, printer, programs
from ocishim.admin.host import Host
from ocishim.errors import PyshimError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(*, as_json: bool) -> None:
    """Print the versions of pyshim, of its Python and of the low-level runtime."""
    runtime = _lowlevel()
    if as_json:
        report = {
            "pyshim": __version__,
            "program": configure.installed(Host()),
            "library": programs.library(),
            "python": {"version": platform.python_version(), "path": _interpreter()},
            "lowlevel": runtime,
        }
        printer.report(report)
        return
    printer.line(f"pyshim {__version__} ({programs.library()})")
    printer.line(f"Python {platform.python_version()} ({_interpreter()})")
    if "error" in runtime:
        printer.line(f"low-level runtime: {runtime['error']}")
    else:
        printer.line(f"{runtime['kind'] or 'runtime'} {runtime['version']} ({runtime['path']})")


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


def _interpreter() -> str:
    return "in the file" if programs.STATIC else sys.executable
