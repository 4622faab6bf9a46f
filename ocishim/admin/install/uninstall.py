"""`pyshimctl uninstall`: what install put in place goes, and what pyshim made while it ran."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator

import click

from ocishim.admin import engines, printer
from ocishim.admin.editing import files
from ocishim.admin.engines import Wish, containerd_places
from ocishim.admin.engines import containerd_template as template
from ocishim.admin.host import Host
from ocishim.admin.install import inuse, inway, units
from ocishim.admin.install.command import (
    DRY_RUN_OPTION,
    HOST_ROOT_OPTION,
    JSON_OPTION,
    PREFIX_OPTION,
    must_be_absolute,
    tell,
)
from ocishim.admin.install.installation import Installation
from ocishim.admin.install.versionfolder import PROGRAMS
from ocishim.errors import ConfigError, PyshimError, quoted
from ocishim.linux import mountinfo
from ocishim.settings import defaults

_RUN = "/run/pyshim"


@click.command()
@PREFIX_OPTION
@HOST_ROOT_OPTION
@click.option("--purge", is_flag=True, help="Also remove a configuration that was edited.")
@click.option("--force", is_flag=True, help="Even if an engine is configured to use pyshim.")
@DRY_RUN_OPTION
@click.option("--quiet", "-q", is_flag=True, help="The exit status and errors alone.")
@JSON_OPTION
def uninstall(
    prefix: str,
    host_root: str,
    *,
    purge: bool,
    force: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Remove what install put in place, and what pyshim made while it ran (/run/pyshim).

    Refuses while an engine's files name pyshim. Refuses while containers have it as their runtime,
    in any case: they could not be stopped, entered or deleted any more.

    Exit status: 0 nothing is left, or stands against it, 1 refused or failed, 2 wrong command line.
    """
    host = Host(host_root)
    must_be_absolute(prefix, "--prefix")
    if not force:
        _refuse_when_used(host)
    program = f"{prefix}/bin/pyshim"
    inuse.refuse(inuse.of(host, program), program)
    act = _would if dry_run else _uninstalled
    done = act(Installation(host, prefix), purge=purge)
    if not quiet:
        tell({"done": done, **({"dry_run": True} if dry_run else {})}, as_json=as_json)


def _uninstalled(installation: Installation, *, purge: bool) -> list[str]:
    """Uninstall; what was done. Raises ConfigError."""
    try:
        with installation:
            return _uninstall(installation, purge=purge)
    except OSError as err:
        raise files.refused(err, files.named_by(err) or installation.prefix) from None


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
            command += f" --config {quoted(file)}" if file else ""
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


def _would(installation: Installation, *, purge: bool) -> list[str]:
    """Return what an uninstall would do. Raises ConfigError where it would."""
    inway.refuse(installation, inway.folders(installation))
    host, wrong = installation.host, installation.wrong_links()
    links = [f"{installation.bin}/{one}" for one in PROGRAMS]
    told = [f"remove {_RUN}"] if host.is_folder(_RUN) else []
    told += [f"remove {path}" for path in units.there(installation)]
    told += [f"remove {path}" for path in links if path not in wrong]
    told += _configuration(installation, purge=purge)
    return told + _fate(installation)


def _fate(installation: Installation) -> list[str]:
    """Return what becomes of the folder of all versions."""
    others = installation.others()
    if others:
        return [f"keep {installation.home}, where {others[0]} is not ours"]
    there = os.path.isdir(installation.host.real(installation.home))
    return [f"remove {installation.home}"] if there else []


def _configuration(installation: Installation, *, purge: bool) -> list[str]:
    """Return what becomes of the configuration."""
    path = defaults.DEFAULT_PATH
    text = files.read(installation.host, path)
    if text is None:
        return []
    known = installation.record().get("configuration", [])
    if purge or hashlib.sha256(text.encode()).hexdigest() in known:
        return [f"remove {path}"]
    return [f"keep {path}, which was edited (--purge removes it)"]


def _uninstall(installation: Installation, *, purge: bool) -> list[str]:
    host = installation.host
    inway.refuse(installation, inway.folders(installation))
    record = installation.record()
    path = defaults.DEFAULT_PATH
    fate = _configuration(installation, purge=purge)
    done = _remove_run(host)
    done += units.remove(installation)
    done += [f"remove {path}" for path in installation.unlink_programs()]
    if fate == [f"remove {path}"]:
        os.unlink(host.entry(path))
    done += fate
    done += _fate(installation)
    if os.path.isdir(host.real(installation.home)):
        installation.lock()
        installation.clear()
    for folder in sorted({*record.get("folders", []), os.path.dirname(path)}, reverse=True):
        try:
            os.rmdir(host.real(folder))
        except (OSError, ConfigError):
            continue  # it has something in it, or was not ours alone
    return done


def _remove_run(host: Host) -> list[str]:
    """Remove what pyshim keeps while it runs. Raises ConfigError while containers use it."""
    real = host.real(_RUN)
    if not os.path.isdir(real):
        return []
    used = mountinfo.below(mountinfo.read(), real)
    if used:
        fault = f"{real}/{used[0]} is mounted: a container uses it"
        raise ConfigError(fault, hint="delete it first")
    shutil.rmtree(real)
    return [f"remove {_RUN}"]
