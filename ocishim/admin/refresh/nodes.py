"""NVIDIA's device nodes, as nvidia-modprobe makes them: from what the loaded modules say.

Majors are /proc/devices', minors and modes /proc/driver/nvidia's (README.txt of the driver, chapter
"How and why are the necessary device files created"). ModifyDeviceFiles 0 there means: hands off.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.errors import ConfigError, quoted, reason

MODULES = ("nvidia", "nvidia-uvm", "nvidia-modeset")
_PROC = "/proc/driver/nvidia"
_CONTROL, _MODESET = 255, 254  # minors, the driver's nv.h and nvidia-modeset-os-interface.h
_MODPROBE = ("/sbin/modprobe", "/usr/sbin/modprobe")


class Node(NamedTuple):
    """A character device: its path on the host, numbers, permissions and owner."""

    path: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


def wanted(host: Host) -> list[Node]:
    """Return the nodes that the modules loaded on `host` serve, by its /proc; none without them."""
    if is_forbidden(host):
        return []
    majors = _majors(files.text(host, "/proc/devices"))
    params = _params(host)
    rights = (
        params.get("DeviceFileMode", 0o666), params.get("DeviceFileUID", 0),
        params.get("DeviceFileGID", 0),
    )  # fmt: skip
    found = [Node(f"/dev/{name}", *numbers, *rights) for name, numbers in _plain(host, majors)]
    if caps := majors.get("nvidia-caps"):
        found += _capabilities(host, caps)
    return found


def is_forbidden(host: Host) -> bool:
    """Whether the module was told that nobody but the operator makes nodes."""
    return _params(host).get("ModifyDeviceFiles", 1) == 0


def make(root: Host, nodes: list[Node]) -> list[str]:
    """Make those of `nodes` that are not right in the tree `root`; return what was done.

    A node with other numbers belongs to a module that was loaded again: it is replaced. One with
    another mode or owner is given those of the parameters where it is, as nvidia-modprobe does
    (mknod_helper of its nvidia-modprobe-utils.c), so that containers that have it see it.
    Raises ConfigError naming the node.
    """
    done = []
    for node in nodes:
        place = root.entry(node.path)
        before = numbers(place)
        try:
            if before == (node.major, node.minor):
                done += _rights(place, node)
                continue
            _mknod(place, node)
        except OverflowError:
            why = f"no device has {node.major}:{node.minor}"
            raise ConfigError(f"{node.path}: cannot be made: {why}") from None
        except OSError as err:
            hint = "run it as root on the host itself, where mknod is allowed"
            if err.errno == errno.EISDIR:  # Docker makes one for -v PATH where nothing is
                hint = f"rmdir {quoted(node.path)}, when no container has it"
            raise ConfigError(f"{node.path}: cannot be made: {reason(err)}", hint=hint) from None
        old = f", was {before[0]}:{before[1]}" if before else ""
        done.append(f"{node.path}: made, {node.major}:{node.minor}{old}")
    return done


def load(host: Host) -> list[str]:
    """Load NVIDIA's modules that are not; return what was done. Raises ConfigError: modprobe's."""
    loaded = {line.split(" ", 1)[0] for line in files.text(Host(), "/proc/modules").splitlines()}
    missing = [name for name in MODULES if name.replace("-", "_") not in loaded]
    # A driver's container brings its modules and the program that loads them.
    runner = host if any(host.is_program(path) for path in _MODPROBE) else Host()
    done = []
    for name in missing:
        run = runner.run("modprobe", name)
        if not run.returncode:
            done.append(f"{name}: loaded")
        elif name != "nvidia-modeset":  # which headless drivers leave out
            words = " ".join(run.stderr.split()) or f"exit status {run.returncode}"
            raise ConfigError(
                f"modprobe {name}: {words}", hint="install the driver's modules for this kernel"
            )
    return done


def _params(host: Host) -> dict[str, int]:
    return _facts(files.text(host, f"{_PROC}/params"))


def _plain(host: Host, majors: dict[str, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name and numbers of the nodes that have no file of their own in /proc."""
    # Before 550 its name was nvidia-frontend.
    if major := majors.get("nvidia") or majors.get("nvidia-frontend"):
        yield "nvidiactl", (major, _CONTROL)
        for minor in _gpus(host):
            yield f"nvidia{minor}", (major, minor)
        if host.is_folder("/sys/module/nvidia_modeset"):
            yield "nvidia-modeset", (major, _MODESET)
    if major := majors.get("nvidia-uvm"):
        yield "nvidia-uvm", (major, 0)
        yield "nvidia-uvm-tools", (major, 1)


def _gpus(host: Host) -> list[int]:
    folder = f"{_PROC}/gpus"
    texts = [files.text(host, f"{folder}/{bus}/information") for bus in host.listdir(folder)]
    return sorted(
        int(found[1]) for text in texts if (found := re.search(r"Device Minor:\s*(\d+)", text))
    )


def _capabilities(host: Host, major: int) -> Iterator[Node]:
    """Yield the nodes of /dev/nvidia-caps; each file below capabilities describes one."""
    top = host.real(f"{_PROC}/capabilities")
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            facts = _facts(files.text(host, host.inside(f"{folder}/{name}")))
            minor = facts.get("DeviceFileMinor", 0)
            if minor and facts.get("DeviceFileModify", 1):
                path = f"/dev/nvidia-caps/nvidia-cap{minor}"
                yield Node(path, major, minor, facts.get("DeviceFileMode", 0o400))


def _mknod(place: str, node: Node) -> None:
    """Make the node beside its place and move it there: nobody sees it half made."""
    files.make_folders(os.path.dirname(place))
    scratch = f"{place}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(scratch)  # of one that was killed: in a container all have the same number
    os.mknod(scratch, stat.S_IFCHR | 0o600, os.makedev(node.major, node.minor))
    try:
        os.chown(scratch, node.uid, node.gid)
        os.chmod(scratch, node.mode)
        os.rename(scratch, place)
    except OSError:
        os.unlink(scratch)
        raise


def _rights(place: str, node: Node) -> list[str]:
    """Give the node at `place` the mode and owner of `node`; return what was done."""
    found = os.lstat(place)
    before = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    after = (node.mode, node.uid, node.gid)
    if before == after:
        return []
    os.chown(place, node.uid, node.gid, follow_symlinks=False)
    os.chmod(place, node.mode)
    was, now = (f"{mode:04o} of {uid}:{gid}" for mode, uid, gid in (before, after))
    return [f"{node.path}: {now}, was {was}"]


def numbers(place: str) -> tuple[int, int] | None:
    """Return the numbers of the character device at `place`, None where there is none."""
    try:
        found = os.lstat(place)
    except OSError:
        return None
    if not stat.S_ISCHR(found.st_mode):
        return None
    return os.major(found.st_rdev), os.minor(found.st_rdev)


def _majors(text: str) -> dict[str, int]:
    """Return the majors of the character devices in /proc/devices, by name."""
    lines = text.partition("Block devices:")[0].splitlines()
    rows = [line.split() for line in lines]
    return {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}


def _facts(text: str) -> dict[str, int]:
    """Return the `Name: number` lines."""
    return {
        name: int(value) for name, value in re.findall(r"^(\w+):\s*(\d+)\s*$", text, re.MULTILINE)
    }
