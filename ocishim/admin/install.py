"""`pyshimctl install` and `uninstall`: the order of the steps, and what is said of them.

What an installation consists of is installation.py's; the engines' files are configure's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator

import click

from ocishim import config as settings
from ocishim import lowlevel
from ocishim.admin import engines, files, printer, pythons, vendor
from ocishim.admin.engines import Wish, containerd_places
from ocishim.admin.engines import containerd_template as template
from ocishim.admin.host import Host
from ocishim.admin.installation import PROGRAMS, Installation
from ocishim.admin.settings import default_text
from ocishim.errors import ConfigError, PyshimError

PREFIX = "/usr/local"
_RUN = "/run/pyshim"
# Engines that bring their own runtimes keep them where nobody's PATH leads.
_ENGINES_OWN = ("/usr/libexec/crio", "/var/lib/rancher/k3s/data/current/bin")

_PREFIX = click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    metavar="DIR",
    help="Programs go to DIR/bin, the library to DIR/lib/pyshim.",
)
_HOST_ROOT = click.option(
    "--host-root", default="/", metavar="DIR", help="Where the root of another machine is mounted."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")


@click.command()
@_PREFIX
@_HOST_ROOT
@click.option("--python", "python_path", metavar="PATH", help="The interpreter to use.")
@click.option(
    "--libraries",
    metavar="DIR",
    help="Folders of libraries for other Pythons than this one: DIR/3.12 and so on.",
)
@click.option("--runtime", metavar="PATH", help="The low-level runtime of a new configuration.")
@_JSON
def install(
    prefix: str,
    host_root: str,
    python_path: str | None,
    libraries: str | None,
    runtime: str | None,
    *,
    as_json: bool,
) -> None:
    """Put pyshim in place: programs, library with all it needs, a commented configuration.

    May be called while containers start; doing it twice changes nothing. The configuration is
    written only when there is none.

    Exit status: 0 done, 1 failed, 2 wrong command line.
    """
    host = Host(host_root)
    _must_be_absolute(prefix, "--prefix")
    lowlevels = _lowlevels(host, runtime)
    python = pythons.choose(host, python_path)
    sources = {**vendor.own_files(), **vendor.libraries(pythons.site_for(python, libraries))}
    try:
        with Installation(host, prefix) as installation:
            before = installation.current
            done = _install(installation, sources, python)
            done += _configuration(installation, lowlevels[:1])
    except OSError as err:
        raise ConfigError(f"{err.filename or prefix}: {err.strerror}") from None
    name = installation.current
    report: dict[str, object] = {
        "version": name,
        "previous": before,
        "python": python.path,
        "done": done,
        "programs": [f"{installation.bin}/{program}" for program in PROGRAMS],
        "lowlevel": lowlevels[:1],
    }
    _report(report, as_json=as_json)
    if not lowlevels:
        printer.line(
            "warning: no low-level runtime found; install runc or crun, or name one in"
            f" {settings.DEFAULT_PATH}",
            err=True,
            fg="yellow",
        )


def _install(
    installation: Installation,
    sources: vendor.Files,
    python: pythons.Python,
) -> list[str]:
    installation.make_folders(installation.home, installation.bin)
    installation.lock()
    before = installation.current
    name = installation.add(sources, python)
    done = [f"use {installation.home}/{name}"] if installation.use(name) else []
    done += [f"link {path}" for path in installation.link_programs()]
    if done:
        # The version before may have creates that still run; when nothing changed it stays, too.
        gone = installation.prune(name, before)
        done += [f"remove {installation.home}/{one}" for one in gone]
    return done


def _configuration(installation: Installation, lowlevel_paths: list[str]) -> list[str]:
    host = installation.host
    path = settings.DEFAULT_PATH
    if files.read(host, path) is not None:
        return []
    installation.make_folders(os.path.dirname(path))
    text = default_text([*lowlevel_paths, *settings.DEFAULTS["runtimes"]])
    files.replace(host.real(path), text.encode())
    digest = hashlib.sha256(text.encode()).hexdigest()
    installation.write_record({**installation.record(), "configuration": [digest]})
    return [f"write {path}"]


def _lowlevels(host: Host, runtime: str | None) -> list[str]:
    """Return the paths of low-level runtimes on the machine, the best first."""
    if runtime is not None:
        _must_be_absolute(runtime, "--runtime")
        if not host.is_program(runtime):
            raise ConfigError(f"{runtime}: no such program", hint="--runtime names runc or crun")
        return [runtime]
    folders = (*lowlevel.USUAL_DIRS, *_ENGINES_OWN)
    paths = [f"{folder}/{name}" for name in settings.DEFAULTS["runtimes"] for folder in folders]
    return [path for path in paths if host.is_program(path)]


def _must_be_absolute(path: str, option: str) -> None:
    if not path.startswith("/"):
        raise click.UsageError(f"{option} takes an absolute path, not '{path}'")


@click.command()
@_PREFIX
@_HOST_ROOT
@click.option("--purge", is_flag=True, help="Also remove a configuration that was edited.")
@click.option("--force", is_flag=True, help="Even if an engine is configured to use pyshim.")
@_JSON
def uninstall(prefix: str, host_root: str, *, purge: bool, force: bool, as_json: bool) -> None:
    """Remove what install put in place, and what pyshim made while it ran (/run/pyshim).

    Refuses while an engine's files name pyshim: its containers could not be stopped any more.

    Exit status: 0 nothing is left, 1 refused or failed, 2 wrong command line.
    """
    host = Host(host_root)
    _must_be_absolute(prefix, "--prefix")
    if not force:
        _refuse_when_used(host)
    try:
        with Installation(host, prefix) as installation:
            done = _uninstall(installation, purge=purge)
    except OSError as err:
        raise ConfigError(f"{err.filename or prefix}: {err.strerror}") from None
    _report({"done": done}, as_json=as_json)


def _refuse_when_used(host: Host) -> None:
    for engine, file in _registered(host):
        try:
            plan = engines.module(engine).plan(host, Wish("pyshim", "", remove=True, config=file))
        except PyshimError as err:
            printer.line(f"note: {engine}: {err}", err=True, fg="yellow")
            continue
        if plan.changes:
            paths = ", ".join(edit.path for edit in plan.edits if edit.changes)
            command = f"pyshimctl configure {engine} --remove"
            command += f" --config {file}" if file else ""
            raise ConfigError(
                f"{engine} still uses pyshim ({paths})",
                hint=f"{command}; {plan.next_step or 'then try again'}",
            )


def _registered(host: Host) -> Iterator[tuple[str, str | None]]:
    """Yield each engine with its usual file, None, after the files of k3s and the like."""
    for place in containerd_places.PLACES:
        if place is not containerd_places.USUAL:
            if host.is_file(place.config):
                yield "containerd", place.config
            yield from (("containerd", one) for one in template.there(host, place.config))
    yield from ((engine, None) for engine in engines.ENGINES)


def _uninstall(installation: Installation, *, purge: bool) -> list[str]:
    host = installation.host
    done = [f"remove {path}" for path in installation.unlink_programs()]
    done += _remove_run(host)
    record = installation.record()
    path = settings.DEFAULT_PATH
    text = files.read(host, path)
    if text is not None:
        ours = hashlib.sha256(text.encode()).hexdigest() in record.get("configuration", [])
        if ours or purge:
            os.unlink(host.entry(path))
            done.append(f"remove {path}")
        else:
            done.append(f"keep {path}, which was edited (--purge removes it)")
    home = host.real(installation.home)
    if os.path.isdir(home):
        installation.lock()
        shutil.rmtree(home)
        done.append(f"remove {installation.home}")
    for folder in sorted({*record.get("folders", []), os.path.dirname(path)}, reverse=True):
        try:
            os.rmdir(host.real(folder))
        except OSError:
            continue  # it has something in it, or was not ours alone
    return done


def _remove_run(host: Host) -> list[str]:
    """Remove what pyshim keeps while it runs. Raises ConfigError while containers use it."""
    real = host.real(_RUN)
    if not os.path.isdir(real):
        return []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        used = [line.split()[4] for line in file if line.split()[4].startswith(real + "/")]
    if used:
        raise ConfigError(f"{used[0]} is mounted: a container uses it", hint="delete it first")
    shutil.rmtree(real)
    return [f"remove {_RUN}"]


def _report(report: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        printer.report(report)
        return
    done = report["done"]
    for line in done if isinstance(done, list) else []:
        printer.line(line)
    if not done:
        printer.line("nothing to do")
