"""The CDI spec dirs and every file in them; stale specs; links under /dev/char."""

from __future__ import annotations

import os
import stat as stats
from collections.abc import Iterator

from ocishim.admin.finding import Finding
from ocishim.admin.node import Node
from ocishim.cdi import hostdev, registry, scan, stale
from ocishim.cdi.registry import Found


def check(node: Node) -> Iterator[Finding]:
    """Yield what is wrong with the CDI specs of `node`."""
    dirs = [node.host.real(path) for path in node.config.spec_dirs]
    there = [path for path in dirs if os.path.isdir(path)]
    for path in dirs:
        yield from _directory(node, path)
    known = registry.load(there, None)
    for path, errors in sorted(known.load_errors.items()):
        for error in errors:
            yield Finding(
                "spec-conflict" if error.kind == "conflict" else "spec-rejected",
                "error",
                f"{node.host.inside(path)} cannot be used as it is",
                evidence=error.message,
                why="its devices do not resolve, and a request for one fails create",
                next_step="remove one of the two files, or generate the spec again"
                if error.kind == "conflict"
                else f"pyshimctl cdi validate {node.host.inside(path)}",
            )
    yield from _writable_files(node, there)
    if not known.devices():
        yield Finding(
            "spec-none",
            "warning",
            "no CDI device is defined on this node",
            evidence=f"looked in {_places(node)}",
            why="no container can be given a device",
            next_step="pyshimctl cdi generate --output /etc/cdi/nvidia.yaml, or start the "
            "device plugin",
        )
    found = known.resolve(known.devices())
    yield from _stale(node, found)
    yield from _char_links(node, found)


def _places(node: Node) -> str:
    return ", ".join(
        path if node.exists(path) else f"{path} (missing)" for path in node.config.spec_dirs
    )


def _writable_files(node: Node, dirs: list[str]) -> Iterator[Finding]:
    for _priority, path, _identity in scan.scan(dirs).files():
        name = node.host.inside(path)
        mode = node.mode(name)
        if mode & stats.S_IWOTH:
            yield Finding(
                "spec-writable",
                "error",
                f"everybody may write to {name}",
                evidence=f"mode {mode:04o}",
                why="whoever changes a spec decides which hooks run as root",
                next_step=f"chmod o-w {name}",
            )


def _directory(node: Node, path: str) -> Iterator[Finding]:
    name = node.host.inside(path)
    if os.path.exists(path) and not os.path.isdir(path):
        yield Finding(
            "spec-dir",
            "error",
            f"{name} is not a directory",
            evidence="it is a file",
            why="the scan ends there: directories after it are not read",
            next_step=f"rm {name} && mkdir {name}",
        )
    elif os.path.isdir(path) and os.stat(path).st_mode & stats.S_IWOTH:
        yield Finding(
            "spec-dir-writable",
            "error",
            f"everybody may write to {name}",
            evidence=f"mode {stats.S_IMODE(os.stat(path).st_mode):04o}",
            why="whoever writes a spec there decides which hooks run as root",
            next_step=f"chmod o-w {name}",
        )


def _stale(node: Node, found: list[Found]) -> Iterator[Finding]:
    def at(call: object) -> object:
        return lambda path: call(node.host.entry(path))  # type: ignore[operator]

    for one in stale.findings(found, at(os.lstat), at(os.stat)):  # type: ignore[arg-type]
        yield Finding(
            "spec-stale",
            "warning",
            f"{node.host.inside(one.path)} no longer fits this host",
            evidence=one.message,
            why="the container gets a wrong device, or its create fails on a missing file",
            next_step="generate the spec again: pyshimctl cdi generate, or restart the device "
            "plugin",
        )


def char_links(node: Node, found: list[Found]) -> list[tuple[str, str]]:
    """Return (link, target) for each character device of the specs whose link is not right."""
    wrong: dict[str, str] = {}
    for one in found:
        for edits in (one.common, one.edits):
            for device in edits.get("deviceNodes", ()):
                path = device.get("hostPath") or device["path"]
                try:
                    host = hostdev.stat(node.host.entry(path))
                except OSError:
                    continue
                link = f"/dev/char/{host.major}:{host.minor}"
                if host.type == "c" and not _leads_to(node, link, path):
                    wrong.setdefault(link, path)
    return sorted(wrong.items())


def _leads_to(node: Node, link: str, path: str) -> bool:
    try:
        there = os.stat(node.host.real(link))
        return there.st_rdev == os.stat(node.host.real(path)).st_rdev
    except OSError:
        return False


def uses_systemd_cgroups(node: Node) -> bool:
    """Whether systemd manages the containers' cgroups: it reads /dev/char for device rules."""
    return node.exists("/run/systemd/system")


def _char_links(node: Node, found: list[Found]) -> Iterator[Finding]:
    wrong = char_links(node, found) if uses_systemd_cgroups(node) else []
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


def fix_char_links(node: Node) -> list[str]:
    """Make the missing links under /dev/char and mend wrong ones; one sentence for each."""
    dirs = [node.host.real(path) for path in node.config.spec_dirs]
    known = registry.load([path for path in dirs if os.path.isdir(path)], None)
    done = []
    for link, path in char_links(node, known.resolve(known.devices())):
        real = node.host.entry(link)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        scratch = f"{real}.pyshim"
        if os.path.lexists(scratch):
            os.unlink(scratch)
        os.symlink(os.path.relpath(path, "/dev/char"), scratch)
        os.rename(scratch, real)
        done.append(f"{link} leads to {path}")
    return done
