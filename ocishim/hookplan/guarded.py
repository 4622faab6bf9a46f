"""Hooks of other programs, run by the runtime: `pyshim-hook guard` holds their timeout.

runc waits for whoever holds a hook's output open, whatever the timeout; runsc comes back never once
the timeout is over. crun and youki (its hooks.rs) wait for the program alone, and crun names it in
its error, where it would be ours; but a state that does not fit into a pipe they write without a
timeout, and crun 1.8 fails with EPIPE where the hook does not read it (seen, 3 creates of 15).
Loaded where such a runtime runs such hooks only; hooks.native = false guards none.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.hookplan import knownhooks, runnable
from ocishim.oci import hookchanges
from ocishim.oci import spec as oci_spec
from ocishim.oci.hooktable import GUARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.oci.types import Hook
    from ocishim.settings.config import Config

_LATER = 2  # seconds after ours, when the runtime's timeout comes, whose SIGKILL leaves no message


def changes(
    spec: dict[str, Any], foreign: list[tuple[str, int, Hook]], program: str, config: Config
) -> list[hookchanges.GuardHook]:
    """Return what has `program` guard those of `foreign` that need it: list, index in it and hook.

    None where `program` cannot be run: what a hook of somebody else's needs is not its business.
    """
    mapped = oci_spec.has_user_namespace(spec)
    return [
        hookchanges.GuardHook(name, index, hook.get("path"), _members(name, hook, program, config))
        for name, index, hook in foreign
        if knownhooks.timeout_of(hook, 0)
        and _can_run(program, inside=mapped and name == "createContainer")
    ]


def _members(name: str, hook: Hook, program: str, config: Config) -> Hook:
    seconds = knownhooks.timeout_of(hook, 0)
    args = ["pyshim-hook", GUARD, "--stage", name, "--timeout", str(seconds), *config.log_flags()]
    return {
        "path": program,
        "args": [*args, "--", hook["path"], *(hook.get("args") or [])],
        "timeout": seconds + _LATER,
    }


def _can_run(program: str, *, inside: bool) -> bool:
    try:
        program.encode()
    except UnicodeEncodeError:
        return False
    return posixos.access(program, posixos.X_OK) and not (
        inside and runnable.closed(posixos.path.dirname(program))
    )
