"""`pyshimctl cdi validate`: would pyshim load these spec files, and if not, why."""

from __future__ import annotations

import os

import click

from ocishim import config as settings
from ocishim.cdi import document, scan, unresolved
from ocishim.errors import reason


@click.command(short_help="Whether spec files are valid, and why not.")
@click.argument("files", nargs=-1, metavar="[FILE...]")
def validate(files: tuple[str, ...]) -> None:
    """Check FILE..., or every file in cdi.spec_dirs, as the CDI reference reads it.

    One line a file. Exit status: 0 when all are valid, 1 when one is not.
    """
    paths = list(files) or [
        path for _priority, path, _id in scan.scan(settings.load().spec_dirs).files()
    ]
    verdicts = [_judge(path) for path in paths]
    if not paths:
        click.echo("no spec files", err=True)
    raise SystemExit(0 if all(verdicts) else 1)


def _judge(path: str) -> bool:
    """Print the verdict on one file; whether it is valid."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as e:
        return _invalid(path, reason(e))
    try:
        spec = document.load(data, path)
    except document.CDISpecError as e:
        fault = (e.message, e.kind, e.field, e.cdi_version)
        return _invalid(path, unresolved.rejection(path, fault))
    devices = len(spec["devices"])
    plural = "" if devices == 1 else "s"
    click.echo(f"{path}: valid, {spec['kind']}, {devices} device{plural}, {spec['cdiVersion']}")
    if os.path.splitext(os.path.basename(path))[1] not in scan.SUFFIXES:
        click.secho(f"{path}: only files named *.json and *.yaml are loaded", err=True, fg="yellow")
    return True


def _invalid(path: str, why: str) -> bool:
    click.secho(f"{path}: {why}", fg="red")
    return False
