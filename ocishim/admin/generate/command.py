"""`pyshimctl cdi generate`: write the CDI spec of this host's devices."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.editing import files
from ocishim.admin.generate import edits, nvidia, wanted
from ocishim.admin.generate.report import Report
from ocishim.errors import UsageError, some

_ENVIRONMENT = "PYSHIM_CDI"
_SHOWN = 16  # names of devices in the last line
INCOMPLETE = 3
"""Exit status under --strict when something expected is missing."""


@click.command()
@click.option(
    "--mode", type=click.Choice(["auto", *wanted.KINDS, "devices"]), default="auto",
    help="What to look for; auto takes the first vendor found.",
)  # fmt: skip
@click.option("--vendor", help="Vendor of the kind; default: the mode's.")
@click.option("--class", "class_", help="Class of the kind; default: the mode's.")
@click.option(
    "--device", "devices", multiple=True, metavar="[NAME=]PATH",
    help="A device and a node of it, for anything else; a pattern names several.",
)  # fmt: skip
@click.option("--kind", metavar="VENDOR/CLASS", help="Instead of --vendor and --class.")
@click.option("--from", "file", metavar="FILE", help="Devices as a TOML file describes them.")
@click.option(
    "--name-by", "namings", multiple=True, type=click.Choice(nvidia.NAMINGS),
    help="How devices are named; default: index and uuid, for AMD's index.",
)  # fmt: skip
@click.option("--driver-root", default="/", metavar="DIR", help="Where the driver's files are.")
@click.option("--dev-root", default="", metavar="DIR", help="Where /dev is; default: driver root.")
@click.option("--library-folder", multiple=True, metavar="DIR", help="Look for libraries here too.")
@click.option("--hook-path", metavar="PATH", help="The hook program; default: pyshim-hook.")
@click.option("--disable-hook", multiple=True, metavar="NAME", help="Leave a hook out, or all.")
@click.option("--enable-hook", multiple=True, metavar="NAME", help="Keep it all the same.")
@click.option(
    "--device-id", "device_ids", multiple=True, metavar="ID",
    help="Only this device, by one of its names; repeat for more. Default: all.",
)  # fmt: skip
@click.option("--ldconfig-path", default="", metavar="PATH", help="The host's, for update-ldcache.")
@click.option("--no-gids", is_flag=True, help="No additionalGids: for engines of CDI 0.6.")
@click.option(
    "--spec-version", metavar="VERSION", help="cdiVersion; default: the lowest that fits."
)
@click.option("--no-sockets", is_flag=True, help="No sockets of the driver's services.")
@click.option("--no-all", is_flag=True, help="Make no device 'all'.")
@click.option("--strict", is_flag=True, help="Write nothing when something expected is missing.")
@click.option("--verbose", is_flag=True, help="List everything that was found.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--output", metavar="FILE", help="Write there (by rename); default: print it.")
@click.option("--format", "form", type=click.Choice(edits.FORMATS), help="Default: by FILE's name.")
def generate(
    *, output: str | None, form: str | None, verbose: bool, as_json: bool, **chosen: Any
) -> None:
    """Write a CDI spec for this host's devices, for --device PATH, or as --from FILE says.

    Options can be given as environment variables, too: PYSHIM_CDI_DRIVER_ROOT=DIR.

    Exit status: 0 written, 1 no device found, no driver that serves, or a file cannot be written, 2
    wrong command line, 3 something expected is missing and --strict given: nothing is written.
    """
    report = Report()
    if output and not output.endswith((".json", ".yaml")):
        raise UsageError(f"{output}: spec dirs are read for .json and .yaml only")
    try:
        found = wanted.document(report=report, **chosen)
    except wanted.IncompleteError as err:
        if as_json:
            printer.report("cdi-generate", report.as_dict())
        else:
            tell(report, verbose=verbose)
        printer.line(f"pyshimctl: {err.message}", err=True, fg="red")
        sys.exit(INCOMPLETE)
    form = form or ("json" if (output or "").endswith(".json") else "yaml")
    text = edits.text(found, form)
    if output:
        files.replace(os.path.abspath(output), text.encode(), 0o644)
    if as_json:
        told = {"output": output} if output else {"spec": found}
        printer.report("cdi-generate", report.as_dict() | told)
        return
    if not output:
        printer.text(text)
    tell(report, verbose=verbose)
    if output:
        names = [device["name"] for device in found["devices"]]
        printer.line(f"{output}: {found['kind']} with {some(names, _SHOWN)}", err=True)


def read_environment(command: click.Command) -> None:
    """Let each option be given as a variable, for units: PYSHIM_CDI_DRIVER_ROOT=DIR."""
    for option in command.params:
        option.envvar = _ENVIRONMENT + option.opts[-1][1:].replace("-", "_").upper()


read_environment(generate)


def tell(report: Report, *, verbose: bool) -> None:
    """Print the report for people, on stderr: stdout may be the spec."""
    for line in report.listing() if verbose else ():
        printer.line(line, err=True)
    for lack in report.missing:
        printer.line(f"warning: {lack.what}; {lack.remedy}", err=True, fg="yellow")
    for fact in report.told:
        printer.line(fact, err=True)
    if report.source:  # with --device nothing was looked for
        printer.line(report.summary(), err=True)
