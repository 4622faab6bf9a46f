"""The engines' configuration: is pyshim registered, do requests reach it, who is the default."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from ocishim.admin import containerd, crio, docker, tomlfile
from ocishim.admin.finding import Finding
from ocishim.admin.node import Node
from ocishim.admin.tomlfile import find
from ocishim.errors import ConfigError

_CONTAINERD = "/etc/containerd/config.toml"
_PROGRAMS = {
    "containerd": ("/usr/bin/containerd", "/usr/local/bin/containerd"),
    "crio": ("/usr/bin/crio", "/usr/local/bin/crio"),
    "docker": ("/usr/bin/dockerd", "/usr/local/bin/dockerd"),
    "podman": ("/usr/bin/podman", "/usr/local/bin/podman"),
}


def check(node: Node) -> Iterator[Finding]:
    """Yield what keeps the engines on `node` from using pyshim as their users expect."""
    judges = {"containerd": _containerd, "crio": _crio, "docker": _docker}
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


def _unregistered(engine: str, evidence: str) -> Finding:
    return Finding(
        "engine-unregistered",
        "warning",
        f"{engine} does not know pyshim",
        evidence=evidence,
        why="its containers are started past pyshim",
        next_step=f"pyshimctl configure {engine}",
    )


def _is_pyshim(path: object) -> bool:
    return isinstance(path, str) and os.path.basename(path) == "pyshim"


def _containerd(node: Node) -> Iterator[Finding]:
    files = containerd.Files(node.host, _CONTAINERD, None)
    cri: dict[str, Any] = {}
    for tree in files.trees.values():
        cri = tomlfile.merged(cri, find(tree, *files.cri) or {})
    runtimes = find(cri, "containerd", "runtimes") or {}
    ours = {
        name: table
        for name, table in runtimes.items()
        if _is_pyshim(find(table, "options", "BinaryName"))
    }
    if not ours:
        yield _unregistered("containerd", f"{_CONTAINERD}: no runtime with BinaryName pyshim")
        return
    for name, table in ours.items():
        yield from _annotations(node, name, table)
        program = find(table, "options", "BinaryName")
        if "/" in program and not node.host.is_program(program):
            yield _missing_program("containerd", name, program)
    if cri.get("enable_cdi") is False and not any(_passes(node, table) for table in ours.values()):
        yield Finding(
            "containerd-cdi",
            "error",
            "containerd neither applies CDI nor passes the annotations on",
            evidence="enable_cdi is false and container_annotations lacks the prefix",
            why="no container of this node gets a device",
            next_step="pyshimctl configure containerd --enable-cdi",
        )
    yield from _default(cri, ours)


def _passes(node: Node, table: dict[str, Any]) -> bool:
    patterns = table.get("container_annotations") or []
    return all(
        any(fnmatchcase(prefix + "x", str(pattern)) for pattern in patterns)
        for prefix in node.config.annotation_prefixes
    )


def _annotations(node: Node, name: str, table: dict[str, Any]) -> Iterator[Finding]:
    if not _passes(node, table):
        yield Finding(
            "containerd-annotations",
            "warning",
            f"annotations do not reach the runtime '{name}'",
            evidence=f"container_annotations is {table.get('container_annotations') or 'not set'}",
            why="containerd keeps what no pattern lists, so pyshim sees no request",
            next_step="pyshimctl configure containerd",
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
