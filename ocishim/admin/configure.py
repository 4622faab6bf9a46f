"""`pyshimctl configure`: register pyshim with a container engine, or take it out again.

What an engine's files must say is decided by its module in engines/.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ocishim.admin import engines, printer
from ocishim.admin.engines import ENGINES, named, trial
from ocishim.admin.host import Host
from ocishim.admin.install import inuse, ownfiles
from ocishim.errors import ConfigError
from ocishim.lowlevel.lowlevel import USUAL_DIRS
from ocishim.settings import configfile, defaults

_USUAL_PROGRAMS = ("/usr/local/bin/pyshim", "/usr/bin/pyshim", "/opt/pyshim/bin/pyshim")


@click.command()
@click.argument("engine", type=click.Choice(ENGINES))
@click.option(
    "--runtime-name",
    "name",
    default="pyshim",
    show_default=True,
    help="The engine's name for the runtime.",
)
@click.option(
    "--runtime-path",
    "program",
    metavar="PATH",
    help="Path of pyshim on the machine; by default where it is installed.",
)
@click.option("--set-as-default", is_flag=True, help="Also make it the engine's default runtime.")
@click.option("--enable-cdi", is_flag=True, help="Also switch the engine's own CDI support on.")
@click.option("--remove", is_flag=True, help="Take the runtime out again.")
@click.option("--dry-run", is_flag=True, help="Print a unified diff and change nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Even where the engine is not installed, or containers need the name that would be gone.",
)
@click.option("--config", "file", metavar="FILE", help="The engine's file, if not the usual one.")
@click.option("--drop-in", metavar="FILE", help="The drop-in to write, if not the usual one.")
@click.option(
    "--host-root",
    default="/",
    metavar="DIR",
    help="Where the root of the machine to configure is mounted.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")
def command(  # noqa: PLR0917 - click calls it by name
    engine: str,
    name: str,
    program: str | None,
    file: str | None,
    drop_in: str | None,
    host_root: str,
    *,
    set_as_default: bool,
    enable_cdi: bool,
    remove: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> engines.Plan:
    """Make ENGINE use pyshim: containerd, crio, docker or podman.

    Doing it twice changes nothing. Nothing is written that the engine itself cannot read, and no
    name is taken away by which it finds the runtime of containers that are there. It is not
    restarted; the command that does it is printed.

    Exit status: 0 the files are as wanted, 1 they could not be made so and are as they were,
    2 for a wrong command line.
    """
    host = Host(host_root)
    wish = engines.Wish(
        name,
        program or installed(host),
        set_as_default=set_as_default,
        enable_cdi=enable_cdi,
        remove=remove,
        config=_absolute(file),
        drop_in=_absolute(drop_in),
        **_own(host),
    )
    if not remove:
        engines.check_name(engine, name)
        engines.check_program(host, wish.program)
    asked = _engine(engine, host, wish, force=force)
    plan: engines.Plan = engines.module(engine).plan(host, wish)
    _refuse_when_needed(engine, host, wish, plan, force=force)
    if plan.changes:
        _carry_out(engine, host, plan, asked, remove=remove, dry_run=dry_run)
    _report(engine, plan, dry_run=dry_run, as_json=as_json)
    return plan


def _own(host: Host) -> dict[str, Any]:
    """Return what pyshim's own settings on that machine say to the engine, as members of a Wish."""
    own = defaults.DEFAULTS
    if host.is_file(defaults.DEFAULT_PATH):
        own = configfile.read(host.real(defaults.DEFAULT_PATH))
    return {
        "annotation_prefixes": own["cdi.annotation_prefixes"],
        "spec_dirs": own["cdi.spec_dirs"],
        "lowlevel": _lowlevel(host, own["runtimes"]),
    }


def _lowlevel(host: Host, runtimes: list[str]) -> str:
    """Return the name of the first of `runtimes` that the machine has, "" when it has none."""
    for entry in runtimes:
        folder, name = os.path.split(entry)
        if any(host.is_program(f"{one}/{name}") for one in ([folder] if folder else USUAL_DIRS)):
            return name
    return ""


def _engine(engine: str, host: Host, wish: engines.Wish, *, force: bool) -> trial.Problem | None:
    """Return how the engine is asked about its files, None where it is not there to be asked."""
    module = engines.module(engine)
    if module.program(host, wish):
        return lambda scratch: str(module.problem(host, wish, scratch))
    if wish.remove or force:
        return None
    raise ConfigError(
        f"{engine} is not installed: no {module.PROGRAMS[0]} in PATH or the usual folders",
        hint="install it first: its package asks about files that are there already; or --force",
    )


def _refuse_when_needed(
    engine: str, host: Host, wish: engines.Wish, plan: engines.Plan, *, force: bool
) -> None:
    """Raise InUseError when a name would be gone that containers need; a note with `force`."""
    names = named.gone(engine, plan)
    needing = inuse.by_name(host, engine, names, wish.program)
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    what = f"the runtime {listed} in {engine}'s configuration"
    verb = "entered" if engine == "containerd" else "stopped"
    fault = inuse.complaint(needing, what, verb=verb)
    if fault and force:
        plan.notes.append(fault)
    elif fault:
        hint = f"{inuse.NEXT_STEP}; --force does not wait"
        if named.has_default(plan, names):
            hint = f"'pyshimctl configure {engine}', so that it is no default any more; {hint}"
        raise inuse.InUseError(fault, hint=hint)


def _carry_out(
    engine: str,
    host: Host,
    plan: engines.Plan,
    asked: trial.Problem | None,
    *,
    remove: bool,
    dry_run: bool,
) -> None:
    """Make the plan's edits. Raises ConfigError with the engine's words when it refuses them."""

    def problem(scratch: str) -> str:
        try:
            return asked(scratch) if asked else ""
        except ConfigError as err:
            note = f"{engine} was not asked whether it can read this: {err}"
            plan.notes = [*(one for one in plan.notes if one != note), note]
            return ""

    words = trial.rehearse(host, plan.edits, problem) if asked else ""
    if words and remove and trial.make(host, [], problem):
        plan.notes.append(f"{engine} cannot read its files, with pyshim and without: {words}")
        asked, words = None, ""
    if not words and not dry_run:
        words = trial.make(host, plan.edits, problem)
    if words:
        raise ConfigError(
            f"{engine} refuses the result: {words}",
            hint="nothing was changed; correct what it complains about, and try again",
        )


def installed(host: Host) -> str:
    """Return the path of `pyshim` on the machine: the one of this installation, or a usual one."""
    own = (
        []
        if host.elsewhere
        else [
            ownfiles.program(),
            os.path.abspath(os.path.join(os.path.dirname(sys.argv[0]), "pyshim")),
        ]
    )
    candidates = [*own, *_USUAL_PROGRAMS]
    return next((path for path in candidates if path and host.is_program(path)), _USUAL_PROGRAMS[0])


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None


def _report(engine: str, plan: engines.Plan, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        _report_json(engine, plan, dry_run=dry_run)
    else:
        _report_text(plan, dry_run=dry_run)


def _report_text(plan: engines.Plan, *, dry_run: bool) -> None:
    for note in plan.notes:
        printer.line(f"note: {note}", err=True, fg="yellow")
    for edit in plan.edits:
        if dry_run:
            printer.text(edit.diff())
        else:
            printer.line(edit.describe())
    if not plan.edits:
        printer.line("nothing to remove")
    if plan.changes and plan.next_step and not dry_run:
        printer.line(f"next: {plan.next_step}")


def _report_json(engine: str, plan: engines.Plan, *, dry_run: bool) -> None:
    changed = [
        {"path": edit.path, "action": edit.describe().split()[0], "diff": edit.diff()}
        for edit in plan.edits
        if edit.changes
    ]
    report = {
        "engine": engine,
        "changed": plan.changes and not dry_run,
        "dry_run": dry_run,
        "files": changed,
        "notes": plan.notes,
        "next": plan.next_step if plan.changes else "",
    }
    printer.report("configure", report)
