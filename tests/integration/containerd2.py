"""containerd 2.x, built by tools/containerd2.sh: distributions still have 1.x.

Its CRI plugin applies CDI itself, annotations and CRI requests alike, before the runtime is called
(since 2.4 without a switch). `Cri2Other` carries devices under a prefix that it does not know, so
that pyshim alone resolves them. Leaves what is asked of them to test_cri.py, test_containerd2.py
and test_engines.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import missing
from tests.integration.cri import Cri
from tests.integration.engines import Containerd, Engine
from tools.lab.bundle import Bundle, make_spec
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from tools.lab.shim import Shim

# CONTAINERD2 names another build, to try another version.
PROGRAMS = Path(os.environ.get("CONTAINERD2", REPOSITORY / "peers/containerd2"))

_CONFIG = """version = 3
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  cdi_spec_dirs = ["{specs}"]
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{folder}/cni"]
    conf_dir = "{folder}/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    container_annotations = ["{prefix}/*"]
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "{root}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.careless]
    runtime_type = "io.containerd.runc.v2"
    pod_annotations = ["{prefix}/*"]
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.careless.options]
      BinaryName = "{program}"
      Root = "{root}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.watched]
    runtime_type = "io.containerd.runc.v2"
    container_annotations = ["{prefix}/*"]
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.watched.options]
      BinaryName = "{folder}/watched"
      Root = "{root}"
"""

# Keeps config.json as containerd hands it over, then is pyshim.
_WATCHED = """#!/bin/sh
for word; do
    [ "$flag" != --bundle ] || cp "$word/config.json" "$word/handed-over.json"
    flag=$word
done
exec {program} "$@"
"""


class _Built(Engine):
    """An engine whose programs are those of the build."""

    programs: tuple[str, ...] = ()

    @classmethod
    def is_there(cls) -> None:
        super().is_there()
        if not (PROGRAMS / "version").exists():
            missing("containerd 2.x is not built; make containerd2 does it")

    def __init__(self, folder: Path, shim: Shim, token: str) -> None:
        super().__init__(folder, shim, token)
        # containerd looks for its shim in PATH first.
        self.environment["PATH"] = f"{PROGRAMS}:{self.environment['PATH']}"
        # ctr says so of cgroup v1, at each call.
        self.environment["CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS"] = "1"


class Containerd2(_Built, Containerd):
    """containerd 2.x driven by its ctr."""

    name = "containerd2"

    def refuses(self, lowlevel: Path) -> str:
        """Ask for a container of containerd's ociVersion: crun 1.8.1 knows no other than 1.0."""
        asked = Bundle(self.folder / "asked")
        asked.write({**make_spec(["true"]), "ociVersion": "1.3.0"})
        said = self.client(
            str(lowlevel),
            "--root",
            f"{asked.path}/root",
            "create",
            "--bundle",
            str(asked.path),
            "-",
        ).stderr
        return said if "unknown version" in said else ""


class Cri2(_Built, Cri):
    """A node with containerd 2.x, which applies CDI itself, as it is shipped."""

    name = "cri2"
    template = _CONFIG
    importing = ("--local",)  # the transfer service knows the overlay's snapshotter alone

    def start(self) -> None:
        watched = self.folder / "watched"
        watched.write_text(_WATCHED.format(program=self.shim.program))
        watched.chmod(0o755)
        super().start()


class Cri2Other(Cri2):
    """The same with devices that containerd leaves to pyshim."""

    name = "cri2other"
    prefix = "pyshim.test"
