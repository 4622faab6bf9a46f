"""Refuse a container whose hooks are known to fail: the programs are looked for at create."""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import HookError
from ocishim.hookplan import knownhooks
from ocishim.oci import spec as oci_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.lowlevel.quirks import Runtime
    from ocishim.oci.types import Hook

_LONG = 1 << 15
RUN_AT_CREATE = ("prestart", "createRuntime", "createContainer")


def check(
    spec: dict[str, Any],
    lists: dict[str, list[Hook]],
    injected: dict[str, str],
    own: str,
) -> None:
    """HookError for a program of the hooks in `lists` that is not there or cannot be reached.

    injected: programs that must exist, and the CDI spec each comes from; own: pyshim's.
    """
    for name in RUN_AT_CREATE:
        for hook in lists.get(name, ()):
            path = hook.get("path")
            if isinstance(path, str) and (path == own or path in injected):
                _check_program(name, hook, injected.get(path, ""))
                if path == own:
                    knownhooks.must_be_utf8(path, *hook["args"])
                    if oci_spec.has_user_namespace(spec):
                        _check_reachable(path)


def needs_guards(runtime: Runtime, spec: dict[str, Any]) -> bool:
    """Whether `runtime` holds no timeout of a hook: not of its output, or not of its state.

    The state is long by the annotations, and may not fit into a pipe, 64 KiB (pipe(7)); as JSON
    they may be longer than they are.
    """
    if runtime.waits_for_output or not runtime.waits_for_reader:
        return runtime.waits_for_output
    annotations = spec.get("annotations")
    entries = annotations.items() if isinstance(annotations, dict) else ()
    return sum(len(name) + len(str(value)) for name, value in entries) > _LONG


def is_foreign(hook: Hook, own: str) -> bool:
    """Whether its program is not `own`, pyshim's, and can be named to that.

    What it is called with says nothing here: what is known to pyshim in a list that it does not
    take over runs the vendor's program.
    """
    path, args = hook.get("path"), hook.get("args") or []
    words = [path, *args] if isinstance(args, list) else [None]
    return path != own and all(isinstance(word, str) and "\0" not in word for word in words)


def _check_program(stage: str, hook: Hook, cdi_spec: str) -> None:
    path = hook["path"]
    subject = f"{cdi_spec}: {stage} hook {path}" if cdi_spec else f"{stage} hook {path}"
    if not posixos.path.isabs(path) or "\0" in path:
        raise HookError(f"{subject}: the path is not absolute", hint="correct the CDI spec")
    if not posixos.access(path, posixos.X_OK) or posixos.path.isdir(path):
        there = "is not an executable file" if posixos.path.exists(path) else "does not exist"
        unread = knownhooks.unread(hook)
        why = f", and pyshim itself cannot do {unread}" if unread else ""
        hint = "install it, or generate the CDI spec again" if cdi_spec else "install pyshim again"
        raise HookError(f"{subject}: the program {there}{why}", hint=hint)


def _check_reachable(path: str) -> None:
    if folder := closed(posixos.path.dirname(path)):
        raise HookError(
            f"the container has a user namespace, and {folder} keeps others out, so its root "
            f"cannot run {path}",
            hint="install pyshim in a folder everybody can enter",
        )


def closed(path: str) -> str:
    """Return the folder at or above `path` that lets no other user in, or "".

    The root of a container with a user namespace is such a user.
    """
    folder = posixos.path.realpath(path)
    while folder != "/":
        if not posixos.stat(folder).st_mode & 0o001:
            return folder
        folder = posixos.path.dirname(folder)
    return ""
