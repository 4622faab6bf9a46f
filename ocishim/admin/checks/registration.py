"""What is found of any engine: it does not know pyshim, or names what is not there."""

from __future__ import annotations

import os

from ocishim.admin.checks.finding import Finding
from ocishim.errors import ConfigError


def is_pyshim(path: object) -> bool:
    """Whether the engine's setting names our program."""
    return isinstance(path, str) and os.path.basename(path) == "pyshim"


def unreadable(engine: str, err: ConfigError) -> Finding:
    """Return the finding for files that the engine, or we, cannot read."""
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


def missing_program(engine: str, name: str, program: str) -> Finding:
    """Return the finding for a runtime whose program is gone."""
    return Finding(
        "engine-program",
        "error",
        f"the runtime '{name}' of {engine} is not there",
        evidence=f"{program} does not exist or cannot be executed",
        why="every container of that runtime fails to start",
        next_step="pyshimctl install",
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
