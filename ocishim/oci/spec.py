"""The only editor of an OCI spec (config.json as a dict): applies a list of changes.

Members that are absent or null are made when needed. A member of another type than the
runtime-spec demands is a DocumentError that names it. Everything else travels unchanged.
It knows nothing of CDI. The classes of changes are in changes.py and hookchanges.py.
tests/test_layers.py finds whoever else edits a spec or a hook. Pure.
"""

from __future__ import annotations

from ocishim.oci.changes import AddMount, SetEnv
from ocishim.oci.members import find_dict, find_list, make_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocishim.oci.changes import Change


def apply(spec: dict[str, Any], changes: Sequence[Change], once: bool = True) -> list[Change]:  # noqa: FBT001, FBT002 - the callers' contract
    """Apply `changes` to `spec` in place and return those that changed something.

    once=False is the reference's algorithm to the letter: every change is made, hooks and
    cgroup rules double when repeated. once=True leaves what is there in its final form where
    it is, so that a second application, or one on a spec an engine has edited, changes nothing.
    Raises DocumentError when a member has the wrong type; `spec` may be half edited then.
    """
    done = []
    for change in _survivors(changes) if once else changes:
        if not (once and change.present(spec)):
            change.apply(spec)
            done.append(change)
    if any(isinstance(change, AddMount) for change in done):
        make_list(spec, "mounts").sort(key=_depth)
    return done


def process_ids(spec: dict[str, Any]) -> tuple[int, int]:
    """The container's uid and gid; 0 for one that is not set."""
    user = find_dict(spec, "process", "user")
    uid, gid = user.get("uid"), user.get("gid")
    return uid if isinstance(uid, int) else 0, gid if isinstance(gid, int) else 0


def has_user_namespace(spec: dict[str, Any]) -> bool:
    """Whether linux.namespaces lists a user namespace, new or joined by path."""
    namespaces = find_list(spec, "linux", "namespaces")
    return any(isinstance(ns, dict) and ns.get("type") == "user" for ns in namespaces)


def mounted(spec: dict[str, Any]) -> set[tuple[object, object]]:
    """Source and destination of every mount of `spec`."""
    mounts = find_list(spec, "mounts")
    return {(m.get("source"), m.get("destination")) for m in mounts if isinstance(m, dict)}


def _survivors(changes: Sequence[Change]) -> list[Change]:
    """`changes` without those that a later one for the same target undoes.

    The survivor stands where the reference would leave it: a variable where it was set first,
    anything else where it was put last.
    """
    by_target: dict[object, Change] = {}
    for index, change in enumerate(changes):
        target = change.target() or index
        if not isinstance(change, SetEnv):
            by_target.pop(target, None)
        by_target[target] = change
    return list(by_target.values())


def _depth(mount: object) -> int:
    """How deep a mount's destination lies: "/" and "/a" 1, "/a/b" 2, relative ones from 0.

    The number of "/" in Go's filepath.Clean(), which unlike Python's keeps no double slash.
    """
    destination = mount.get("destination") if isinstance(mount, dict) else None
    if not isinstance(destination, str):
        return 0
    rooted = destination.startswith("/")
    parts: list[str] = []
    for part in destination.split("/"):
        if part == "..":
            if parts and parts[-1] != "..":
                parts.pop()
            elif not rooted:
                parts.append(part)
        elif part not in ("", "."):
            parts.append(part)
    return max(len(parts), 1) if rooted else max(len(parts) - 1, 0)
