"""`pyshimctl cdi validate`: would pyshim load these spec files, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from ocishim.admin import printer, unusable
from ocishim.admin.editing import files as contents
from ocishim.cdi import stale
from ocishim.cdi.document import document
from ocishim.cdi.registry import registry, scan, unresolved
from ocishim.errors import ConfigError, reason
from ocishim.settings import config as settings


class Verdict:
    """What is thought of one file: `fault` is "" when it is valid, and `told` what it is then.

    notes: what is unusual, and no reason to reject it. useless: why devices of it are of no use
    on this host, valid or not.
    """

    __slots__ = ("fault", "notes", "path", "told", "useless")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fault = ""
        self.told = ""
        self.notes: list[str] = []
        self.useless: list[str] = []

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON object's members."""
        valid = not self.fault
        told = {"path": self.path, "valid": valid, "fault": self.fault, "notes": self.notes}
        return {**told, "useless": self.useless} if self.useless else told


@click.command(short_help="Whether spec files are valid, and why not.")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--schema-only", is_flag=True, help="Ask the CDI reference's JSON Schema instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def validate(files: tuple[str, ...], *, schema_only: bool, as_json: bool) -> None:
    """Check FILE..., or every file in cdi.spec_dirs, as the CDI reference reads it.

    One line a file. Of a valid file, what is unusual for its cdiVersion goes to stderr; of one
    in cdi.spec_dirs also which devices this host cannot give to a container. --schema-only asks
    much less: no names, no versions, no rules between fields. Exit status: 0 when all are valid,
    and of use here; 1 when one is not.
    """
    paths = list(files) or [
        path for _priority, path, _id in scan.scan(settings.load().spec_dirs).files()
    ]
    judge = _judge_by_schema if schema_only else _judge
    reader = contents.given if files else contents.content
    verdicts = [_read_and(judge, path, reader) for path in paths]
    if not schema_only:
        _ask_the_host(verdicts, named=bool(files))
    if as_json:
        printer.report("cdi-validate", {"files": [one.as_dict() for one in verdicts]})
    else:
        _print(verdicts)
    raise SystemExit(1 if any(one.fault or one.useless for one in verdicts) else 0)


def _ask_the_host(verdicts: list[Verdict], *, named: bool) -> None:
    """Add what is of no use here to the verdicts on files of the spec dirs.

    named: on the command line, where a file is valid whatever pyshim's settings are.
    """
    try:
        dirs = settings.load().spec_dirs
    except ConfigError:
        if named:
            return
        raise
    folders = {os.path.realpath(path) for path in dirs}
    here = [one for one in verdicts if os.path.dirname(_place(one.path)) in folders]
    if not here:
        return
    known = registry.load(dirs, None)
    told = unusable.faults(known, known.resolve(known.devices()))
    for one in here:
        one.useless = [why for path, why in told if _place(path) == _place(one.path)]


def _place(path: str) -> str:
    """Return `path` as it compares with others: a link is a spec of its own."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _read_and(
    judge: Callable[[Verdict, bytes], None], path: str, reader: Callable[[str], bytes]
) -> Verdict:
    verdict = Verdict(path)
    try:
        data = reader(path)
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
        verdict.fault = unresolved.rejection(verdict.path, e.record())
        return
    devices = len(spec["devices"])
    version = spec["cdiVersion"]
    plural = "" if devices == 1 else "s"
    verdict.told = f"valid, {spec['kind']}, {devices} device{plural}, {version}"
    verdict.notes = [
        f"unusual for cdiVersion {version}: {fault}" for fault in schema.version_faults(spec)
    ]
    verdict.notes += _unmountable(spec)
    if os.path.splitext(os.path.basename(verdict.path))[1] not in scan.SUFFIXES:
        verdict.notes.append("only files named *.json and *.yaml are loaded")


def _unmountable(spec: dict[str, Any]) -> list[str]:
    """What is valid, and fails create wherever it is used."""
    parts = [spec.get("containerEdits") or {}, *(one["containerEdits"] for one in spec["devices"])]
    told = []
    for mount in [mount for part in parts for mount in part.get("mounts") or ()]:
        place = f"the mount at {mount['containerPath']}"
        if stale.is_unbound(mount):
            told.append(
                f"{place} says neither 'bind' nor 'rbind' in its options: "
                "runc and crun cannot mount it"
            )
        sort, fact = stale.source_fault(mount)
        if fact and sort.wrong:
            told.append(f"{place}: {fact}: {sort.cause}")
    return told


def _judge_by_schema(verdict: Verdict, data: bytes) -> None:
    from ocishim.cdi.schema import validate as schema  # noqa: PLC0415 - as above

    verdict.fault = "; ".join(schema.faults(data))
    verdict.told = "valid by the schema"


def _print(verdicts: list[Verdict]) -> None:
    for one in verdicts:
        printer.line(f"{one.path}: {one.fault or one.told}", fg="red" if one.fault else None)
        for why in one.useless:
            printer.line(f"{one.path}: {why}", err=True, fg="red")
        for note in one.notes:
            printer.line(f"{one.path}: {note}", err=True, fg="yellow")
    if not verdicts:
        printer.line("no spec files", err=True)
