"""The engines' configuration: is pyshim registered, do requests reach it, who is the default."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from ocishim.admin import containerd, crio, docker, podman, tomlfile
from ocishim.admin.finding import Finding
from ocishim.admin.node import Node
from ocishim.admin.tomlfile import find
from ocishim.errors import ConfigError

_PROGRAMS = {
    "containerd": ("/usr/bin/containerd", "/usr/local/bin/containerd"),
    "k3s": ("/var/lib/rancher/k3s/data/current/bin/containerd",),
    "rke2": ("/var/lib/rancher/rke2/bin/containerd",),
    "crio": ("/usr/bin/crio", "/usr/local/bin/crio"),
    "docker": ("/usr/bin/dockerd", "/usr/local/bin/dockerd"),
    "podman": ("/usr/bin/podman", "/usr/local/bin/podman"),
}


def check(node: Node) -> Iterator[Finding]:
    """Yield what keeps the engines on `node` from using pyshim as their users expect."""
    k3s, rke2 = (f"{folder}/config.toml" for folder in containerd.RANCHERS)
    judges: dict[str, Callable[[Node], Iterator[Finding]]] = {
        "containerd": lambda node: _containerd(node, containerd.CONFIG),
        "k3s": lambda node: _containerd(node, k3s),
        "rke2": lambda node: _containerd(node, rke2),
        "crio": _crio,
        "docker": _docker,
        "podman": _podman,
    }
    for engine, judge in judges.items():
        if any(node.host.is_program(path) for path in _PROGRAMS[engine]):
            try:
                yield from judge(node)
            except ConfigError as err:
                yield _unreadable(engine, err)


def _unreadable(engine: str, err: ConfigError) -> Finding:
    return Finding(
        "engine-configuration",
        "error",
        f"the configuration of {engine} cannot be read",
        evidence=err.message,
        why=f"{engine} does not start with it, or starts with something else",
        next_step=err.hint or "correct the file",
    )


def _unregistered(engine: str, evidence: str, command: str = "") -> Finding:
    return Finding(
        "engine-unregistered",
        "warning",
        f"{engine} does not know pyshim",
        evidence=evidence,
        why="its containers are started past pyshim",
        next_step=command or f"pyshimctl configure {engine}",
    )


def _is_pyshim(path: object) -> bool:
    return isinstance(path, str) and os.path.basename(path) == "pyshim"


def _containerd(node: Node, path: str) -> Iterator[Finding]:
    files = containerd.Files(node.host, path, None)
    command = _configure(files, path)
    cri: dict[str, Any] = {}
    having: list[str] = []
    for name, tree in files.trees.items():
        if find(tree, *files.cri) is not None:
            having.append(name)
            cri = tomlfile.merged(cri, find(tree, *files.cri))
    ours = _ours(cri)
    if not ours:
        yield _unregistered("containerd", f"{path}: no runtime with BinaryName pyshim", command)
        return
    if files.version == 2 and not _ours(find(files.trees[having[-1]], *files.cri)):
        yield _forgotten(having, command)
    for name, table in ours.items():
        yield from _annotations(node, name, table, command)
        program = find(table, "options", "BinaryName")
        if "/" in program and not node.host.is_program(program):
            yield _missing_program("containerd", name, program)
    switched_off = cri.get("enable_cdi") is False and files.version < containerd.ALWAYS_CDI
    if switched_off and not any(_passes(node, table) for table in ours.values()):
        yield Finding(
            "containerd-cdi",
            "error",
            "containerd neither applies CDI nor passes the annotations on",
            evidence="enable_cdi is false and container_annotations lacks the prefix",
            why="no container of this node gets a device",
            next_step=f"{command} --enable-cdi",
        )
    yield from _default(cri, ours)


def _configure(files: containerd.Files, path: str) -> str:
    if path == containerd.CONFIG:
        return "pyshimctl configure containerd"
    file = path if files.drop_in else containerd.template_of(files)
    return f"pyshimctl configure containerd --config {file}"


def _ours(cri: object) -> dict[str, Any]:
    """Return the runtimes of a CRI plugin's table that are pyshim."""
    runtimes = find(cri, "containerd", "runtimes") or {}
    return {
        name: table
        for name, table in runtimes.items()
        if _is_pyshim(find(table, "options", "BinaryName"))
    }


def _forgotten(having: list[str], command: str) -> Finding:
    return Finding(
        "containerd-imports",
        "warning",
        "containerd 1.x does not see pyshim's runtime",
        evidence=f"{having[-1]} has the CRI plugin's table, too, and comes after {having[-2]}",
        why="of a file of version 2 containerd 1.x takes a plugin's whole table from the last one",
        next_step=command,
    )


def _passes(node: Node, table: dict[str, Any]) -> bool:
    patterns = table.get("container_annotations") or []
    return all(
        any(fnmatchcase(prefix + "x", str(pattern)) for pattern in patterns)
        for prefix in node.config.annotation_prefixes
    )


def _annotations(
    node: Node,
    name: str,
    table: dict[str, Any],
    command: str,
) -> Iterator[Finding]:
    if not _passes(node, table):
        yield Finding(
            "containerd-annotations",
            "warning",
            f"annotations do not reach the runtime '{name}'",
            evidence=f"container_annotations is {table.get('container_annotations') or 'not set'}",
            why="containerd keeps what no pattern lists, so pyshim sees no request",
            next_step=command,
        )
    for pattern in table.get("pod_annotations") or []:
        if any(fnmatchcase(f"{prefix}x", pattern) for prefix in node.config.annotation_prefixes):
            yield Finding(
                "containerd-pod-annotations",
                "error",
                f"pods' own annotations reach the runtime '{name}'",
                evidence=f"pod_annotations lists '{pattern}'",
                why="whoever may create a pod can take any device of the node",
                next_step=f"remove '{pattern}' from pod_annotations of '{name}'",
            )


def _default(cri: dict[str, Any], ours: dict[str, Any]) -> Iterator[Finding]:
    default = find(cri, "containerd", "default_runtime_name")
    if default not in ours:
        yield Finding(
            "default-runtime",
            "info",
            "pods use pyshim only with a RuntimeClass",
            evidence=f"default_runtime_name is {default or 'runc'}",
            why="a pod without runtimeClassName is started past pyshim",
            next_step="set runtimeClassName in the pod, or pyshimctl configure containerd "
            "--set-as-default",
        )


def _missing_program(engine: str, name: str, program: str) -> Finding:
    return Finding(
        "engine-program",
        "error",
        f"the runtime '{name}' of {engine} is not there",
        evidence=f"{program} does not exist or cannot be executed",
        why="every container of that runtime fails to start",
        next_step="pyshimctl install",
    )


def _crio(node: Node) -> Iterator[Finding]:
    effective = crio._effective(node.host, crio.CONFIG, "")  # noqa: SLF001 - one reader a format
    runtimes = find(effective, "crio", "runtime", "runtimes") or {}
    ours = {k: v for k, v in runtimes.items() if _is_pyshim(v.get("runtime_path"))}
    if not ours:
        yield _unregistered("crio", "no [crio.runtime.runtimes] entry with runtime_path pyshim")
    for name, table in ours.items():
        if not node.host.is_program(table["runtime_path"]):
            yield _missing_program("crio", name, table["runtime_path"])


def _docker(node: Node) -> Iterator[Finding]:
    text = node.read(docker.CONFIG)
    try:
        settings = json.loads(text or "{}")
        runtimes = settings.get("runtimes") or {}
    except (ValueError, AttributeError) as err:
        raise ConfigError(f"{docker.CONFIG}: {err}", hint="dockerd --validate") from None
    ours = {k: v for k, v in runtimes.items() if _is_pyshim(v.get("path"))}
    if not ours:
        yield _unregistered("docker", f"{docker.CONFIG}: no runtime with path pyshim")
    for name, table in ours.items():
        if "/" in table["path"] and not node.host.is_program(table["path"]):
            yield _missing_program("docker", name, table["path"])


def _podman(node: Node) -> Iterator[Finding]:
    """Podman starts any program that --runtime names: only what its files name can be wrong."""
    for path in podman.files(node.host, podman.CONFIG):
        runtimes = find(tomlfile.plain(node.read(path), path), "engine", "runtimes") or {}
        for name, programs in runtimes.items():
            ours = [one for one in programs if _is_pyshim(one)]
            if ours and not any(node.host.is_program(one) for one in ours):
                yield _missing_program("podman", name, ours[0])
