"""`pyshimctl install`: the order of the steps, and what is said of them.

What an installation consists of is installation.py's; the engines' files are configure's.
"""

from __future__ import annotations

import hashlib
import os
from typing import NoReturn

import click

from ocishim.admin import printer
from ocishim.admin.config.settings import default_text
from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.admin.install import inuse, inway, selfcheck, units
from ocishim.admin.install.installation import PREFIX, Installation
from ocishim.admin.install.integrity import Fault
from ocishim.admin.install.versionfolder import PROGRAMS
from ocishim.errors import ConfigError
from ocishim.lowlevel import lowlevel
from ocishim.settings import defaults

# Engines that bring their own runtimes keep them where nobody's PATH leads.
_ENGINES_OWN = ("/usr/libexec/crio", "/var/lib/rancher/k3s/data/current/bin")

_NO_LOWLEVEL = (
    "warning: no low-level runtime found; install runc or crun, or name one in"
    f" {defaults.DEFAULT_PATH}"
)

PREFIX_OPTION = click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    metavar="DIR",
    help="Programs go to DIR/bin, the file that they are to DIR/lib/pyshim.",
)
HOST_ROOT_OPTION = click.option(
    "--host-root", default="/", metavar="DIR", help="Where the root of another machine is mounted."
)
DRY_RUN_OPTION = click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")


@click.command()
@PREFIX_OPTION
@HOST_ROOT_OPTION
@click.option("--runtime", metavar="PATH", help="The low-level runtime of a new configuration.")
@click.option(
    "--refresh", is_flag=True, help="Also have systemd keep the CDI spec of this host's GPUs fresh."
)
@click.option("--check", is_flag=True, help="Say what is wrong with what is there; change nothing.")
@DRY_RUN_OPTION
@JSON_OPTION
def install(
    prefix: str,
    host_root: str,
    runtime: str | None,
    *,
    refresh: bool,
    check: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put pyshim in place: this file under its three names, and a commented configuration.

    May be called while containers start; doing it twice changes nothing. What is there is compared
    with what it should be, and mended. The version before stays for creates that still run, and an
    older one while a container's hook names it. The configuration is written only when there is
    none. What is somebody else's is not touched: when it is in the way, nothing is done, and the
    message says how to move it.

    Exit status: 0 done, 1 failed, or --check found something, 2 wrong command line.
    """
    host = Host(host_root)
    must_be_absolute(prefix, "--prefix")
    if check:
        _check(Installation(host, prefix), as_json=as_json)
    if refresh:
        units.require(host)
    in_way = inway.found(Installation(host, prefix), refresh=refresh)
    inway.refuse(Installation(host, prefix), in_way)
    lowlevels = _lowlevels(host, runtime)
    file = selfcheck.whole_file()
    if dry_run:
        told = _would(Installation(host, prefix), file)
        told += units.planned(Installation(host, prefix), asked=refresh)
        tell({"done": told, "dry_run": True}, as_json=as_json)
        return
    done = _put_in_place(Installation(host, prefix), file, lowlevels, refresh=refresh)
    tell(done, as_json=as_json)
    if not lowlevels:
        printer.line(_NO_LOWLEVEL, err=True, fg="yellow")


def _put_in_place(
    installation: Installation, file: str, lowlevels: list[str], *, refresh: bool
) -> dict[str, object]:
    """Install, and return the report. Raises ConfigError."""
    try:
        with installation:
            before = installation.current
            done = _install(installation, file)
            done += _configuration(installation, lowlevels[:1])
            done += units.put(installation, asked=refresh)
    except OSError as err:
        raise files.refused(err, files.named_by(err) or installation.prefix) from None
    return {
        "version": installation.current,
        "previous": before,
        "done": done,
        "programs": [f"{installation.bin}/{program}" for program in PROGRAMS],
        "lowlevel": lowlevels[:1],
    }


def _check(installation: Installation, *, as_json: bool) -> NoReturn:
    """Print what is wrong, a line each, and end with the exit status."""
    try:
        wrong = selfcheck.faults(installation)
        if installation.current:
            name = installation.name_of(selfcheck.whole_file())
            if name != installation.current:
                what = f"leads to {installation.current}, and this pyshim is {name}"
                wrong.append(Fault(f"{installation.home}/current", what))
    except OSError as err:
        raise files.refused(err, files.named_by(err) or installation.prefix) from None
    if as_json:
        found = [{"path": one.path, "what": one.what} for one in wrong]
        printer.report("install-check", {"version": installation.current, "wrong": found})
    else:
        for one in wrong:
            printer.line(f"{one.path} {one.what}")
        printer.line(
            f"next: {selfcheck.next_step(installation)}"
            if wrong
            else f"{installation.home}/{installation.current}: right"
        )
    raise SystemExit(1 if wrong else 0)


def _would(installation: Installation, file: str) -> list[str]:
    """Return what an install would do."""
    name, before = installation.name_of(file), installation.current
    there = installation.host.is_folder(installation.home)
    told = _mended(installation.home, installation.home_faults()) if there else []
    told += [f"remove {installation.home}/{one}" for one in installation.left()]
    told += _mended(f"{installation.home}/{name}", installation.to_mend(name))
    told += [f"use {installation.home}/{name}"] if before != name else []
    links = installation.wrong_links()
    told += [f"link {path}" for path in links]
    gone = _to_go(installation, name, before, changed=before != name or bool(links))
    told += [f"remove {installation.home}/{one}" for one in gone]
    if not installation.host.has(defaults.DEFAULT_PATH):
        told.append(f"write {defaults.DEFAULT_PATH}")
    return told


def _install(installation: Installation, file: str) -> list[str]:
    installation.make_folders(installation.home)
    done = _mended(installation.home, installation.mend_home())
    before = installation.current
    done += [f"remove {path}" for path in installation.remove(installation.left())]
    done += _mended(installation.home, installation.mend_record())
    installation.make_folders(installation.bin)
    name, wrong = installation.add(file)
    done += _mended(f"{installation.home}/{name}", wrong)
    changed = installation.use(name)
    done += [f"use {installation.home}/{name}"] if changed else []
    links = installation.link_programs()
    done += [f"link {path}" for path in links]
    gone = _to_go(installation, name, before, changed=changed or bool(links))
    done += [f"remove {path}" for path in installation.remove(gone)]
    return done


def _to_go(installation: Installation, name: str, before: str, *, changed: bool) -> list[str]:
    """Return the names of the versions that are removed when `name` is the one in use."""
    # The version before may have creates that still run; when nothing changed it stays, too.
    unused = installation.unused(name, before) if changed else []
    needed = inuse.of_versions(installation.host, unused) if unused else []
    unused = [one for one in unused if one not in needed]
    return [*dict.fromkeys([*unused, *installation.damaged(name)])]


def _mended(folder: str, wrong: list[Fault]) -> list[str]:
    return [f"mend {os.path.normpath(f'{folder}/{one.path}')}, which {one.what}" for one in wrong]


def _configuration(installation: Installation, lowlevel_paths: list[str]) -> list[str]:
    host = installation.host
    path = defaults.DEFAULT_PATH
    if host.has(path):
        return []
    installation.make_folders(os.path.dirname(path))
    text = default_text([*lowlevel_paths, *defaults.DEFAULTS["runtimes"]])
    files.replace(host.real(path), text.encode())
    digest = hashlib.sha256(text.encode()).hexdigest()
    installation.write_record({**installation.record(), "configuration": [digest]})
    return [f"write {path}"]


def _lowlevels(host: Host, runtime: str | None) -> list[str]:
    """Return the paths of low-level runtimes on the machine, the best first."""
    if runtime is not None:
        must_be_absolute(runtime, "--runtime")
        if not host.is_program(runtime):
            raise ConfigError(f"{runtime}: no such program", hint="--runtime names runc or crun")
        return [runtime]
    folders = (*lowlevel.USUAL_DIRS, *_ENGINES_OWN)
    paths = [f"{folder}/{name}" for name in defaults.DEFAULTS["runtimes"] for folder in folders]
    return [path for path in paths if host.is_program(path)]


def must_be_absolute(path: str, option: str) -> None:
    """Raise UsageError when `path`, the value of `option`, is relative."""
    if not path.startswith("/"):
        raise click.UsageError(f"{option} takes an absolute path, not '{path}'")


def tell(report: dict[str, object], *, as_json: bool) -> None:
    """Print what was done, a line each, or the whole report as JSON."""
    if as_json:
        printer.report("install", report)
        return
    done = report["done"]
    for line in done if isinstance(done, list) else []:
        printer.line(line)
    if not done:
        printer.line("nothing to do")
