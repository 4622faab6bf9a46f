"""The node that is measured: a bundle, spec dirs, and the programs in front of runc.

The contestants: the static file, put in place as `pyshimctl install` does, and the peer where
`make peers` has put it. Everything lies on tmpfs, as /run is where engines keep bundles; a rename
over a file on ext4 flushes it, which costs 0.5 to 5 ms. Leaves timing to paired.py.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.paired import Command, reap
from tools.lab import driver, rootfs
from tools.lab.bundle import Bundle, make_spec
from tools.lab.compiler import Compiler
from tools.lab.runtime import Runtime
from tools.lab.shim import BINARY, REPOSITORY, Shim, copy_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEMPLATE = REPOSITORY / "tests/data/nvidia-dgx-a100.yaml"
PEERS = REPOSITORY / "peers"
PEER_RUNTIME = PEERS / "nvidia-container-runtime.cdi"
PEER_HOOK = PEERS / "nvidia-cdi-hook"
PEER_VERSION = PEERS / "version"
FILE = Path(BINARY or REPOSITORY / "build/pyshim")
BARE = "bare"
PYSHIM = "pyshim"
PEER = "peer"
RESTED = 0.1  # seconds

TOKEN = f"pyshim-bench-{os.getpid()}"
"""In the names of containers and control groups."""

_PEER_CONFIG = """\
[nvidia-container-runtime]
runtimes = ["{lowlevel}"]
[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
spec-dirs = ["{specs}"]
"""


def has_peer() -> bool:
    """Say whether `make peers` was here."""
    return PEER_RUNTIME.exists() and PEER_HOOK.exists()


def install(folder: Path) -> Path:
    """Put the file below `folder` under its three names; return the folder of the programs."""
    copy_binary(folder / "bin", FILE)
    return folder / "bin"


class Node:
    """A spec dir, a bundle that asks for `device`, and the contestants, all in one folder."""

    def __init__(
        self,
        folder: Path,
        installed: Path,
        device: str,
        lowlevel: str = "",
    ) -> None:
        self.folder = folder
        self.specs = folder / "cdi"
        self.specs.mkdir(parents=True)
        self.lowlevel = lowlevel or str(shutil.which("runc"))
        self.contestants: dict[str, Runtime] = {
            PYSHIM: self._shim(installed),
        }
        if has_peer():
            self.contestants[PEER] = self._peer()
        self.bare = Runtime(self.lowlevel, folder / "root")
        self.container = TOKEN
        self.bundle = self.make_bundle("bundle", device)
        self.pid_file = folder / "pid"

    def _shim(self, programs: Path) -> Shim:
        shim = Shim(self.folder / PYSHIM, self.lowlevel, programs)
        shim.root = self.folder / "root"
        shim.configure({"cdi.spec_dirs": [str(self.specs)]})
        return shim

    def _peer(self) -> Runtime:
        config = self.folder / "peer.toml"
        config.write_text(_PEER_CONFIG.format(lowlevel=self.lowlevel, specs=self.specs))
        environment = {"NVIDIA_CTK_CONFIG_FILE_PATH": str(config)}
        return Runtime(PEER_RUNTIME, self.folder / "root", environment)

    def sibling(self, number: int) -> Node:
        """Return a node that shares all but the container and its bundle."""
        other = copy.copy(self)
        other.container = f"{self.container}-{number}"
        other.bundle = other.make_bundle(f"bundle-{number}", "")
        other.pid_file = self.folder / f"pid-{number}"
        return other

    def make_bundle(self, name: str, device: str) -> Bundle:
        """Make a busybox bundle whose annotation asks for `device`."""
        bundle = Bundle(self.folder / name)
        rootfs.make_busybox(bundle.rootfs)
        asked = {"cdi.k8s.io/bench": device} if device else {}
        spec = make_spec(["/bin/true"], annotations=asked)
        spec["linux"]["cgroupsPath"] = f"/{self.container}"
        bundle.write(spec)
        return bundle

    def mount_rootfs(self) -> None:
        """Make the rootfs a mount, as it is when a runtime calls hooks: they pivot into it."""
        rootfs_path = str(self.bundle.rootfs)
        subprocess.run(["mount", "--bind", rootfs_path, rootfs_path], check=True)

    def fresh(self, config: bytes, libraries: Path | None = None) -> Callable[[], None]:
        """Return what puts the bundle back to how an engine hands it over."""

        def prepare() -> None:
            self.bundle.config.write_bytes(config)
            for path in ("usr", "etc", "lib", "run"):
                shutil.rmtree(self.bundle.rootfs / path)
                (self.bundle.rootfs / path).mkdir()
            if libraries:
                shutil.copytree(libraries, self.bundle.rootfs / "usr", dirs_exist_ok=True)

        return prepare

    def rested(self, config: bytes) -> Callable[[], None]:
        """Return the same with a pause after it: for a run that makes a container.

        For some 20 ms after a control group has changed, the kernel changes another one without
        waiting for everybody to notice (rcu_sync), 5 ms of runc's. On a node nobody starts a
        container that soon; here it would be a gift to whoever asks runc first: the bare runtime.
        """
        prepare = self.fresh(config)

        def rest() -> None:
            prepare()
            time.sleep(RESTED)

        return rest

    def edited(self, name: str) -> dict[str, Any]:
        """Return the OCI spec as the contestant `name` leaves it."""
        config = self.bundle.config.read_bytes()
        Command(self.create(self.contestants[name]), self.contestants[name].environment)()
        spec = self.bundle.spec
        if self.lowlevel.endswith("runc"):
            self.stop()
            self.delete()
        reap()
        self.fresh(config)()
        return spec

    def merged(self) -> bytes:
        """Return config.json with its devices, without hooks: what the bare runtime gets."""
        before = self.bundle.spec
        spec = self.edited(PYSHIM)
        if spec["linux"].get("devices") == before["linux"].get("devices"):
            raise RuntimeError("pyshim did not merge the devices")
        spec.pop("hooks", None)
        return json.dumps(spec, separators=(",", ":")).encode()

    def create(self, runtime: Runtime) -> list[str]:
        """Return the command that creates the container."""
        return runtime.argv(
            "create",
            "--bundle",
            str(self.bundle.path),
            "--pid-file",
            str(self.pid_file),
            self.container,
        )

    def wait(self) -> None:
        """Wait for the container's process, our orphan."""
        os.waitpid(int(self.pid_file.read_text()), 0)

    def stop(self) -> None:
        """Kill the container's process and wait for it."""
        os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        self.wait()

    def delete(self) -> None:
        """Have the bare runtime forget the stopped container."""
        self.bare.call("delete", self.container)


def dgx(folder: Path, installed: Path, lowlevel: str = "") -> Node:
    """Return a node with nvidia-dgx-a100.yaml: 5 nodes, 26 mounts, 6 hooks, all devices asked."""
    node = Node(folder, installed, "nvidia.com/gpu=all", lowlevel)
    text = driver.text_of(TEMPLATE, folder / "driver")
    if has_peer():
        text = text.replace("/usr/bin/nvidia-cdi-hook", str(PEER_HOOK))
    (node.specs / "nvidia.yaml").write_text(text)
    driver.build(text, Compiler(folder / "compiled"))
    return node


def hooks_of(spec: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the createContainer hooks of an OCI spec."""
    hooks: Sequence[dict[str, Any]] = spec["hooks"]["createContainer"]
    return hooks
