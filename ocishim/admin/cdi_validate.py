"""`pyshimctl cdi validate`: would pyshim load these spec files, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from ocishim import config as settings
from ocishim.admin import printer
from ocishim.cdi import document, scan, unresolved
from ocishim.errors import reason


class Verdict:
    """What is thought of one file: `fault` is "" when it is valid, and `told` what it is then.

    notes: what is unusual, and no reason to reject it.
    """

    __slots__ = ("fault", "notes", "path", "told")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fault = ""
        self.told = ""
        self.notes: list[str] = []

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON object's members."""
        valid = not self.fault
        return {"path": self.path, "valid": valid, "fault": self.fault, "notes": self.notes}


@click.command(short_help="Whether spec files are valid, and why not.")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--schema-only", is_flag=True, help="Ask the CDI reference's JSON Schema instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def validate(files: tuple[str, ...], *, schema_only: bool, as_json: bool) -> None:
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
    if as_json:
        printer.report({"files": [one.as_dict() for one in verdicts]})
    else:
        _print(verdicts)
    raise SystemExit(1 if any(one.fault for one in verdicts) else 0)


def _read_and(judge: Callable[[Verdict, bytes], None], path: str) -> Verdict:
    verdict = Verdict(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as e:
        verdict.fault = reason(e)
    else:
        judge(verdict, data)
    return verdict


def _judge(verdict: Verdict, data: bytes) -> None:
    """The reader's verdict, which is what pyshim goes by."""
    from ocishim.cdi.schema import validate as schema  # noqa: PLC0415 - jsonschema: 60 ms

    try:
        spec = document.load(data, verdict.path)
    except document.CDISpecError as e:
        fault = (e.message, e.kind, e.field, e.cdi_version)
        verdict.fault = unresolved.rejection(verdict.path, fault)
        return
    devices = len(spec["devices"])
    version = spec["cdiVersion"]
    plural = "" if devices == 1 else "s"
    verdict.told = f"valid, {spec['kind']}, {devices} device{plural}, {version}"
    verdict.notes = [
        f"unusual for cdiVersion {version}: {fault}" for fault in schema.version_faults(spec)
    ]
    if os.path.splitext(os.path.basename(verdict.path))[1] not in scan.SUFFIXES:
        verdict.notes.append("only files named *.json and *.yaml are loaded")


def _judge_by_schema(verdict: Verdict, data: bytes) -> None:
    from ocishim.cdi.schema import validate as schema  # noqa: PLC0415 - as above

    verdict.fault = "; ".join(schema.faults(data))
    verdict.told = "valid by the schema"


def _print(verdicts: list[Verdict]) -> None:
    for one in verdicts:
        printer.line(f"{one.path}: {one.fault or one.told}", fg="red" if one.fault else None)
        for note in one.notes:
            printer.line(f"{one.path}: {note}", err=True, fg="yellow")
    if not verdicts:
        printer.line("no spec files", err=True)
