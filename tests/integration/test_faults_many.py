"""Many containers at once on a small machine: all come up, and what is counted afterwards is the same.

The fixture of all integration tests counts mounts, processes, control groups and files.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import libs
from tests.conftest import need
from tools.lab import gvisor, images, leaks

if TYPE_CHECKING:
    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

_PATIENCE = 200.0  # seconds for one command among 200
ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}


@pytest.fixture(params=["runc", "runsc"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """One that runs hooks, and one before which pyshim does."""
    program = need(request.param)
    if request.param == "runsc":
        return gvisor.wrapper(tmp_path / "runsc", program)
    return lowlevels["runc"]


def _bundle(node: Node, first: Bundle, name: str, root: Path | None) -> Bundle:
    """A bundle like `first`; its rootfs is `root`, or a copy of the first's."""
    bundle = type(first)(node.folder / name)
    spec = first.spec
    spec["linux"]["cgroupsPath"] = f"/{name}"
    if root is not None:
        spec["root"]["path"] = str(root)
    else:
        # Links: hooks replace files and do not write into them.
        subprocess.run(["cp", "-al", first.rootfs, bundle.rootfs], check=True)
    bundle.write(spec)
    return bundle


def test_create_and_delete_at_once(node: Node, busybox: Path) -> None:
    is_runc = Path(node.shim.lowlevel).name == "runc"
    count = 200 if is_runc else 12
    node.shim.configure({"hooks.timeout": 100})  # a hook shares two cores with 200 others
    node.add_spec("nvidia-dgx-a100.yaml")
    first = node.bundle(busybox, "true", annotations=ALL)
    bundles = {
        name: _bundle(node, first, name, None)
        for name in (f"{node.container}-{number:03}" for number in range(count))
    }

    def live(name: str) -> list[Result]:
        # runsc waits for a sandbox that ended, and nobody else may: it must be its parent.
        start = "create" if is_runc else "run"
        pid_file = node.folder / f"{name}.pid"
        options = ("--bundle", str(bundles[name].path), "--pid-file", str(pid_file))
        done = [node.shim.call(start, *options, name, timeout=_PATIENCE)]
        if done[0].returncode and not done[0].stderr.startswith("pyshim: "):
            # runc copies itself to sealed memory, for which a busy kernel has no time (EBUSY).
            done = [node.shim.call(start, *options, name, timeout=_PATIENCE)]
        if is_runc and not done[0].returncode:
            done.append(node.shim.call("kill", name, "KILL", timeout=_PATIENCE))
            _wait(int(pid_file.read_text()))
        return [*done, node.shim.call("delete", "--force", name, timeout=_PATIENCE)]

    with ThreadPoolExecutor(max_workers=count) as pool:
        results = list(pool.map(live, bundles))
    failed = [result for called in results for result in called if result.returncode]
    assert not failed
    assert all((bundle.rootfs / "etc/ld.so.cache").exists() for bundle in bundles.values())
    shutil.rmtree(first.rootfs)


def _wait(pid: int) -> None:
    """Wait for the end of a process, as engines do before they delete its container.

    runc 1.1 tries for 0.3 s to remove the control group of one that it killed itself, and leaves
    it: with and without pyshim, on a machine with more to do.
    """
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            assert select.select([handle], [], [], _PATIENCE)[0]
        finally:
            os.close(handle)


# A low-level runtime that says what it sees of the layer, and stays.
_HOLDS = """#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char path[4096], target[64] = {0};
  int creates = 0;
  for (int i = 1; i < argc; i++) creates |= !strcmp(argv[i], "create");
  if (!creates) { puts("holds 1"); return 0; }
  snprintf(path, sizeof path, "%s/made", getenv("ROOTFS"));
  readlink(path, target, sizeof target - 1);
  int ready = open(getenv("READY"), O_WRONLY | O_APPEND);
  dprintf(ready, "%s %d\\n", target, access(getenv("ROOTFS"), W_OK));
  close(ready);
  for (;;) pause();
}"""


@pytest.mark.parametrize("lowlevel", ["runc"], indirect=True)
def test_500_layers(node: Node, busybox: Path) -> None:
    """Each sees its own, the host none; with the last process the last is gone."""
    need(images.MAKERS["erofs"][0])
    node.shim.lowlevel = str(libs.static_program(_HOLDS))
    node.shim.configure({"hooks.readonly_rootfs": "overlay", "hooks.executor": "shim"})
    ready = node.folder / "ready"
    ready.touch()
    root = node.folder / "image"
    node.shim.environment |= {"ROOTFS": str(root), "READY": str(ready)}
    processes: list[subprocess.Popen[bytes]] = []
    with images.Mounts() as mounts:
        mounts.add("erofs", busybox, root)
        host = leaks.mounts()
        try:
            for number in range(500):
                processes.append(_hold(node, root, number))
                _wait_for(ready, number - 12)  # as many beside each other as get done in time
            _wait_for(ready, 500)
            assert leaks.mounts() == host
            assert sorted(ready.read_text().split()) == sorted(
                word for number in range(500) for word in (f"target{number}", "0")
            )
            assert not os.path.lexists(root / "made")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _hold(node: Node, root: Path, number: int) -> subprocess.Popen[bytes]:
    hook = {
        "path": "/usr/bin/nvidia-cdi-hook",
        "args": ["nvidia-cdi-hook", "create-symlinks", "--link", f"target{number}::/made"],
    }
    bundle = node.bundle(None, "true", root=str(root), hooks={"createContainer": [hook]})
    folder = bundle.path.rename(node.folder / f"bundle{number}")
    return subprocess.Popen(
        node.shim.argv("create", "--bundle", str(folder), f"c{number}"),
        env=node.shim.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _wait_for(ready: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while (found := ready.read_bytes().count(b"\n")) < count:
        assert time.monotonic() < deadline, f"{found} of {count}"
        time.sleep(0.01)
