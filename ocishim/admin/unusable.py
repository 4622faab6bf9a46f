"""Devices that specs define and no container can get: lost to a conflict, or not on this host.

A spec can be valid, and its devices of no use here: doctor, `cdi list` and `cdi validate` say so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ocishim.admin.host import is_program, or_loop
from ocishim.cdi import edits, hostdev, stale
from ocishim.cdi.registry import index
from ocishim.errors import ConfigError, UnresolvedDeviceError, some
from ocishim.hookplan import knownhooks

if TYPE_CHECKING:
    from ocishim.cdi.registry.entries import Found
    from ocishim.cdi.registry.registry import Registry


class Conflict(NamedTuple):
    """Devices that several files of one spec dir define, so that nobody gets them."""

    paths: tuple[str, ...]
    names: list[str]

    def describe(self) -> str:
        """Return which devices, in a few words."""
        return f"{some(self.names)} in {' and in '.join(self.paths)}"


class Lack(NamedTuple):
    """What the spec file `path` names and the host has not got."""

    path: str
    facts: list[str]

    def describe(self) -> str:
        """Return the first fact and how many more there are."""
        return some(self.facts, sort=" of this sort")


def conflicts(known: Registry) -> list[Conflict]:
    """Return the conflicts, those between the same files as one, in the order of reading."""
    files: dict[str, list[str]] = {}
    for name, later, earlier in index.resolve(known.known)[1]:
        paths = files.setdefault(name, [])
        paths += [path for path in (earlier, later) if path not in paths]
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, paths in files.items():
        groups.setdefault(tuple(paths), []).append(name)
    return [Conflict(paths, names) for paths, names in groups.items()]


def faults(known: Registry, found: Iterable[Found]) -> list[tuple[str, str]]:
    """Return (spec file, why devices of it are of no use on this host)."""
    found = list(found)
    told = [(one.paths[-1], f"conflicting devices: {one.describe()}") for one in conflicts(known)]
    told += [(lack.path, f"create fails: {lack.describe()}") for lack in missing_nodes(found)]
    for one in stale.findings(found):
        if one.certain:
            told.append((one.path, f"create fails: {one.what}: {one.step}"))
    return told


def missing_nodes(found: Iterable[Found], entry: Callable[[str], str] = str) -> list[Lack]:
    """Return the device nodes for want of which a create fails. entry: where a path lies for us."""

    def stat(path: str) -> hostdev.HostDevice:
        return hostdev.stat(or_loop(entry, path) if path.startswith("/") else path)

    def fact(part: dict[str, object]) -> list[str]:
        told = []
        for node in part.get("deviceNodes") or ():  # type: ignore[attr-defined]
            try:
                edits.plan({}, {"deviceNodes": [node]}, stat)
            except UnresolvedDeviceError as err:
                told.append(err.message)
        return told

    return _lacks(found, fact)


def missing_programs(found: Iterable[Found], entry: Callable[[str], str] = str) -> list[Lack]:
    """Return the hooks' programs that are gone, and that pyshim does not do without."""

    def fact(part: dict[str, object]) -> list[str]:
        hooks = part.get("hooks") or ()
        return [
            f"{hook['hookName']} hook {hook['path']} {fault}"
            for hook in hooks  # type: ignore[attr-defined]
            if not (hook["hookName"] == "createContainer" and knownhooks.parse(hook))
            and (fault := _program_fault(hook["path"], entry))
        ]

    return _lacks(found, fact)


def _program_fault(path: str, entry: Callable[[str], str]) -> str:
    """Return why `path` cannot be run as a hook, "" when it can."""
    if not path.startswith("/"):
        return "is no absolute path"
    try:
        real = entry(path)
    except ConfigError:
        return "is a loop of links"
    if not os.path.exists(real):
        return "is gone"
    return "" if is_program(real) else "is not an executable file"


def _lacks(found: Iterable[Found], fact: Callable[[dict[str, object]], list[str]]) -> list[Lack]:
    facts: dict[str, dict[str, None]] = {}
    seen = set()
    for one in found:
        parts = [one.edits] if one.path in seen else [one.common, one.edits]
        seen.add(one.path)
        for part in parts:
            facts.setdefault(one.path, {}).update(dict.fromkeys(fact(part)))
    return [Lack(path, [*told]) for path, told in facts.items() if told]
