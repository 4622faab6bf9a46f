"""pyshim's own files: whether an installation is what was put there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.install import ownfiles, selfcheck
from ocishim.admin.install.installation import PREFIX, Installation
from ocishim.errors import ConfigError, some


def check(node: Node) -> Iterator[Finding]:
    """Yield one finding for each damaged installation on `node`."""
    for installation in _installations(node):
        wrong = [f"{one.path} {one.what}" for one in selfcheck.faults(installation)]
        if wrong:
            yield Finding(
                "installation",
                "error",
                f"pyshim's installation in {installation.home} is damaged",
                evidence=some(wrong, 3),
                why="containers may fail to start, or start without what their devices need",
                next_step=selfcheck.next_step(installation),
            )
        yield from _replaceable(node, installation)


def _replaceable(node: Node, installation: Installation) -> Iterator[Finding]:
    """Yield the folders above an installation in which others than root may replace it."""
    above = (installation.prefix, installation.bin, os.path.dirname(installation.home))
    for folder in above:
        if found := node.writer(folder):
            yield Finding(
                "installation",
                "error",
                f"{found.who} may write to {folder}",
                evidence=found.evidence,
                why="whoever replaces pyshim there has engines run another program as root",
                next_step=found.step,
            )


def hook_program(node: Node) -> Iterator[Finding]:
    """Yield whether the hook program is missing beside a pyshim that was not installed."""
    try:
        pyshim, hook = ownfiles.programs() if not node.host.elsewhere else ("", "")
    except ConfigError:
        return
    installed = any(hook.startswith(f"{one.home}/") for one in _installations(node))
    if pyshim and not installed and not os.access(hook, os.X_OK):
        yield Finding(
            "hook-program",
            "error",
            f"{hook} is not there, or cannot be executed",
            evidence=f"hooks are run by the program beside {os.path.realpath(pyshim)}",
            why="containers get their devices but no links and no library cache, or fail to start",
            next_step="make venv in the clone, or pyshimctl install",
        )


def _installations(node: Node) -> list[Installation]:
    """Return the usual installation and the one this is a part of, as far as they are there."""
    own = "" if node.host.elsewhere else ownfiles.program()
    prefixes = dict.fromkeys([PREFIX, own.removesuffix("/bin/pyshim")])
    found = [Installation(node.host, prefix) for prefix in prefixes if prefix]
    return [one for one in found if _is_there(one)]


def _is_there(installation: Installation) -> bool:
    """Whether its folder is there, or something that stands in its place."""
    try:
        return installation.host.has(installation.home)
    except ConfigError:
        return True  # a link above it leads in a circle
