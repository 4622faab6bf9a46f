"""Specs that no longer fit their host: found before the low-level runtime trips over them.

A driver that was upgraded leaves mounts of files that are gone; a module that was reloaded may
get another major number, and then the container's device node is some other device, or none.
Judging changes nothing: the reference applies such a spec as it is, and so do we unless the
setting `cdi.stale` is "error". Missing device nodes are not stale: the reference itself refuses
them or, where the spec says all there is to know, does without the host's.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos as os
from ocishim.errors import UnresolvedDeviceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ocishim.cdi.registry.entries import Found

    Stat = Callable[[str], os.stat_result]

HINT = "generate the spec again"
# What stat(2) says of a path that leads nowhere; EACCES and the like prove nothing.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
# The letters of a device's type and what the kernel calls them; "p" has no numbers.
_LETTERS = {"": "", "b": "b", "c": "c", "u": "c"}


class Finding:
    """One thing about one spec file: `message` says which, what else of that sort, and why."""

    __slots__ = ("message", "path")

    def __init__(self, path: str, facts: list[str], cause: str) -> None:
        self.path = path
        more = f" and {len(facts) - 1} more of this sort" if len(facts) > 1 else ""
        self.message = f"{path} is stale: {facts[0]}{more}; likely {cause}: {HINT}"

    def __repr__(self) -> str:
        return f"Finding({self.message!r})"


def findings(found: Iterable[Found], lstat: Stat = os.lstat, stat: Stat = os.stat) -> list[Finding]:
    """What no longer fits, at most two findings for each spec file, in order of the request.

    `lstat` looks at device nodes, as the reference does, `stat` at the sources of mounts.
    """
    nodes: dict[str, list[str]] = {}
    mounts: dict[str, list[str]] = {}
    for path, edits in _edits(found):
        for node in edits.get("deviceNodes", ()):
            _add(nodes, path, _node_fact(node, lstat))
        for mount in edits.get("mounts", ()):
            _add(mounts, path, _mount_fact(mount, stat))
    result = []
    for path in dict.fromkeys([*nodes, *mounts]):
        if path in nodes:
            result.append(Finding(path, nodes[path], "its kernel module was loaded again"))
        if path in mounts:
            result.append(Finding(path, mounts[path], "the driver was upgraded or removed"))
    return result


def error(found: list[Finding]) -> UnresolvedDeviceError:
    """The error that `cdi.stale = "error"` makes of findings."""
    message = "; ".join(finding.message for finding in found)
    return UnresolvedDeviceError(message, hint='or set cdi.stale = "warn"')


def _edits(found: Iterable[Found]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Every spec's own edits once, every device's edits once."""
    seen = set()
    for device in found:
        if device.path not in seen:
            yield device.path, device.common
        if device.name not in seen:
            yield device.path, device.edits
        seen |= {device.path, device.name}


def _add(facts: dict[str, list[str]], path: str, fact: str) -> None:
    if fact and fact not in facts.get(path, ()):
        facts.setdefault(path, []).append(fact)


def _node_fact(node: dict[str, Any], lstat: Stat) -> str:
    """How the host's device differs from the spec's; "" if it does not, or nobody can say."""
    path = node.get("hostPath") or node["path"]
    letter = _LETTERS.get(node.get("type", ""))
    major = node.get("major", 0)
    if letter is None or not major:
        return ""
    try:
        st = lstat(path)
    except (OSError, ValueError):  # a NUL: the reference's to judge, or the runtime's
        return ""
    number = f"{major}:{node.get('minor', 0)}"
    there = _describe(st)
    if not there or (there[1:] == number and letter in {"", there[0]}):
        return ""
    given = f"{letter or there[0]} {number}"
    return f"{path} is {given} in the spec, {there[0]} {there[1:]} on this host"


def _describe(st: os.stat_result) -> str:
    """`c195:0`; "" for what is no device, which is the reference's to judge."""
    letter = {stat.S_IFBLK: "b", stat.S_IFCHR: "c"}.get(stat.S_IFMT(st.st_mode), "")
    return letter and f"{letter}{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}"


def _mount_fact(mount: dict[str, Any], stat: Stat) -> str:
    """The source of a bind mount that is gone; "" if it is there, or nobody can say."""
    path = mount["hostPath"]
    options = mount.get("options", ())
    is_bind = mount.get("type", "") in {"", "bind", "none"} or "bind" in options
    if not path.startswith("/") or not (is_bind or "rbind" in options):
        return ""
    try:
        stat(path)
    except ValueError:
        return ""
    except OSError as e:
        return f"mount source {path} is gone" if e.errno in _GONE else ""
    return ""
