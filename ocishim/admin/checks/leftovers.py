"""What a killed create or a crashed engine may have left behind: layers, a cache nobody can use.

Only one kind of layer can stay: those that lie on the engine's own mount for gVisor's further
containers of a pod (ocishim/rootfs/layer.py, `stack`). One is abandoned when its bundle is gone, or
when no process of its container or pod is left to use it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ocishim import jsonio
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.editing import files
from ocishim.errors import ConfigError, PyshimError, quoted, some
from ocishim.linux import mountinfo
from ocishim.oci.members import find_dict
from ocishim.rootfs import layer
from ocishim.settings import config as settings

_SANDBOX_IDS = ("io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID")


def layers(node: Node) -> Iterator[Finding]:
    """Yield the layers that lie around on `node`."""
    left = abandoned(node)
    if left:
        yield Finding(
            "layers",
            "warning",
            "layers of containers that are gone are still mounted",
            evidence=some(left, 3),
            why="each holds memory, and keeps the engine's mount below it busy",
            next_step="pyshimctl doctor --fix"
            if not node.host.elsewhere
            else f"on the node itself: umount {quoted(left[0])}, twice",
        )


def cache(node: Node) -> Iterator[Finding]:
    """Yield why the compiled cache is of no use."""
    try:
        folder = node.host.real(settings.cache_dir())
        found = os.lstat(folder)
    except FileNotFoundError:
        yield from _room(node, os.path.dirname(folder))
        return
    except (NotADirectoryError, ConfigError):  # a file, or a loop of links, on the way there
        yield _cache_finding(
            f"{settings.cache_dir()} leads to no folder",
            f"ls -ld {quoted(settings.cache_dir())} and what is above it: one is no folder",
        )
        return
    ours = found.st_uid in (0, os.geteuid())  # an ordinary user may ask about root's, too
    if not stat.S_ISDIR(found.st_mode) or not ours or found.st_mode & 0o077:
        yield _cache_finding(
            f"{settings.cache_dir()}: owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}",
            f"rm -r {quoted(settings.cache_dir())}; the next create makes it anew",
        )
    else:
        yield from _room(node, folder)


def _room(node: Node, folder: str) -> Iterator[Finding]:
    """Yield whether nothing can be written to `folder`, or to what it will be made in."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    room, name = os.statvfs(folder), node.host.inside(folder)
    if room.f_flag & os.ST_RDONLY:
        yield _cache_finding(
            f"{name} is on a file system that is mounted read-only",
            "remount it, or give engines PYSHIM_CACHE_DIR=DIR in their environment",
        )
    elif not room.f_bavail or (room.f_files and not room.f_favail):
        what = "files" if room.f_bavail else "space"
        yield _cache_finding(
            f"{name} is on a file system with no {what} left", f"make room there: df {quoted(name)}"
        )


def _cache_finding(evidence: str, next_step: str) -> Finding:
    return Finding(
        "cache",
        "warning",
        "the compiled cache is not used",
        evidence=evidence,
        why="every create parses the CDI specs again, and leaves no record for explain",
        next_step=next_step,
    )


def abandoned(node: Node) -> list[str]:
    """Return the mount points of layers that no container uses, sorted."""
    found = sorted(set(_layers(node)))
    if not found:
        return []
    commands = _commands(node)
    return [point for point in found if not _is_used(node, os.path.dirname(point), commands)]


def fix_layers(node: Node, *, dry_run: bool = False) -> list[str]:
    """Unmount them, on this machine alone; return a sentence for each."""
    done = []
    for point in [] if node.host.elsewhere else abandoned(node):
        try:
            if not dry_run:
                layer.unstack(point)
        except OSError as err:
            done.append(f"no: {point} stays mounted: {err.strerror or err}")
        else:
            done.append(f"the layer over {point} is unmounted")
    return done


def _layers(node: Node) -> Iterator[str]:
    # The mounts of this machine are those this process sees; of another, its first process's.
    path = "/proc/1/mountinfo" if node.host.elsewhere else "/proc/self/mountinfo"
    try:
        lines = files.content(node.host.real(path)).split(b"\n")  # "\r" may be in a name
    except OSError:
        return
    for line in lines:
        try:
            mount = mountinfo.parse(line)
        except (ValueError, IndexError):
            continue  # not what proc(5) says: another machine's file may be anything
        if layer.is_layer(mount):
            yield mount.point


def _is_used(node: Node, bundle: str, commands: list[str]) -> bool:
    """Whether a process names the bundle's container, or the pod it belongs to."""
    text = node.read(f"{bundle}/config.json")
    if not text:
        return False
    try:
        spec = jsonio.loads(text.encode(), "config.json")
        annotations = find_dict(spec, "annotations") if isinstance(spec, dict) else {}
    except PyshimError:
        annotations = {}
    names = {os.path.basename(bundle), *(str(annotations.get(key)) for key in _SANDBOX_IDS)}
    return any(
        bundle in command or not names.isdisjoint(command.split("\0")) for command in commands
    )


def _commands(node: Node) -> list[str]:
    """The command lines of all processes: sandboxes, gofers and engines' shims have ids there."""
    return [
        node.read(f"/proc/{name}/cmdline") for name in node.listdir("/proc") if name.isdecimal()
    ]
