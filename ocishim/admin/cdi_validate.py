"""`pyshimctl cdi validate`: would pyshim load these spec files, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from ocishim import config as settings
from ocishim.cdi import document, scan, unresolved
from ocishim.errors import reason


@click.command(short_help="Whether spec files are valid, and why not.")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--schema-only", is_flag=True, help="Ask the CDI reference's JSON Schema instead.")
def validate(files: tuple[str, ...], *, schema_only: bool) -> None:
    """Check FILE..., or every file in cdi.spec_dirs, as the CDI reference reads it.

    One line a file. Of a valid file, what is unusual for its cdiVersion goes to stderr.
    --schema-only asks much less: no names, no versions, no rules between fields. Exit status: 0
    when all are valid, 1 when one is not.
    """
    paths = list(files) or [
        path for _priority, path, _id in scan.scan(settings.load().spec_dirs).files()
    ]
    judge = _judge_by_schema if schema_only else _judge
    verdicts = [_read_and(judge, path) for path in paths]
    if not paths:
        click.echo("no spec files", err=True)
    raise SystemExit(0 if all(verdicts) else 1)


def _read_and(judge: Callable[[str, bytes], str], path: str) -> bool:
    """Print the verdict on one file; whether it is valid. `judge` gives the fault, or ""."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as e:
        fault = reason(e)
    else:
        fault = judge(path, data)
    if fault:
        click.secho(f"{path}: {fault}", fg="red")
    return not fault


def _judge(path: str, data: bytes) -> str:
    """The reader's verdict, which is what pyshim goes by."""
    from ocishim.cdi.schema import validate as schema  # noqa: PLC0415 - jsonschema: 60 ms

    try:
        spec = document.load(data, path)
    except document.CDISpecError as e:
        return unresolved.rejection(path, (e.message, e.kind, e.field, e.cdi_version))
    devices = len(spec["devices"])
    plural = "" if devices == 1 else "s"
    click.echo(f"{path}: valid, {spec['kind']}, {devices} device{plural}, {spec['cdiVersion']}")
    for fault in schema.version_faults(spec):
        _warn(f"{path}: unusual for cdiVersion {spec['cdiVersion']}: {fault}")
    if os.path.splitext(os.path.basename(path))[1] not in scan.SUFFIXES:
        _warn(f"{path}: only files named *.json and *.yaml are loaded")
    return ""


def _judge_by_schema(path: str, data: bytes) -> str:
    from ocishim.cdi.schema import validate as schema  # noqa: PLC0415 - as above

    faults = schema.faults(data)
    if not faults:
        click.echo(f"{path}: valid by the schema")
    return "; ".join(faults)


def _warn(text: str) -> None:
    click.secho(text, err=True, fg="yellow")
