"""What a test may leave behind on a node: mounts, processes, cgroups, loop devices, files.

Each probe returns a set of names, so that the difference of two snapshots is the report.
Leaves privacy to namespace.py: mounts and /run are this process's own, processes are those it
adopted, cgroups are told by the lab's token and loop devices by their image's folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

_SYSTEM_FOLDERS = ("/etc", "/etc/cdi", "/var", "/var/lib", "/var/cache", "/var/log")
_RUN_DEPTH = 3
# libmount's table, which mount(8) makes wherever it runs; the shields' layers (namespace.py); the
# seccomp profiles that crun has compiled; the lock of Podman 5's networks.
_NOT_OURS = {"/run/mount", "/run/.shields", "/run/crun/.cache", "/run/lock"}


def mounts() -> set[str]:
    """Mount points with their file system, in this mount namespace."""
    lines = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    return {f"mount {line.split()[4]} ({line.partition(' - ')[2].split()[0]})" for line in lines}


def processes() -> set[str]:
    """Descendants of this process that still run; finished orphans are reaped here."""
    found: set[str] = set()
    _walk(os.getpid(), found)
    return found


def wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for a child, in seconds, and reap orphans meanwhile; return its exit status.

    As engines' shims do: gVisor's `delete` waits a minute for a sandbox that nobody reaps.
    TimeoutExpired when it does not end.
    """
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(process.args, timeout)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            _reap(but=process.pid)
    return process.returncode


def _reap(but: int) -> None:
    for child in set(_children(os.getpid())) - {but}:
        try:
            os.waitpid(child, os.WNOHANG)
        except ChildProcessError:
            continue


def end_processes() -> None:
    """Kill the descendants of this process, those that begin meanwhile too, and wait for them."""
    while found := processes():
        for what in found:
            try:
                os.kill(int(what.split()[1]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _walk(pid: int, found: set[str]) -> None:
    for child in _children(pid):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.add(f"process {child} {command.strip()}")
            _walk(child, found)
        elif pid == os.getpid():
            os.waitpid(child, os.WNOHANG)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return children


def cgroups(token: str) -> set[str]:
    """Control groups with `token` in their path, in every hierarchy."""
    return {f"cgroup {folder}" for folder, _, _ in os.walk("/sys/fs/cgroup") if token in folder}


def loop_devices(images: str) -> set[str]:
    """Loop devices whose image lies below the folder `images`."""
    found: set[str] = set()
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            image = backing.read_text().strip()
        except OSError:  # freed between the listing and the look
            continue
        if image.startswith(images):
            found.add(f"loop device {backing.parts[3]} {image}")
    return found


def files() -> set[str]:
    """Everything in the private /run, and the names in the folders that packages fill."""
    found: set[str] = set()
    for folder, folders, names in os.walk("/run"):
        folders[:] = [name for name in folders if f"{folder}/{name}" not in _NOT_OURS]
        found.update(f"file {folder}/{name}" for name in (*folders, *names))
        if folder.count("/") > _RUN_DEPTH:
            folders.clear()
    for folder in _SYSTEM_FOLDERS:
        if os.path.isdir(folder):
            found.update(f"file {folder}/{name}" for name in os.listdir(folder))
    return found


def snapshot(token: str, images: str) -> set[str]:
    """Everything above in one set."""
    return mounts() | processes() | cgroups(token) | loop_devices(images) | files()
