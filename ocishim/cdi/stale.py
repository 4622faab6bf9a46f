"""Specs that no longer fit their host: found before the low-level runtime trips over them.

A driver that was upgraded leaves mounts of files that are gone; a module that was reloaded may
get another major number, and then the container's device node is some other device, or none.
Judging changes nothing: the setting `cdi.stale` says what create makes of it. What is `certain`
no low-level runtime survives. Missing device nodes are not stale: the reference itself refuses
them or, where the spec says all there is to know, does without the host's, which nobody can in a
user namespace.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import StaleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Any

    from ocishim.cdi import shapes
    from ocishim.cdi.registry.entries import Found

    Stat = Callable[[str], posixos.stat_result]

# What stat(2) says of a path that leads nowhere; EACCES and the like prove nothing.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
# The letters of a device's type and what the kernel calls them; "p" has no numbers.
_LETTERS = {"": "", "b": "b", "c": "c", "u": "c"}
_BINDS = {"bind", "rbind"}
_HOSTS = ("", "bind", "none")
"""Types of mounts that do not ask for another file system than the host's."""


class Sort:
    """A sort of finding. certain: create fails for sure; unbound: with runc and crun."""

    __slots__ = ("cause", "certain", "unbound")

    def __init__(self, cause: str, *, certain: bool, unbound: bool = False) -> None:
        self.cause = cause
        self.certain = certain
        self.unbound = unbound


_RELOADED = Sort("likely its kernel module was loaded again", certain=False)
_MISSING = Sort("in a user namespace no other can be made", certain=True)
_UPGRADED = Sort("likely the driver was upgraded or removed", certain=True)
_UNBOUND = Sort("runc and crun cannot mount it", certain=True, unbound=True)


class Finding:
    """One thing about one spec file: `what` says which, what else of that sort, and why.

    step: what the operator can do. device: the first one of the request that needs it.
    """

    __slots__ = ("device", "path", "sort", "step", "what")

    def __init__(self, path: str, sort: Sort, device: str, facts: list[str]) -> None:
        from ocishim.cdi import writers  # noqa: PLC0415 - only where something is wrong

        self.path = path
        self.sort = sort
        self.device = device
        more = f" and {len(facts) - 1} more of this sort" if len(facts) > 1 else ""
        verdict = "" if sort.unbound else " is stale"
        self.what = f"{path}{verdict}: {facts[0]}{more}; {sort.cause}"
        again = writers.again(path, device.partition("=")[0])
        self.step = "add 'bind' to its options" if sort.unbound else again

    @property
    def certain(self) -> bool:
        """Whether create fails for sure."""
        return self.sort.certain

    @property
    def message(self) -> str:
        """The whole sentence, with the next step."""
        return f"{self.what}: {self.step}"

    def __repr__(self) -> str:
        return f"Finding({self.message!r})"


def findings(
    found: Iterable[Found], lstat: Stat = posixos.lstat, stat: Stat = posixos.stat, *,
    no_nodes: Callable[[], bool] = lambda: False,
    mounted: Collection[tuple[object, object]] | None = None,
) -> list[Finding]:  # fmt: skip
    """What no longer fits, one finding for each sort and spec file, in order of the request.

    `lstat` looks at device nodes, as the reference does, `stat` at the sources of mounts.
    no_nodes(): the container gets the host's device nodes and no others. mounted: sources and
    destinations of the mounts that the container will have; None: those of `found`.
    """
    facts: dict[tuple[str, Sort], dict[str, str]] = {}
    devices: dict[tuple[str, Sort], str] = {}
    for device, part, edits in _edits(found):
        for sort, field, fact in _facts(edits, lstat, stat, no_nodes=no_nodes, mounted=mounted):
            key = (device.path, sort)
            facts.setdefault(key, {}).setdefault(fact, f"{fact} ('{part}{field}')")
            devices.setdefault(key, device.name)
    paths = list(dict.fromkeys(path for path, _ in facts))
    sorts = (_RELOADED, _MISSING, _UPGRADED, _UNBOUND)
    keys = [(path, sort) for path in paths for sort in sorts if (path, sort) in facts]
    return [Finding(*key, devices[key], [*facts[key].values()]) for key in keys]


def error(found: list[Finding]) -> StaleError:
    """The error of a create that is refused for these findings."""
    message = "; ".join(f"{finding.what}, needed by {finding.device}" for finding in found)
    certain = all(finding.certain for finding in found)
    hint = found[0].step + ("" if certain else ', or set cdi.stale = "auto"')
    return StaleError(message, hint=hint)


def _edits(found: Iterable[Found]) -> Iterator[tuple[Found, str, dict[str, Any]]]:
    """Every spec's own edits once, every device's edits once, with where they stand."""
    seen = set()
    for device in found:
        if device.path not in seen:
            yield device, "containerEdits.", device.common
        if device.name not in seen:
            name = device.name.partition("=")[2]
            yield device, f"devices[name={name}].containerEdits.", device.edits
        seen |= {device.path, device.name}


def _facts(
    edits: dict[str, Any], lstat: Stat, stat: Stat, *,
    no_nodes: Callable[[], bool], mounted: Collection[tuple[object, object]] | None,
) -> Iterator[tuple[Sort, str, str]]:  # fmt: skip
    """Yield a sort, the field it is about and the fact."""
    for index, node in enumerate(edits.get("deviceNodes", ())):
        field = f"deviceNodes[{index}]"
        sort, fact = _node_fact(node, lstat, no_nodes=no_nodes)
        if fact:
            yield sort, f"{field}.{'hostPath' if node.get('hostPath') else 'path'}", fact
    for index, mount in enumerate(edits.get("mounts", ())):
        field = f"mounts[{index}]"
        if mounted is not None and (mount["hostPath"], mount["containerPath"]) not in mounted:
            continue  # a later device has another one there
        if fact := _mount_fact(mount, stat):
            yield _UPGRADED, f"{field}.hostPath", fact
        if is_unbound(mount):
            fact = f"the mount at {mount['containerPath']} says neither 'bind' nor 'rbind'"
            yield _UNBOUND, f"{field}.options", fact


def is_unbound(mount: shapes.Mount) -> bool:
    """Whether a mount of the host's files does not say so in its options.

    runc and crun go by the options alone and ask the kernel for a file system of no type, or of
    one called "bind".
    """
    return mount.get("type", "") in _HOSTS and _BINDS.isdisjoint(mount.get("options", ()))


def _node_fact(
    node: shapes.DeviceNode, lstat: Stat, *, no_nodes: Callable[[], bool]
) -> tuple[Sort, str]:
    """How the host's device differs from the spec's; "" if it does not, or nobody can say."""
    path = node.get("hostPath") or node["path"]
    letter = _LETTERS.get(node.get("type", ""))
    major = node.get("major", 0)
    if letter is None or not major:
        return _RELOADED, ""
    try:
        st = lstat(path)
    except ValueError:  # a NUL: the reference's to judge, or the runtime's
        return _RELOADED, ""
    except OSError as e:
        gone = e.errno in _GONE and no_nodes()
        return _MISSING, f"device node {path} is gone" if gone else ""
    host_letter = {stat.S_IFBLK: "b", stat.S_IFCHR: "c"}.get(stat.S_IFMT(st.st_mode), "")
    given = f"{letter or host_letter} {major}:{node.get('minor', 0)}"
    there = f"{host_letter} {posixos.major(st.st_rdev)}:{posixos.minor(st.st_rdev)}"
    if not host_letter or given == there:  # what is no device is the reference's to judge
        return _RELOADED, ""
    return _RELOADED, f"{path} is {given} in the spec, {there} on this host"


def _mount_fact(mount: shapes.Mount, stat: Stat) -> str:
    """The source of a bind mount that is gone; "" if it is there, or nobody can say."""
    path = mount["hostPath"]
    options = mount.get("options", ())
    is_bind = mount.get("type", "") in _HOSTS or not _BINDS.isdisjoint(options)
    if not path.startswith("/") or not is_bind:
        return ""
    try:
        stat(path)
    except ValueError:
        return ""
    except OSError as e:
        return f"mount source {path} is gone" if e.errno in _GONE else ""
    return ""
