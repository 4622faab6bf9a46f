"""`pyshimctl config`: what pyshim's own settings are, where each comes from, what is wrong."""

from __future__ import annotations

import os
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.config import settings_edit
from ocishim.admin.config.settings import default_text, lines_of, read_early, toml
from ocishim.admin.editing import files
from ocishim.admin.editing.tomlfile import find
from ocishim.admin.host import Host
from ocishim.errors import ConfigError
from ocishim.settings import config as settings
from ocishim.settings import configfile, defaults


@click.group()
def command() -> None:
    """Show, check and change pyshim's own configuration.

    The file is /etc/pyshim/config.toml, or the one PYSHIM_CONFIG names.
    """


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show(*, as_json: bool) -> None:
    """Print the settings in force, as TOML, with where each comes from.

    Exit status: 0, or 1 when the file is wrong and every create would fail.
    """
    path = settings.path()
    values, lines = _in_force(path)
    if as_json:
        origin = {key: f"{path}:{lines[key]}" if key in lines else "default" for key in values}
        table = {key: {"value": value, "from": origin[key]} for key, value in values.items()}
        report = {"file": path, "exists": os.path.exists(path), "settings": table}
        printer.report("config", report)
        return
    there = "" if os.path.exists(path) else ": not there, so every setting has its default"
    printer.line(f"# {path}{there}")
    table_name = ""
    for key, value in values.items():
        above, _, name = key.rpartition(".")
        if above != table_name:
            table_name = above
            printer.line("")
            printer.line(f"[{above}]")
        origin_text = f"line {lines[key]}" if key in lines else "default"
        printer.line(f"{name} = {toml(value)}  # {origin_text}")


def _in_force(path: str) -> tuple[dict[str, Any], dict[str, int]]:
    text = files.read(Host(), path)
    if text is None:
        return defaults.DEFAULTS, {}
    return _parsed(text, path), lines_of(text)


def _parsed(text: str, path: str) -> dict[str, Any]:
    """Return the file's settings; an error of TOML begins with file and line like all others."""
    try:
        return configfile.parse(text.encode(), path)
    except configfile.NotTomlError as err:
        line = configfile.line_of_fault(text)
        raise ConfigError(err.fault, source=path, line=line, hint=err.hint) from None


@command.command()
@click.argument("file", required=False)
@click.option("--quiet", "-q", is_flag=True, help="The exit status and errors alone.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def check(file: str | None, *, quiet: bool, as_json: bool) -> None:
    """Check FILE, or the configuration in force, without using it.

    Exit status: 0 it is right, or not there; 1 it is wrong, and the message names file, line and
    key.
    """
    path = os.path.abspath(file) if file else settings.path()
    if as_json:
        _check_json(path, named=bool(file))
        return
    notes, exists = _checked(path, named=bool(file))
    for note in notes:
        printer.line(f"{path}: note: {note}", err=True, fg="yellow")
    if not quiet:
        there = "right" if exists else "not there; every setting has its default"
        printer.line(f"{path}: {there}")


def _checked(path: str, *, named: bool) -> tuple[list[str], bool]:
    """Return what could be better in a file that is right, and whether it is there.

    Raises ConfigError when it is wrong, or was named and is not there.
    """
    text = files.read(Host(), path, named=named)
    if text is None:
        if named:
            raise ConfigError(f"{path}: no such file")
        return [], False
    _parsed(text, path)
    return [] if read_early(text) else [_LATE], True


def _check_json(path: str, *, named: bool) -> None:
    report = {"file": path, "exists": os.path.exists(path), "valid": True, "error": "", "hint": ""}
    notes: list[str] = []
    try:
        notes, _ = _checked(path, named=named)
    except ConfigError as err:
        report |= {"valid": False, "error": err.message, "hint": err.hint}
    printer.report("config-check", {**report, "notes": notes})
    raise SystemExit(0 if report["valid"] else 1)


_LATE = (
    'write runtimes = ["NAME", ...] as the first line; as it is, every'
    " start, kill and delete begins with starting Python"
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Print a diff, change nothing.")


@command.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
@_DRY_RUN
def set_(assignments: tuple[str, ...], *, dry_run: bool) -> None:
    """Set KEY, a dotted name as in `config show`, to VALUE in the configuration in force.

    \b
    pyshimctl config set hooks.readonly_rootfs=overlay hooks.timeout=20
    pyshimctl config set runtimes=runsc,runc
    pyshimctl config set requests.env='[{name = "MY_DEVICES", kind = "acme.com/gpu"}]'

    Comments stay. The result is checked before it is written, as a create would. A list is set as
    a whole.

    Exit status: 0 done, or it was so; 1 refused, and nothing is changed.
    """  # noqa: D301 - click's own mark is a backspace
    _change(dict(map(settings_edit.assignment, assignments)), (), dry_run=dry_run)


@command.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_DRY_RUN
def unset(keys: tuple[str, ...], *, dry_run: bool) -> None:
    """Take KEY out of the configuration in force, so that it has its default.

    A setting pyshim does not know can be taken out, too: that is how a misspelt one goes.
    """
    path = settings.path()
    tree = configfile.document((files.read(Host(), path) or "").encode(), path)
    for key in keys:
        if find(tree, *key.split(".")) is None:
            settings_edit.known(key)
    _change({}, keys, dry_run=dry_run)


def _change(sets: dict[str, Any], unsets: tuple[str, ...], *, dry_run: bool) -> None:
    path = settings.path()
    before = files.read(Host(), path)
    text = (default_text() if sets else "") if before is None else before
    after = settings_edit.changed(path, text, sets, unsets)
    nothing = before is None and not sets  # no file is made to say that nothing is set
    edit = files.Edit(Host(), path, before, None if nothing else after)
    if dry_run:
        printer.text(edit.diff())
        return
    edit.apply()
    printer.line(edit.describe())


@command.command()
def default() -> None:
    """Print the commented default configuration."""
    printer.text(default_text())
