"""What is found of any engine: it does not know pyshim, or names what is not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ocishim.admin.checks.finding import Finding, is_denied
from ocishim.admin.checks.node import Node
from ocishim.admin.install.installation import PREFIX
from ocishim.errors import ConfigError, quoted

_TICK = 1  # second: the boot time is told in whole ones


def is_pyshim(path: object) -> bool:
    """Whether the engine's setting names our program."""
    return isinstance(path, str) and os.path.basename(path) == "pyshim"


def unreadable(engine: str, err: ConfigError) -> Finding:
    """Return the finding for files that the engine, or we, cannot read."""
    if is_denied(err):
        return Finding(
            "engine-configuration",
            "info",
            f"the configuration of {engine} cannot be read as this user",
            evidence=err.message,
            why=f"whether {engine} knows pyshim is not told",
            next_step="run doctor as root",
        )
    return Finding(
        "engine-configuration",
        "error",
        f"the configuration of {engine} cannot be read",
        evidence=err.message,
        why=f"{engine} does not start with it, or starts with something else",
        next_step=err.hint or "correct the file",
    )


def unregistered(engine: str, evidence: str, command: str = "") -> Finding:
    """Return the finding for an engine whose files do not name pyshim."""
    return Finding(
        "engine-unregistered",
        "warning",
        f"{engine} does not know pyshim",
        evidence=evidence,
        why="its containers are started past pyshim",
        next_step=command or f"pyshimctl configure {engine}",
    )


def missing_program(node: Node, engine: str, name: str, program: str, command: str = "") -> Finding:
    """Return the finding for a runtime whose program is gone.

    command: what registers pyshim with the engine. It mends what names another place than the one
    where pyshim is, and `install` what names a place where pyshim has been.
    """
    prefix = program.removesuffix("/bin/pyshim")
    if node.host.is_program(f"{PREFIX}/bin/pyshim"):
        step = command or f"pyshimctl configure {engine}"
        step += "" if name == "pyshim" else f" --runtime-name {quoted(name)}"
    else:
        elsewhere = prefix not in (PREFIX, program) and program.startswith("/")
        step = "pyshimctl install" + (f" --prefix {quoted(prefix)}" if elsewhere else "")
    return Finding(
        "engine-program",
        "error",
        f"the runtime '{name}' of {engine} is not there",
        evidence=f"{program} does not exist or cannot be executed",
        why="every container of that runtime fails to start",
        next_step=step,
    )


def not_restarted(node: Node, engine: str, paths: Iterable[str], step: str) -> Iterator[Finding]:
    """Yield whether `engine`, which reads its files when it starts, runs with older ones."""
    started = node.started(engine)
    later = [path for path in paths if started and node.changed(path) > started + _TICK]
    if later:
        yield not_read(engine, f"{later[0]} is younger than the process", step)


def not_read(engine: str, evidence: str, step: str) -> Finding:
    """Return the finding for an engine that runs with what its files said before."""
    return Finding(
        "engine-restart",
        "warning",
        f"{engine} has not read its configuration since it was changed",
        evidence=evidence,
        why=f"what it says holds from the next start of {engine} on",
        next_step=step,
    )


def no_such_default(engine: str, evidence: str, next_step: str) -> Finding:
    """Return the finding for a default runtime that no table of the engine's defines."""
    starts = (
        "its CRI does not load: no pod can start" if engine == "containerd" else "it does not start"
    )
    return Finding(
        "engine-default",
        "error",
        f"the default runtime of {engine} is none of its runtimes",
        evidence=evidence,
        why=starts,
        next_step=next_step,
    )


def lost_import(path: str, pattern: str, restart: str) -> Finding:
    """Return the finding for an import that 1.x looks for elsewhere than 2.x and people do."""
    whole = f"{os.path.dirname(path)}/{pattern}"
    return Finding(
        "containerd-imports",
        "warning",
        f"containerd 1.x does not read {whole}",
        evidence=f"{path}: 'imports' has {pattern!r}, a relative pattern",
        why="of such a one 1.x looks in its working directory, which is / under systemd",
        next_step=f"write {whole!r} in {path}, and {restart}",
    )
