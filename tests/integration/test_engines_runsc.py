"""containerd starts gVisor through pyshim, by the shim it has for runc.

runsc of the backports: the one of Debian 12, 20221219, does not start that way, pyshim or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing, need
from tests.integration.conftest import DATA, TOKEN
from tests.integration.engines import Containerd
from tools.lab import driver, gvisor
from tools.lab.driver import MULTIARCH
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.lab.compiler import Compiler

pytestmark = [pytest.mark.root, pytest.mark.engine]

DEVICE = "nvidia.com/gpu=all"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Containerd]:
    """A running containerd."""
    need("runc")
    for program in Containerd.programs:
        need(program)
    folder = tmp_path_factory.mktemp("containerd")
    engine = Containerd(folder / "engine", Shim(folder / "pyshim", "runc"), TOKEN)
    try:
        engine.start()
        engine.run(busybox, "true", "")  # makes folders in /run that no test is to blame for
        yield engine
    finally:
        engine.stop()


@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "read-only"])
def test_a_program_loads_the_driver_by_name(
    daemon: Containerd,
    glibc: Path,
    compiler: Compiler,
    tmp_path: Path,
    readonly: bool,  # noqa: FBT001
) -> None:
    program = gvisor.backports()
    if not program:
        missing("runsc of the backports cannot be fetched")
    daemon.shim.lowlevel = str(gvisor.wrapper(tmp_path / "runsc", program))
    daemon.shim.configure({"hooks.readonly_rootfs": "overlay"})
    ask = Containerd.ask
    daemon.ask = lambda device: [  # type: ignore[method-assign]
        *ask(daemon, device),
        *(["--read-only"] if readonly else []),
    ]
    text = driver.text_of(DATA / "nvidia-dgx-a100.yaml", tmp_path / "driver")
    daemon.shim.add_spec("nvidia.yaml", text)
    driver.build(text, compiler)

    result = daemon.run(glibc, "load libcuda.so.1 libvdpau_nvidia.so.1; dmesg | head -1", DEVICE)

    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"libcuda.so.1 => /usr/lib/{MULTIARCH}/libcuda.so.1",
        f"libvdpau_nvidia.so.1 => /usr/lib/{MULTIARCH}/vdpau/libvdpau_nvidia.so.1",
    ], result
    assert "Starting gVisor" in lines[2]
