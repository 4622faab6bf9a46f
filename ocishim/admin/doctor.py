"""`pyshimctl doctor`: what is wrong on this node, how we know, why it matters, what to do next."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable

import click

from ocishim.admin import printer
from ocishim.admin.checks.finding import EXIT_STATUS, SEVERITIES, Finding, gravest
from ocishim.admin.checks.node import Node
from ocishim.admin.cli import AGAIN, INTERNAL_HINT
from ocishim.admin.host import Host
from ocishim.errors import PyshimError, reason

CHECKS = (
    "installation:check", "installation:hook_program",
    "base:kernel", "base:configuration", "base:writable_configuration", "base:runtime",
    "base:ldconfig", "base:log", "base:metrics",
    "specs:directories", "specs:ignored", "specs:rejected", "specs:conflicts", "specs:writable",
    "specs:none", "specs:devices", "specs:programs", "specs:stale_specs", "specs:refused",
    "specs:links", "engines:check", "nvidia:check", "gpuspecs:check", "leftovers:cache",
    "leftovers:layers",
)  # fmt: skip
"""Module of checks/ and function of each check: imported one by one, since one may be broken."""
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command()
@click.option(
    "--fix", is_flag=True,
    help="Mend what can be mended: links under /dev/char, layers of containers that are gone.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="With --fix: say what would be mended, mend nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Warnings and errors alone.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--host-root", default="/", metavar="DIR", help="Look at a node mounted there.")
def command(*, fix: bool, dry_run: bool, quiet: bool, as_json: bool, host_root: str) -> None:
    """Check this node: kernel, runtimes, CDI specs, engines, driver, leftovers.

    Exit status: 0 nothing to do (or only remarks), 3 warnings, 4 errors; 2 for a wrong command
    line.
    """
    node = Node(Host(host_root))
    if os.geteuid():
        printer.line("pyshimctl doctor: some checks need root, and --fix does", err=True)
    if dry_run and not fix:
        raise click.UsageError("--dry-run belongs to --fix")
    mended = repair(node, dry_run=dry_run) if fix else []
    findings = [one for one in examine(node) if not quiet or one.severity != "info"]
    if as_json:
        told = {"fixed": mended, "findings": [finding.as_dict() for finding in findings]}
        printer.report("doctor", told)
    else:
        report(findings, mended, fixed="would fix" if dry_run else "fixed", quiet=quiet)
    sys.exit(EXIT_STATUS[gravest(findings)])


def examine(node: Node) -> list[Finding]:
    """Return all findings, the gravest first; a check that fails is one of them."""
    findings: list[Finding] = []
    failed: dict[tuple[str, str], list[str]] = {}
    for check in CHECKS:
        try:
            for finding in _function(check)(node):
                findings.append(finding)  # noqa: PERF402 - what came before a failure stays
        except Exception as err:  # noqa: BLE001 - the others are needed just then
            failed.setdefault(_cause(err), []).append(check)
    findings += [_failed(checks, *cause) for cause, checks in failed.items()]
    return sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))


def _function(check: str) -> Callable[[Node], Iterable[Finding]]:
    module, _, function = check.partition(":")
    found: Callable[[Node], Iterable[Finding]] = getattr(
        importlib.import_module(f"ocishim.admin.checks.{module}"), function
    )
    return found


def _cause(err: Exception) -> tuple[str, str]:
    """Return why a check failed, and what helps."""
    if isinstance(err, PyshimError):
        return err.message, err.hint or "mend that, and run doctor again"
    if isinstance(err, ImportError):
        return f"a part of pyshim is missing or damaged: {err}", AGAIN
    if isinstance(err, OSError):
        where = f"{err.filename}: " if err.filename else ""
        again = "run doctor as root" if os.geteuid() else "mend that, and run doctor again"
        return where + reason(err), again
    return f"internal error: {type(err).__name__}: {err}", INTERNAL_HINT


def _failed(checks: list[str], evidence: str, next_step: str) -> Finding:
    """Return the finding that checks could not be made, for one and the same reason."""
    names = ", ".join(f"'{name}'" for name in checks)
    return Finding(
        "check-failed",
        "error",
        f"the check{'s' if len(checks) > 1 else ''} {names} could not be made",
        evidence=evidence,
        why="whatever they look for may be wrong as well",
        next_step=next_step,
    )


def repair(node: Node, *, dry_run: bool = False) -> list[str]:
    """Mend what can be mended without asking; return a sentence for each thing done.

    dry_run: nothing is mended, and the sentences are of what would be.
    """
    done: list[str] = []
    for check in ("specs:fix_char_links", "leftovers:fix_layers"):
        try:
            module, _, function = check.partition(":")
            imported = importlib.import_module(f"ocishim.admin.checks.{module}")
            done += getattr(imported, function)(node, dry_run=dry_run)
        except (OSError, PyshimError, ImportError) as err:
            done.append(f"no: {check}: {err}")
    return done


def report(findings: list[Finding], mended: list[str], *, fixed: str, quiet: bool) -> None:
    """Print the findings for people; colours only on a terminal (click takes care)."""
    for sentence in mended:
        printer.line(f"{fixed}: {sentence}")
    for finding in findings:
        printer.line(f"{finding.severity}: {finding.what}", fg=_COLOURS[finding.severity])
        printer.line(f"  found: {finding.evidence}")
        printer.line(f"  why:   {finding.why}")
        printer.line(f"  next:  {finding.next_step}")
    counts = {s: sum(f.severity == s for f in findings) for s in reversed(SEVERITIES)}
    told = ", ".join(
        f"{count} {name}{'s' if count > 1 and name != 'info' else ''}"
        for name, count in counts.items()
        if count
    )
    if told or not quiet:
        printer.line(told or "nothing to complain about")
