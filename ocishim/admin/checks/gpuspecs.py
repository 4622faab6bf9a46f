"""Specs of NVIDIA GPUs beside the GPUs of this node: driver, GPUs, MIG instances.

A spec whose nodes or files are gone is specs' to find; here they are all there, and are others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ocishim.admin.checks import nvidia
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.generate import gpus
from ocishim.admin.generate.report import Report
from ocishim.errors import quoted, some

_GPU_NODE = re.compile(r"nvidia(\d+)")
_CAP_NODE = re.compile(r"nvidia-cap(\d+)")
_LIBRARY = re.compile(r"(libcuda|libnvidia-ml)\.so\.(\d{2,}\.[\d.]+)")
_HOST_VERSION = "--host-driver-version="


class GpuSpec:
    """One spec file: the minors of its GPUs and capabilities, its GPUs' uuids, its driver."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.minors: set[int] = set()
        self.caps: set[int] = set()
        self.uuids: set[str] = set()
        self.versions: set[str] = set()

    def add(self, edits: dict[str, Any]) -> None:
        """Read container edits."""
        for node in edits.get("deviceNodes") or ():
            name = os.path.basename(node.get("hostPath") or node["path"])
            if match := _GPU_NODE.fullmatch(name):
                self.minors.add(int(match[1]))
            elif match := _CAP_NODE.fullmatch(name):
                self.caps.add(int(match[1]))
        names = [os.path.basename(mount["hostPath"]) for mount in edits.get("mounts") or ()]
        self.versions |= {match[2] for name in names if (match := _LIBRARY.fullmatch(name))}
        words = [word for hook in edits.get("hooks") or () for word in hook.get("args") or ()]
        self.versions |= {
            word.removeprefix(_HOST_VERSION) for word in words if word.startswith(_HOST_VERSION)
        }


def check(node: Node) -> Iterator[Finding]:
    """Yield what specs of NVIDIA GPUs say that this node has otherwise."""
    specs = _specs(node)
    found = gpus.find_in_proc(node.host, Report()) if specs else []
    running = nvidia.module(node)
    for spec in specs:
        yield from _driver(node, spec, running)
        yield from _gone(spec, found)
    if specs and found:
        yield from _new(specs, found)
        yield from _instances(node, specs, found)


def _specs(node: Node) -> list[GpuSpec]:
    """Return the specs that have a /dev/nvidiaN."""
    by_path: dict[str, GpuSpec] = {}
    for one in node.found:
        spec = by_path.setdefault(one.path, GpuSpec(node.host.inside(one.path)))
        spec.add(one.common)
        spec.add(one.edits)
        name = one.name.partition("=")[2]
        if name.startswith("GPU-"):
            spec.uuids.add(name)
    return [spec for spec in by_path.values() if spec.minors]


def _again(path: str) -> str:
    return (
        f"generate the spec again (pyshimctl cdi generate --output {quoted(path)}, or restart the "
        "device plugin)"
    )


def _driver(node: Node, spec: GpuSpec, running: str) -> Iterator[Finding]:
    if running and spec.versions and running not in spec.versions:
        yield Finding(
            "spec-driver",
            "error",
            f"{spec.path} is of another NVIDIA driver than the one that runs",
            evidence=f"spec {', '.join(sorted(spec.versions))}, module {running}",
            why="NVML and CUDA fail in containers: libraries and module must be of one version",
            next_step=_again(spec.path)
            if running in nvidia.versions_there(node)
            else "reboot into the driver that is installed, then generate the spec again",
        )


def _gone(spec: GpuSpec, found: list[gpus.Gpu]) -> Iterator[Finding]:
    there = {gpu.uuid for gpu in found}
    gone = sorted(spec.uuids - there) if there - {""} else []
    if gone:
        yield Finding(
            "spec-gpu-gone",
            "warning",
            f"{spec.path} names GPUs that are not in this node",
            evidence=f"{some(gone)}; the driver has {', '.join(sorted(there - {''}))}",
            why="the name gives another GPU, or none",
            next_step=_again(spec.path),
        )


def _new(specs: list[GpuSpec], found: list[gpus.Gpu]) -> Iterator[Finding]:
    known = {minor for spec in specs for minor in spec.minors}
    new = [gpu for gpu in found if gpu.minor not in known]
    if new:
        yield Finding(
            "spec-gpu-new",
            "warning",
            f"{len(new)} of {len(found)} GPUs are in no spec",
            evidence=", ".join(f"/dev/nvidia{gpu.minor} {gpu.uuid}".strip() for gpu in new),
            why="no container can be given them",
            next_step=_again(specs[0].path),
        )


def _instances(node: Node, specs: list[GpuSpec], found: list[gpus.Gpu]) -> Iterator[Finding]:
    """MIG instances get other capabilities when they are made anew; the nodes may stay."""
    there = {cap for gpu in found for mig in gpu.migs for cap in gpus.caps(node.host, gpu, mig)}
    for spec in specs:
        gone = sorted(spec.caps - there)
        if gone:
            yield Finding(
                "spec-mig",
                "error",
                f"{spec.path} names MIG instances that are not in this node",
                evidence=", ".join(f"/dev/nvidia-caps/nvidia-cap{cap}" for cap in gone),
                why="the container gets no GPU, or another instance",
                next_step=_again(spec.path),
            )
    new = sorted(there - {cap for spec in specs for cap in spec.caps})
    whole = [gpu.index for gpu in found if gpu.migs]
    if new:
        yield Finding(
            "spec-mig-new",
            "warning",
            "MIG instances of this node are in no spec",
            evidence=f"GPU {', '.join(map(str, whole))}: "
            + ", ".join(f"nvidia-cap{cap}" for cap in new),
            why="no container can be given them, and their GPU as a whole does not work",
            next_step=_again(specs[0].path),
        )
