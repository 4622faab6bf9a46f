"""Low-level runtimes' states: where the bundle of a container that is there lies."""

from __future__ import annotations

import glob
import json
import os
import subprocess

from ocishim.errors import UsageError

STATE_ROOTS = (
    "/run/containerd/runc/*",
    "/run/containerd/runsc/*",
    "/run/docker/runtime-*/*",
    "/run/runc",
    "/run/crun",
)
"""Where engines keep their runtimes' states, for --container."""


def bundle_of(container: str, program: str, root: str | None) -> str:
    """Ask the low-level runtime for the container's bundle, under each root engines use.

    The beginning of an id will do, as engines print it; "" when there is none. Raises UsageError
    when there are several.
    """
    roots = [root] if root else ["", *(p for pattern in STATE_ROOTS for p in glob.glob(pattern))]
    for state_root in roots:
        for name in dict.fromkeys((container, *_beginning_with(container, state_root))):
            bundle = _asked(program, state_root, name)
            if bundle:
                return bundle
    return ""


def not_found(container: str, root: str | None) -> UsageError:
    """Return the error that there is no container of that name, and where it was looked for."""
    looked = root or "the engines' files and states, and the records of the last creates"
    return UsageError(
        f"no container {container!r} found (looked in {looked})",
        hint=or_as_root("name the engine's runtime root with --root, or the bundle"),
    )


def or_as_root(hint: str) -> str:
    """Return the next step, after that of whoever cannot read root's records and states."""
    return f"run it as root, or {hint}" if os.geteuid() else hint


def _beginning_with(container: str, state_root: str) -> list[str]:
    try:
        names = os.listdir(state_root) if state_root else []
    except OSError:
        return []
    found = [name for name in names if name.startswith(container)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} containers below {state_root} begin with {container!r}")
    return found


def _asked(program: str, state_root: str, container: str) -> str:
    words = [program, *(["--root", state_root] if state_root else []), "state", container]
    asked = subprocess.run(words, capture_output=True, check=False)
    try:
        return str(json.loads(asked.stdout)["bundle"]) if asked.returncode == 0 else ""
    except (ValueError, KeyError, TypeError):
        return ""
