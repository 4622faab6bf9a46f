"""The CDI spec dirs and every file in them; stale specs; links under /dev/char."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ocishim.admin import unusable
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.editing import files
from ocishim.admin.host import or_loop
from ocishim.cdi import hostdev, stale, writers
from ocishim.cdi.document.document import CDISpecError
from ocishim.cdi.registry import scan, unresolved
from ocishim.cdi.registry.entries import Found
from ocishim.errors import quoted, some

_NEAR = (".yml", ".json5", ".jsonc")
"""What people call such files, too. Who appends .bak or .disabled wants it not to be read."""


def rejected(node: Node) -> Iterator[Finding]:
    """Yield the spec files that cannot be used."""
    for path, errors in sorted(node.registry.load_errors.items()):
        for error in errors:
            if error.kind != "conflict":
                yield Finding(
                    "spec-rejected",
                    "error",
                    f"{node.host.inside(path)} cannot be used as it is",
                    evidence=_rejection(node, path, error),
                    why="its devices do not resolve, and a request for one fails create",
                    next_step=_correct(node, path, error),
                )


def _rejection(node: Node, path: str, error: CDISpecError) -> str:
    return f"{node.host.inside(path)}: {unresolved.rejection(path, error.record())}"


def _correct(node: Node, path: str, error: CDISpecError) -> str:
    name = node.host.inside(path)
    field = "cdiVersion" if error.kind == "version-too-old" else error.field
    where = f"correct '{field}' in {name}" if field else f"correct {name}"
    command = f"pyshimctl cdi validate {quoted(name)}"
    told = command if "'" in command else f"'{command}'"
    return f"{where} and run {told}, or remove it"


def conflicts(node: Node) -> Iterator[Finding]:
    """Yield the files that define the same devices, once for all of them."""
    for one in unusable.conflicts(node.registry):
        paths = [node.host.inside(path) for path in one.paths]
        yield Finding(
            "spec-conflict",
            "error",
            f"{' and '.join(paths)} define the same devices",
            evidence=f"conflicting devices: {some(one.names)}",
            why="nobody can tell which is meant, so a request for one fails create",
            next_step=f"remove one of the files: rm {quoted(paths[-1])}",
        )


def ignored(node: Node) -> Iterator[Finding]:
    """Yield the files that look like specs and that nobody reads for their names."""
    for folder in node.config.spec_dirs:
        for name in node.listdir(folder):
            stem, suffix = os.path.splitext(name)
            if suffix not in scan.SUFFIXES and suffix.lower() in (*scan.SUFFIXES, *_NEAR):
                right = stem + (".json" if suffix.lower().startswith(".json") else ".yaml")
                yield Finding(
                    "spec-ignored",
                    "warning",
                    f"{folder}/{name} is not read",
                    evidence="CDI reads files named *.json and *.yaml, and no others",
                    why="its devices do not exist for any container",
                    next_step=f"mv {quoted(f'{folder}/{name}')} {quoted(f'{folder}/{right}')}",
                )


def none(node: Node) -> Iterator[Finding]:
    """Yield whether there is no device at all."""
    if not node.registry.devices():
        yield Finding(
            "spec-none",
            "warning",
            "no CDI device is defined on this node",
            evidence=f"looked in {_places(node)}",
            why="no container can be given a device",
            next_step="pyshimctl cdi generate --output /etc/cdi/nvidia.yaml, or start the "
            "device plugin",
        )


def devices(node: Node) -> Iterator[Finding]:
    """Yield the specs whose device nodes this host has not got."""
    for lack in unusable.missing_nodes(node.found, node.host.entry):
        name = node.host.inside(lack.path)
        yield Finding(
            "spec-device-gone",
            "error",
            f"{name} names device nodes that are not on this host",
            evidence=lack.describe(),
            why="create fails for every container that asks for such a device",
            next_step=f"load the devices' driver, or {_again(name)}",
        )


def programs(node: Node) -> Iterator[Finding]:
    """Yield the specs whose hooks' programs are gone."""
    for lack in unusable.missing_programs(node.found, node.host.real):
        name = node.host.inside(lack.path)
        yield Finding(
            "spec-hook-gone",
            "error",
            f"{name} names hook programs that are not on this host",
            evidence=lack.describe(),
            why="pyshim does not know the hook, and the low-level runtime cannot start it",
            next_step=f"install the program, or {_again(name)}",
        )


def _again(name: str) -> str:
    """How the spec file `name` is made anew."""
    return writers.of_component(name, "") or (
        f"generate the spec again (pyshimctl cdi generate --output {quoted(name)}, or restart the "
        "device plugin)"
    )


def _places(node: Node) -> str:
    return ", ".join(
        path if node.exists(path) else f"{path} (missing)" for path in node.config.spec_dirs
    )


def writable(node: Node) -> Iterator[Finding]:
    """Yield the spec files that others than root may write to."""
    for _priority, path, _identity in node.registry.found.files():
        if found := node.writer(node.host.inside(path)):
            yield Finding(
                "spec-writable",
                "error",
                f"{found.who} may write to {node.host.inside(path)}",
                evidence=found.evidence,
                why="whoever changes a spec decides which hooks run as root",
                next_step=found.step,
            )


def directories(node: Node) -> Iterator[Finding]:
    """Yield what is wrong with the spec dirs themselves."""
    for path in node.config.spec_dirs:
        yield from _directory(node, node.host.real(path))


def _directory(node: Node, path: str) -> Iterator[Finding]:
    name = node.host.inside(path)
    if os.path.exists(path) and not os.path.isdir(path):
        yield Finding(
            "spec-dir",
            "error",
            f"{name} is not a directory",
            evidence=f"cdi.spec_dirs names it, and it is a file of {os.stat(path).st_size} bytes",
            why="the scan ends there: directories after it are not read",
            next_step=f"rm {quoted(name)} && mkdir {quoted(name)}",
        )
    elif found := node.writer(name):
        yield Finding(
            "spec-dir-writable",
            "error",
            f"{found.who} may write to {name}",
            evidence=found.evidence,
            why="whoever writes a spec there decides which hooks run as root",
            next_step=found.step,
        )


def stale_specs(node: Node) -> Iterator[Finding]:
    """Yield the specs that were right once."""
    for one in stale.findings(node.found, node.host.lstat, node.host.stat):
        yield Finding(
            "spec-mount-type"
            if one.sort.unbound
            else "spec-mount-source"
            if one.sort.wrong
            else "spec-stale",
            "error" if one.certain else "warning",
            f"{node.host.inside(one.path)} {_UNUSABLE[one.sort.unbound, one.sort.wrong]}",
            evidence=one.what,
            why="create fails for every container that asks for such a device"
            if one.certain
            else "the container gets a wrong device",
            next_step=_next(one, node.host.inside(one.path)),
        )


_UNUSABLE = {
    (False, False): "no longer fits this host",
    (False, True): "has mounts whose hostPath is no path of a host",
    (True, True): "has mounts that do not say 'bind'",
}


def _next(one: stale.Finding, name: str) -> str:
    """The step for a finding, on the node that is looked at."""
    kind = one.device.partition("=")[0]
    if one.sort.wrong:
        return f"{one.step} in {name}, or have whatever wrote it mended"
    if one.sort.step:
        return one.step
    return writers.of_component(name, kind) or _again(name)


def refused(node: Node) -> Iterator[Finding]:
    """Yield the specs whose devices create refuses for another reason than those above."""
    told = {lack.path for lack in unusable.missing_nodes(node.found, node.host.entry)}
    told |= {lack.path for lack in unusable.missing_programs(node.found, node.host.real)}
    told |= {one.path for one in stale.findings(node.found)}
    for path, one in node.refused.items():
        if path not in told:
            more = f" and {one.devices - 1} more devices" if one.devices > 1 else ""
            yield Finding(
                "spec-refused",
                "error",
                f"create refuses {one.name}{more} of {path}",
                evidence=one.error.message,
                why="every container that asks for such a device fails to start",
                next_step=one.error.hint
                or f"correct {path} and ask 'pyshimctl what-if {one.name}'",
            )


def char_links(node: Node, found: list[Found]) -> list[tuple[str, str]]:
    """Return (link, target) for each character device of the specs whose link is not right."""
    wrong: dict[str, str] = {}
    for one in found:
        for edits in (one.common, one.edits):
            for device in edits.get("deviceNodes", ()):
                path = device.get("hostPath") or device["path"]
                try:
                    host = hostdev.stat(or_loop(node.host.entry, path))
                except OSError:
                    continue
                link = f"/dev/char/{host.major}:{host.minor}"
                if host.type == "c" and not _leads_to(node, link, path):
                    wrong.setdefault(link, path)
    return sorted(wrong.items())


def _leads_to(node: Node, link: str, path: str) -> bool:
    there, wanted = node.host.status(link), node.host.status(path)
    return there is not None and wanted is not None and there.st_rdev == wanted.st_rdev


def uses_systemd_cgroups(node: Node) -> bool:
    """Whether systemd manages the containers' cgroups: it reads /dev/char for device rules."""
    return node.exists("/run/systemd/system")


def links(node: Node) -> Iterator[Finding]:
    """Yield whether links under /dev/char are missing that systemd looks for."""
    wrong = char_links(node, node.found) if uses_systemd_cgroups(node) else []
    if wrong:
        link, path = wrong[0]
        yield Finding(
            "char-links",
            "warning",
            f"{len(wrong)} device nodes have no link under /dev/char",
            evidence=f"{link} should lead to {path}",
            why="after 'systemctl daemon-reload' systemd forgets rules for devices it cannot "
            "find there, and running containers lose their GPU",
            next_step="pyshimctl doctor --fix",
        )


def fix_char_links(node: Node, *, dry_run: bool = False) -> list[str]:
    """Make the missing links under /dev/char and mend wrong ones; one sentence for each."""
    if not uses_systemd_cgroups(node):
        return []
    done = []
    for link, path in char_links(node, node.found):
        if not dry_run:
            _make_link(node.host.entry(link), path)
        done.append(f"{link} leads to {path}")
    return done


def _make_link(real: str, path: str) -> None:
    files.make_folders(os.path.dirname(real))
    scratch = f"{real}.pyshim"
    if os.path.lexists(scratch):
        os.unlink(scratch)
    os.symlink(os.path.relpath(path, "/dev/char"), scratch)
    os.rename(scratch, real)
