"""`pyshimctl doctor`: what is wrong on this node, how we know, why it matters, what to do next."""

from __future__ import annotations

import os
import sys

import click

from ocishim.admin import printer
from ocishim.admin.checks import base, engines, leftovers, nvidia, specs
from ocishim.admin.finding import EXIT_STATUS, SEVERITIES, Finding, gravest
from ocishim.admin.host import Host
from ocishim.admin.node import Node

CHECKS = {
    "pyshim": base.check,
    "specs": specs.check,
    "engines": engines.check,
    "nvidia": nvidia.check,
    "leftovers": leftovers.check,
}
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command()
@click.option(
    "--fix", is_flag=True,
    help="Mend what can be mended: links under /dev/char, layers of containers that are gone.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--host-root", default="/", metavar="DIR", help="Look at a node mounted there.")
def command(*, fix: bool, as_json: bool, host_root: str) -> None:
    """Check this node: kernel, runtimes, CDI specs, engines, driver, leftovers.

    Exit status: 0 nothing to do (or only remarks), 3 warnings, 4 errors; 2 for a wrong command
    line.
    """
    node = Node(Host(host_root))
    if os.geteuid():
        printer.line("pyshimctl doctor: some checks need root, and --fix does", err=True)
    mended = repair(node) if fix else []
    findings = examine(node)
    if as_json:
        told = {"fixed": mended, "findings": [finding.as_dict() for finding in findings]}
        printer.report(told)
    else:
        report(findings, mended)
    sys.exit(EXIT_STATUS[gravest(findings)])


def examine(node: Node) -> list[Finding]:
    """Return all findings, the gravest first."""
    findings = [finding for check in CHECKS.values() for finding in check(node)]
    return sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))


def repair(node: Node) -> list[str]:
    """Mend what can be mended without asking; return a sentence for each thing done."""
    links = specs.fix_char_links(node) if specs.uses_systemd_cgroups(node) else []
    return links + leftovers.fix_layers(node)


def report(findings: list[Finding], mended: list[str]) -> None:
    """Print the findings for people; colours only on a terminal (click takes care)."""
    for sentence in mended:
        printer.line(f"fixed: {sentence}")
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
    printer.line(told or "nothing to complain about")
