"""What may be wrong with the host's ldconfig, and hooks that die: told by every runtime that can.

crun shows no hook's output; what it does not say, pyshim's hook has said in pyshim's own log only
for warnings. It still fails, and leaves no container.
"""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import libs
from tests.conftest import need
from tools.lab import gvisor

if TYPE_CHECKING:
    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

DEVICE = {"cdi.k8s.io/test": "acme.com/gpu=0"}
_FAILS = """#include <stdio.h>
int main(void) { fputs("no luck\\n", stderr); return 7; }"""
_HANGS = "#include <unistd.h>\nint main(void) { for (;;) pause(); }"
_DIES = "int main(void) { *(volatile int *)0 = 0; }"
_MACHINE_AT = 18  # e_machine in the ELF header


@pytest.fixture(params=["runc", "crun", "runsc"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """Two that run hooks, and one before which pyshim does."""
    program = need(request.param)
    if request.param == "runsc":
        return gvisor.wrapper(tmp_path / "runsc", program)
    return lowlevels[request.param]


def _foreign(folder: Path) -> Path:
    data = bytearray(libs.static_program(_FAILS).read_bytes())
    struct.pack_into("<H", data, _MACHINE_AT, 243)  # EM_RISCV
    path = folder / "ldconfig-of-riscv"
    path.write_bytes(data)
    path.chmod(0o755)
    return path


MESSAGES = {
    "fails": "ldconfig: exit status 7: no luck",
    "is killed": "ldconfig: killed by signal 11",
    "is another machine's": "of the host: ",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_ldconfig(node: Node, busybox: Path, what: str) -> None:
    program = {
        "fails": lambda: libs.static_program(_FAILS),
        "is killed": lambda: libs.static_program(_DIES),
        "is another machine's": lambda: _foreign(node.folder),
    }[what]()
    _add_device(node, "/usr/bin/nvidia-cdi-hook", "update-ldcache", "--ldconfig-path", str(program))
    _fails(node, busybox, "createContainer hook update-ldcache failed: ", MESSAGES[what])


@pytest.mark.parametrize("what", ["is not there", "hangs"])
def test_a_host_without_ldconfig(node: Node, glibc: Path, what: str) -> None:
    """The image's own loader finds a library by the cache that pyshim made."""
    path = "/no/ldconfig" if what == "is not there" else str(libs.static_program(_HANGS))
    args = ["--ldconfig-path", path, "--folder", "/opt/driver"]
    _add_device(node, "/usr/bin/nvidia-cdi-hook", "update-ldcache", *args, timeout=8)
    bundle = node.bundle(glibc, "/bin/load libpyshim.so.1", annotations=DEVICE)
    libs.put(libs.library("libpyshim.so.1"), bundle.rootfs / "opt/driver/libpyshim.so.1.2")
    result = node.shim.run(bundle, node.container)
    found = "libpyshim.so.1 => /opt/driver/libpyshim.so.1\n"
    assert (result.returncode, result.stdout) == (0, found), result


def test_a_hook_is_killed(node: Node, busybox: Path) -> None:
    _add_device(node, "/bin/sh", "-c", "kill -9 $$")
    _fails(node, busybox, "signal", "9" if "runsc" in node.shim.lowlevel else "killed")


def _add_device(node: Node, path: str, *args: str, timeout: int = 2) -> None:
    hook = {"hookName": "createContainer", "path": path, "args": [Path(path).name, *args]}
    edits = {"hooks": [{**hook, "timeout": timeout}]}
    device = {"name": "0", "containerEdits": edits}
    document = {"cdiVersion": "0.5.0", "kind": "acme.com/gpu", "devices": [device]}
    node.shim.add_spec("acme.json", json.dumps(document))


def _fails(node: Node, busybox: Path, *says: str) -> None:
    bundle = node.bundle(busybox, "true", annotations=DEVICE)
    begun = time.monotonic()
    result = node.shim.create(bundle, node.container)
    assert time.monotonic() - begun < 60
    assert result.returncode == 1
    if Path(node.shim.lowlevel).name != "crun":
        assert all(text in result.stderr for text in says), result
    assert not (bundle.rootfs / "etc/ld.so.cache").exists()
    assert node.shim.call("state", node.container).returncode != 0
