"""`pyshimctl cdi refresh`: write the spec anew when driver, nodes or MIG layout have changed.

Called by the units of deploy/ at boot, after an upgrade and from time to time; their options are
environment variables. What a spec holds is generate's.
"""

from __future__ import annotations

import os
from typing import Any

import click
import yaml

from ocishim.admin import printer
from ocishim.admin.editing import files
from ocishim.admin.generate import edits, wsl
from ocishim.admin.generate.command import generate, read_environment, tell
from ocishim.admin.generate.report import Report
from ocishim.admin.generate.wanted import document
from ocishim.admin.host import Host
from ocishim.admin.refresh import differences, nodes
from ocishim.errors import ConfigError, UsageError, some

MARK = "# Written by pyshimctl cdi refresh, which writes it again: what is edited here is lost.\n"
SPEC_DIR = "/var/run/cdi"
_NOT_OURS = ("output", "form", "as_json", "verbose")
# What says that a driver is there, though it may be broken.
_DRIVERS = (
    *("/proc/driver/nvidia/version", "/sys/module/nvidia", "/sys/module/amdgpu"),
    "/etc/nv_tegra_release",
)


@click.option("--output", metavar="FILE", help=f"Default: {SPEC_DIR}/VENDOR.yaml.")
@click.option("--create-nodes", is_flag=True, help="First make or mend NVIDIA's device nodes.")
@click.option("--load-modules", is_flag=True, help="Before that load NVIDIA's kernel modules.")
def _refresh(*, output: str | None, create_nodes: bool, load_modules: bool, **chosen: Any) -> None:
    """Write this host's spec again if it changed, by one rename, and say why.

    Takes the options of generate, which can be given as environment variables, too
    (PYSHIM_CDI_DRIVER_ROOT=DIR, PYSHIM_CDI_CREATE_NODES=1); without a driver it does nothing.

    Exit status: 0 the spec is right, or there is no driver, 1 failed; then the spec is as it was.
    """
    root = Host(chosen["driver_root"])
    done = nodes.load(root) if load_modules else []
    if create_nodes and nodes.is_forbidden(_proc(root)):
        done.append("no device node is made: the module's ModifyDeviceFiles is 0")
    elif create_nodes:
        done += nodes.make(Host(chosen["dev_root"] or root.root or "/"), nodes.wanted(_proc(root)))
    for line in done:
        printer.line(line)
    report = Report()
    try:
        spec = document(report=report, **chosen)
    except ConfigError:
        if _is_expected(root, chosen):
            raise
        printer.line("no driver is loaded: nothing to do")
        return
    path = output or f"{SPEC_DIR}/{_name(spec['kind'])}.yaml"
    if report.unanswered and (names := _names_gone(path, spec)):
        printer.line(f"{path}: as it was, with {some(names)}: {report.unanswered}")
        return
    why = written(path, spec)
    printer.line(f"{path}: {f'written: {why}' if why else 'as it was'}")
    if why:
        tell(report, verbose=False)


refresh = click.command(name="refresh")(_refresh)
refresh.params += [one for one in generate.params if one.name not in _NOT_OURS]
read_environment(refresh)


def written(path: str, spec: dict[str, Any]) -> str:
    """Write `spec` to the file `path` unless it holds that; return why, "" when it was not."""
    if not path.endswith((".json", ".yaml")):
        raise UsageError(f"{path}: spec dirs are read for .json and .yaml only")
    form = "json" if path.endswith(".json") else "yaml"
    text = edits.text(spec, form)
    try:
        before = files.read(Host(), os.path.abspath(path))
        why = ["there was none"] if before is None else _reasons(before, text)
    except ConfigError as err:
        why = [err.fault]
    if why:
        files.replace(os.path.abspath(path), (MARK * (form == "yaml") + text).encode(), 0o644)
    return "; ".join(why)


def _names_gone(path: str, spec: dict[str, Any]) -> list[str]:
    """Return the names that only `path`'s spec has, for devices that are the same in both."""
    try:
        before = yaml.safe_load(files.read(Host(), os.path.abspath(path)) or "")
        return differences.names_gone(before, spec)
    except (ConfigError, yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError):
        return []


def _reasons(before: str, after: str) -> list[str]:
    try:
        old = yaml.safe_load(before)
        return differences.reasons(old, yaml.safe_load(after))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError):
        return ["it was no spec"]


def _name(kind: str) -> str:
    """Return the file's name without suffix: `nvidia` of nvidia.com/gpu, else vendor and class."""
    vendor, _, class_ = kind.partition("/")
    stem = vendor.partition(".")[0]
    return stem if class_ == "gpu" else f"{stem}-{class_}"


def _proc(root: Host) -> Host:
    """Return whose /proc tells of the driver: the driver root's where it has one mounted."""
    return root if root.exists("/proc/devices") else Host()


def _is_expected(root: Host, chosen: dict[str, Any]) -> bool:
    """Whether a spec is owed: the command line names what for, or a driver is there."""
    named = chosen["mode"] != "auto" or chosen["devices"] or chosen["file"]
    there = (host.exists(path) for host in (root, Host()) for path in _DRIVERS)
    dev = Host(chosen["dev_root"]) if chosen["dev_root"] else root
    return bool(named) or any(there) or wsl.is_served(root, dev)
