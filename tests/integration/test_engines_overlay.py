"""Read-only containers of containerd, Docker and Podman with hooks.readonly_rootfs = "overlay"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.integration.conftest import DATA, TOKEN
from tests.integration.engines import Containerd, Docker, Engine, Podman
from tools.lab import driver, leaks
from tools.lab.driver import MULTIARCH
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.lab.compiler import Compiler

pytestmark = [pytest.mark.root, pytest.mark.engine]

KIND = "nvidia.com/gpu"


@pytest.fixture(scope="module", params=[Containerd, Docker, Podman], ids=lambda kind: kind.name)
def daemon(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    busybox: Path,
) -> Iterator[Engine]:
    """The engine, running, whose containers are read-only."""
    for program in request.param.programs:
        need(program)
    folder = tmp_path_factory.mktemp(request.param.name)
    engine: Engine = request.param(folder / "engine", Shim(folder / "pyshim", "runc"), TOKEN)
    ask = engine.ask
    engine.ask = lambda device: [*ask(device), "--read-only"]  # type: ignore[method-assign]
    try:
        engine.start()
        engine.run(busybox, "true", "")
        yield engine
    finally:
        engine.stop()


def test_a_read_only_container_finds_its_libraries(
    daemon: Engine,
    lowlevel: Path,
    glibc: Path,
    compiler: Compiler,
    tmp_path: Path,
) -> None:
    """The second start sees nothing of the first, and the host no mount of either."""
    daemon.shim.lowlevel = str(lowlevel)
    daemon.shim.configure({**daemon.settings(KIND), "hooks.readonly_rootfs": "overlay"})
    text = driver.text_of(DATA / "nvidia-dgx-a100.yaml", tmp_path / "driver")
    daemon.shim.add_spec("nvidia.yaml", text)
    driver.build(text, compiler)
    before = leaks.mounts()
    script = "load libcuda.so.1 libvdpau_nvidia.so.1; touch /new"
    for _ in range(2):
        result = daemon.run(glibc, script, f"{KIND}=all")
        assert result.stdout.splitlines() == [
            f"libcuda.so.1 => /usr/lib/{MULTIARCH}/libcuda.so.1",
            f"libvdpau_nvidia.so.1 => /usr/lib/{MULTIARCH}/vdpau/libvdpau_nvidia.so.1",
        ], result
        assert "Read-only file system" in result.stderr
    assert leaks.mounts() == before
    assert "skipped" not in daemon.shim.warnings
