"""`pyshimctl cdi`: the CDI devices of this node for people.

Everything is asked of the registry and the editor that `pyshim` itself uses; here it is only
worded. Checking spec files is cdi_validate.py's.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import click

from ocishim import jsonio
from ocishim.admin import printer, unusable
from ocishim.admin.cdi_validate import validate
from ocishim.admin.generate.command import generate
from ocishim.admin.generate.transform import transform
from ocishim.admin.refresh.command import refresh
from ocishim.cache import Cache
from ocishim.cdi import edits, fields, hostdev, stale, userns
from ocishim.cdi.registry import registry, unresolved
from ocishim.errors import UnresolvedDeviceError
from ocishim.oci import spec as oci_spec
from ocishim.oci.bundle import Bundle
from ocishim.settings import config as settings

if TYPE_CHECKING:
    from ocishim.cdi.registry.entries import Found
    from ocishim.cdi.registry.registry import Registry

    Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

_MISSING_HINT = "load the device's driver, or generate the spec again"

spec_dir_option = click.option(
    "--spec-dir",
    "spec_dirs",
    multiple=True,
    metavar="DIR",
    help="Look here instead of in cdi.spec_dirs; a later DIR wins over an earlier one.",
)


@click.group()
def command() -> None:
    """Look at the CDI devices of this node, check their specs, try them on a bundle."""


command.add_command(validate)
command.add_command(generate)
command.add_command(refresh)
command.add_command(transform)


@command.command("list", short_help="All devices, where they come from, what they do.")
@spec_dir_option
@click.option(
    "--wide", is_flag=True, help="Also the version, and every edit instead of their number."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def list_(spec_dirs: tuple[str, ...], *, wide: bool, as_json: bool) -> None:
    """List the devices that containers can ask for, and the files they come from.

    What is wrong with other files goes to stderr. Exit status: 0; 1 when a file is rejected, two
    files define the same device, or this host lacks a device node of one.
    """
    known = load(spec_dirs)
    found = known.resolve(known.devices())
    faults = _faults(known, found)
    if as_json:
        devices = [_summary(device) for device in found]
        printer.report("cdi-list", {"devices": devices, "errors": faults})
    else:
        printer.table(*(_wide(found) if wide else _short(found)))
        printer.line(unresolved.looked_in(known.found, known.spec_dirs), err=True)
        for fault in faults:
            printer.line(f"{fault['path']}: {fault['reason']}", err=True, fg="yellow")
    raise SystemExit(1 if faults else 0)


def _short(found: list[Found]) -> Table:
    rows = [(device.name, device.path, edits_in_short(device)) for device in found]
    return ("DEVICE", "SPEC", "EDITS"), [*rows]


def _wide(found: list[Found]) -> Table:
    titles = ("DEVICE", "SPEC", "VERSION", "EDITS")
    return titles, [(one.name, one.path, one.cdi_version, _every_edit(one)) for one in found]


def _every_edit(device: Found) -> str:
    sentences, missing = _effects(edits.merge([device]))
    return "; ".join([*(sentence.strip() for sentence in sentences), *missing])


@command.command(short_help="What one device does to a container.")
@click.argument("name")
@spec_dir_option
@click.option("--json", "as_json", is_flag=True, help="The edits as the spec has them.")
def show(name: str, spec_dirs: tuple[str, ...], *, as_json: bool) -> None:
    """Show what the device NAME (vendor/class=name) does to a container on this node.

    Exit status: 0; 1 when NAME cannot be resolved or the host lacks what it needs.
    """
    (found,) = load(spec_dirs).resolve([name])
    sentences, missing = _effects(edits.merge([found]))
    findings = stale.findings([found])
    fatal = [finding.message for finding in findings if finding.certain]
    if as_json:
        whole = {**_summary(found), "containerEdits": found.edits, "common": found.common}
        printer.report("cdi-show", {**whole, "missing": [*missing, *fatal]})
    else:
        printer.line(f"device   {found.name}")
        printer.line(f"spec     {found.path}")
        printer.line(f"version  {found.cdi_version}")
        for finding in findings:
            title, colour = ("missing", "red") if finding.certain else ("warning", "yellow")
            printer.line(f"{title}  {finding.message}", fg=colour)
        for reason in missing:
            printer.line(f"missing  {reason}", fg="red")
        for sentence in sentences:
            printer.line(f"  {sentence}")
    if missing or fatal:
        printer.line(
            f"create fails for a container that asks for {name}: {_MISSING_HINT}", err=True
        )
        raise SystemExit(1)


def _effects(merged: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What `merged` edits do, a sentence each, and why this host cannot give some device nodes.

    A node the host lacks is told as the spec has it; create refuses it, the first one alone.
    """
    sentences = _sentences({"env": merged["env"]})
    missing = []
    for node in merged["deviceNodes"]:
        try:
            sentences += _sentences({"deviceNodes": [node]})
        except UnresolvedDeviceError as err:
            sentences.append(f"device node {node['path']}, missing on this host")
            missing.append(err.message)
    rest = {key: value for key, value in merged.items() if key not in ("env", "deviceNodes")}
    return sentences + _sentences(rest), missing


def _sentences(part: dict[str, Any]) -> list[str]:
    return [change.describe() for change in edits.plan({}, part, hostdev.stat)]


@command.command(short_help="What devices change in a bundle's config.json.")
@click.argument("bundle", type=click.Path(exists=True, file_okay=False))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@spec_dir_option
@click.option("--write", is_flag=True, help="Replace config.json instead of printing the diff.")
def inject(bundle: str, names: tuple[str, ...], spec_dirs: tuple[str, ...], *, write: bool) -> None:
    """Print as a diff what the devices NAME... change in BUNDLE's config.json.

    Nothing is written without --write. What is there already is not added again. Exit status:
    0, also when nothing changes; 1 when a device cannot be resolved or applied.
    """
    opened = Bundle(bundle)
    found = load(spec_dirs).resolve(list(names))
    for finding in stale.findings(found):
        printer.line(f"warning: {finding.message}", err=True, fg="yellow")
    spec = jsonio.copy(opened.spec)
    try:
        kernel = userns.Kernel(Cache(settings.cache_dir()))
        planned = edits.plan(spec, edits.merge(found), hostdev.stat, kernel)
    except UnresolvedDeviceError as err:
        raise UnresolvedDeviceError(err.message, hint=_MISSING_HINT) from None
    changes = oci_spec.apply(spec, planned, once=True)
    if not write:
        _print_diff(opened, spec)
    elif opened.replace(spec):
        printer.line(f"{opened.config_path} is rewritten with {len(changes)} edits")
    if not changes:
        printer.line("every edit is already in config.json", err=True)


def load(spec_dirs: tuple[str, ...]) -> Registry:
    """The registry of the given spec dirs, else of the configured ones through the cache."""
    if spec_dirs:
        return registry.load(list(spec_dirs), None)
    config = settings.load()
    return registry.load(config.spec_dirs, config.cache)


def edits_in_short(found: Found) -> str:
    """`5 nodes, 26 mounts, 6 hooks`: what a container gets that asks for this device alone."""
    merged = edits.merge([found])
    words = []
    for field in sorted(fields.FIELDS, key=lambda field: field.single):
        count = len(merged.get(field.name, ()))
        if field.single and field.name in merged:
            words.append(field.word)
        elif count:
            plural = "s" if count > 1 and field.word != "env" else ""
            words.append(f"{count} {field.word}{plural}")
    return ", ".join(words)


def _summary(found: Found) -> dict[str, Any]:
    return {
        "name": found.name,
        "path": found.path,
        "cdiVersion": found.cdi_version,
        "edits": edits_in_short(found),
    }


def _faults(known: Registry, found: list[Found]) -> list[dict[str, str]]:
    faults = []
    for path, errors in known.load_errors.items():
        for error in errors:
            if error.kind != "conflict":
                reason = unresolved.rejection(path, error.record())
                faults.append({"path": path, "field": error.field, "reason": reason})
    for path, reason in unusable.faults(known, found):
        faults.append({"path": path, "field": "", "reason": reason})
    return faults


def _print_diff(opened: Bundle, spec: dict[str, Any]) -> None:
    old, new = (
        json.dumps(json.loads(jsonio.dumps(value)), indent=2, ensure_ascii=False).split("\n")
        for value in (opened.spec, spec)
    )
    path = opened.config_path
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(old, new, path, f"{path} (injected)", lineterm=""):
        printer.line(line, fg=colours.get(line[0]))
