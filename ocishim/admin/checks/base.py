"""What pyshim itself needs: kernel, configuration, low-level runtime, ldconfig, a log."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ocishim.admin.checks.finding import Finding, is_denied
from ocishim.admin.checks.node import Node
from ocishim.admin.editing import files
from ocishim.errors import ConfigError, LowlevelError, quoted
from ocishim.lowlevel import quirks
from ocishim.lowlevel.lowlevel import Version

_FLOOR = (5, 6)
_JOURNAL = "/run/systemd/journal/socket"
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


def configuration(node: Node) -> Iterator[Finding]:
    """Yield what is wrong with pyshim's own settings."""
    if node.config_error and is_denied(node.config_error):
        yield Finding(
            "configuration",
            "info",
            "pyshim's configuration cannot be read as this user",
            evidence=node.config_error.message,
            why="what follows is of a node where every setting has its default",
            next_step="run doctor as root",
        )
    elif node.config_error:
        yield Finding(
            "configuration",
            "error",
            "pyshim's configuration cannot be used",
            evidence=str(node.config_error),
            why="every create fails until it is mended; kill and delete still work",
            next_step=f"edit {node.config.path} and run 'pyshimctl config check'",
        )


def writable_configuration(node: Node) -> Iterator[Finding]:
    """Yield whether others than root may write the settings, or replace them."""
    file = node.config.path
    for path in (file, os.path.dirname(file)) if node.exists(file) else ():
        if found := node.writer(path):
            yield Finding(
                "configuration-writable",
                "error",
                f"{found.who} may write to {path}",
                evidence=found.evidence,
                why="the settings name the program that pyshim becomes, as root",
                next_step=found.step,
            )


def kernel(node: Node) -> Iterator[Finding]:
    """Yield whether the kernel is new enough."""
    numbers = [int(part) for part in node.kernel.split("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) < _FLOOR:
        yield Finding(
            "kernel",
            "error",
            "the kernel is older than Linux 5.6",
            evidence=f"/proc/sys/kernel/osrelease is {node.kernel}, and openat2 came with 5.6",
            why="hooks reach into images only through openat2, which it lacks",
            next_step="install the distribution's kernel of 5.6 or newer; then reboot",
        )
    if node.read("/proc/sys/vm/memfd_noexec").strip() == "2":
        yield Finding(
            "memfd-noexec",
            "info",
            "the kernel gives no memory that can be executed",
            evidence="vm.memfd_noexec is 2",
            why="the host's ldconfig runs from a private tmpfs instead, which costs a little time",
            next_step="nothing; sysctl vm.memfd_noexec=1 is as strict for programs that do not ask",
        )
    systems = node.read("/proc/filesystems").split()
    if systems and "overlay" not in systems and node.config.readonly_rootfs == "overlay":
        yield Finding(
            "overlayfs",
            "error",
            "the kernel has no overlay file system",
            evidence="/proc/filesystems does not list overlay",
            why='hooks.readonly_rootfs = "overlay" needs it',
            next_step="modprobe overlay",
        )


def runtime(node: Node) -> Iterator[Finding]:
    """Yield what there is to say of the low-level runtime."""
    try:
        path, version = node.runtime()
    except ConfigError as err:
        yield _no_runtime(node, err)
        return
    if os.path.basename(node.host.real(path)) == "pyshim":
        yield Finding(
            "runtime-itself",
            "error",
            "the low-level runtime is pyshim itself",
            evidence=f"'runtimes' of {node.config.path} is {node.config.runtimes}, and {path} is"
            f" {node.host.inside(node.host.real(path))}",
            why="nothing starts, stops or is deleted: pyshim does not become itself",
            next_step="pyshimctl config set runtimes=runc,crun",
        )
        return
    answer = (version.text.splitlines() or ["says nothing for --version"])[0][:80]
    told = f"{path} is {version.kind} {answer}" if version.kind else f"{path}: {answer}"
    yield from _older(version, told)
    yield from _hooks_never_run(node, version, told)
    if not version.kind:
        yield Finding(
            "runtime-unknown",
            "warning",
            "the low-level runtime does not tell a version pyshim knows",
            evidence=told,
            why="pyshim leaves createContainer hooks to it without knowing that it runs them",
            next_step="pyshimctl config set hooks.executor=shim, if it does not",
        )


def _no_runtime(node: Node, err: ConfigError) -> Finding:
    if is_denied(err):
        return Finding(
            "runtime-unknown",
            "info",
            "the low-level runtime cannot be asked for its version as this user",
            evidence=err.message,
            why="whether pyshim has to do without something of it is not told",
            next_step="run doctor as root",
        )
    none = isinstance(err, LowlevelError)
    return Finding(
        "runtime",
        "error",
        err.message,
        evidence=f"'runtimes' of {node.config.path} is {node.config.runtimes}",
        why="pyshim becomes the low-level runtime; without one nothing starts",
        next_step=f"{'apt-get install runc' if none else 'install it anew'},"
        " or name another in 'runtimes'",
    )


def _older(version: Version, told: str) -> Iterator[Finding]:
    """What pyshim does otherwise for older versions."""
    runtime, kind = quirks.of(version), version.kind
    first = _dotted(runtime.environment)
    if version.number < runtime.environment:
        yield Finding(
            "runtime-environment",
            "info",
            f"{kind} before {first} starts hooks with the image's environment",
            evidence=told,
            why="pyshim gives every hook an environment of its own (CVE-2025-23266); "
            "containers started past pyshim are not guarded",
            next_step=f"use pyshim for all containers with CDI hooks, or {kind} {first} and newer",
        )
    first = _dotted(runtime.readonly)
    if version.number < runtime.readonly:
        yield Finding(
            "runtime-readonly",
            "info",
            f"{kind} before {first} makes a read-only root unwritable before hooks run",
            evidence=told,
            why="pyshim runs the hooks itself for such containers",
            next_step=f"nothing to do, or {kind} {first} and newer",
        )


def _dotted(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


def _hooks_never_run(node: Node, version: Version, told: str) -> Iterator[Finding]:
    best, reason = quirks.choose("auto", version, root_readonly=False)
    if (node.config.executor, best) == (quirks.RUNTIME, quirks.SHIM):
        yield Finding(
            "hooks-executor",
            "error",
            "nobody runs the createContainer hooks",
            evidence=f"hooks.executor is 'runtime', and {told}: {reason}",
            why="containers get their devices but no links and no library cache",
            next_step="pyshimctl config set hooks.executor=auto",
        )


def _setting(key: str, value: str) -> str:
    return f"pyshimctl config set {quoted(f'{key}={value}')}"


def log(node: Node) -> Iterator[Finding]:
    """Yield whether warnings go anywhere."""
    file = node.config.log_file
    folder = os.path.dirname(file)
    usual = (
        f"{_setting('log.file', '/var/log/pyshim.log')}, or a file in another folder that exists"
    )
    if file and node.host.is_folder(file):
        step = _setting("log.file", os.path.join(file, "pyshim.log"))
        yield _no_log(f"log.file is '{file}', which is a folder", step)
    elif file and not node.exists(folder):
        yield _no_log(f"log.file is '{file}', and {folder} is not there", usual)
    elif file and _is_socket(node, file):
        yield _no_log(f"log.file is '{file}', which is a socket", usual)
    elif not file and not any(_is_socket(node, path) for path in ("/dev/log", _JOURNAL)):
        there = "/dev/log is no socket" if node.exists("/dev/log") else "there is no /dev/log"
        yield _no_log(f"log.file is not set, and {there}", usual)


def _is_socket(node: Node, path: str) -> bool:
    try:
        return stat.S_ISSOCK(node.host.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _no_log(evidence: str, next_step: str) -> Finding:
    return Finding(
        "log",
        "info",
        "pyshim's warnings are written nowhere",
        evidence=evidence,
        why="what a create skipped, and why, is lost; explain still tells it",
        next_step=next_step,
    )


def metrics(node: Node) -> Iterator[Finding]:
    """Yield whether counters are wanted that cannot be kept, or that nobody reads."""
    file = node.config.metrics
    folder = os.path.dirname(file)
    if file and node.host.is_folder(file):
        yield Finding(
            "metrics",
            "warning",
            "pyshim's counters are written nowhere",
            evidence=f"log.metrics is '{file}', which is a folder",
            why="no create is counted",
            next_step=_setting("log.metrics", os.path.join(file, "pyshim.prom")),
        )
    elif file and not file.endswith(".prom"):
        yield Finding(
            "metrics",
            "warning",
            "node-exporter does not read pyshim's counters",
            evidence=f"log.metrics is '{file}'",
            why="its textfile collector reads files *.prom alone",
            next_step=_setting("log.metrics", f"{file}.prom"),
        )
    elif file and not node.host.is_folder(folder):
        yield Finding(
            "metrics",
            "warning",
            "pyshim's counters are written nowhere",
            evidence=f"log.metrics is '{file}', and {folder} is not there",
            why="no create is counted",
            next_step=f"mkdir -p {quoted(folder)}",
        )


def ldconfig(node: Node) -> Iterator[Finding]:
    """Yield whether the host's ldconfig can be used, or that there is none."""
    for path in ("/sbin/ldconfig.real", "/sbin/ldconfig"):
        if not node.exists(path):
            continue
        if not node.host.is_program(path):
            yield _ldconfig_finding(f"{path} is no program")
            return
        header = files.content(node.host.real(path), 20)
        machine = int.from_bytes(header[18:20], "little")
        if header[:4] == b"\x7fELF" and machine == _ELF_MACHINES.get(os.uname().machine, machine):
            return
        yield _ldconfig_finding(f"{path} is no program for {os.uname().machine}")
        return
    yield Finding(
        "ldconfig-none",
        "info",
        "the host has no ldconfig",
        evidence="neither /sbin/ldconfig nor /sbin/ldconfig.real is there",
        why="pyshim makes the containers' library cache itself, without glibc-hwcaps folders",
        next_step="nothing to do",
    )


def _ldconfig_finding(evidence: str) -> Finding:
    return Finding(
        "ldconfig",
        "error",
        "the host has no usable ldconfig",
        evidence=evidence,
        why="update-ldcache runs the host's; without it no library is found by its name",
        next_step="apt-get install --reinstall libc-bin",
    )
