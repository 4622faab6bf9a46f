"""The node that is measured: a bundle, a driver root and pyshim in front of runc.

One function a case, each returns the sides to compare, the bare low-level runtime first. Another
contestant is another Side with its own command. Leaves timing to paired.py.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.paired import Side
from tools.lab import driver, rootfs
from tools.lab.bundle import Bundle, make_spec
from tools.lab.compiler import Compiler
from tools.lab.runtime import Runtime
from tools.lab.shim import REPOSITORY, Shim

if TYPE_CHECKING:
    from collections.abc import Callable

TEMPLATE = REPOSITORY / "tests/data/nvidia-dgx-a100.yaml"
ASKED = {"cdi.k8s.io/bench": "nvidia.com/gpu=all"}
BARE = "bare"
PYSHIM = "pyshim"


class Node:
    """Everything the cases share, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = Runtime(str(shutil.which("runc")), folder / "root")
        self.shim = Shim(folder / "pyshim", self.runtime.program)
        text = driver.text_of(TEMPLATE, folder / "driver")
        self.shim.add_spec("nvidia.yaml", text)
        driver.build(text, Compiler(folder / "compiled"))
        self.bundle = Bundle(folder / "bundle")
        rootfs.make_busybox(self.bundle.rootfs)
        self.container = f"pyshim-bench-{os.getpid()}"
        spec = make_spec(["/bin/true"], annotations=ASKED)
        spec["linux"]["cgroupsPath"] = f"/{self.container}"
        self.bundle.write(spec)
        self.asking = self.bundle.config.read_bytes()

    def merged(self) -> bytes:
        """Return config.json as pyshim leaves it, without the hooks."""
        self.shim.create(self.bundle, self.container)
        self.shim.delete(self.container)
        spec = self.bundle.spec
        if "/dev/nvidia0" not in [device["path"] for device in spec["linux"].get("devices", [])]:
            raise RuntimeError("pyshim did not merge the devices")
        del spec["hooks"]
        return json.dumps(spec, separators=(",", ":")).encode()

    def fresh(self, config: bytes) -> Callable[[], None]:
        """Return what puts the bundle back to how an engine hands it over."""
        def prepare() -> None:
            self.bundle.config.write_bytes(config)
            for path in ("usr", "etc", "lib", "run"):
                shutil.rmtree(self.bundle.rootfs / path)
                (self.bundle.rootfs / path).mkdir()
        return prepare

    def delete(self) -> None:
        """Remove the container."""
        self.runtime_with_root().delete(self.container)

    def runtime_with_root(self) -> Runtime:
        """Return runc with pyshim's --root, which both sides use."""
        return Runtime(self.runtime.program, self.shim.root)


def state(node: Node) -> list[Side]:
    """`state` of a container that is not there: pass-through and nothing else."""
    bare = node.runtime_with_root()
    return [
        Side(name, runtime.argv("state", "nobody"), runtime.environment, status=1)
        for name, runtime in ((BARE, bare), (PYSHIM, node.shim))
    ]


def create(node: Node) -> list[Side]:
    """`create` with all of nvidia-dgx-a100.yaml, against the merged bundle without hooks."""
    bare = node.runtime_with_root()
    merged = node.merged()
    args = ("create", "--bundle", str(node.bundle.path), node.container)
    return [
        Side(
            name, runtime.argv(*args), runtime.environment,
            before=node.fresh(config), after=node.delete,
        )
        for name, runtime, config in (
            (BARE, bare, merged), (PYSHIM, node.shim, node.asking),
        )
    ]
