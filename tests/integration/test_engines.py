"""containerd, Docker and Podman start containers through pyshim, on runc and crun.

Each engine's daemon is this test's own. Failures are compared with the text that the engine's
user reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import DATA, TOKEN
from tests.integration.containerd2 import Containerd2
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


ENGINES = (Containerd, Containerd2, Docker, Podman)


@pytest.fixture(scope="module", params=ENGINES, ids=lambda kind: kind.name)
def daemon(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    busybox: Path,
) -> Iterator[Engine]:
    """The engine, running; what it leaves after its stop is an error of this test module."""
    request.param.is_there()
    folder = tmp_path_factory.mktemp(request.param.name)
    before = leaks.snapshot(TOKEN, str(folder))
    engine: Engine = request.param(folder / "engine", Shim(folder / "pyshim", "runc"), TOKEN)
    try:
        engine.start()
        # Engines make folders in /run with their first container; no test is to blame.
        engine.run(busybox, "true", "")
        yield engine
    finally:
        engine.stop()
    left = {
        what for what in leaks.snapshot(TOKEN, str(folder)) - before if "file /run/" not in what
    }
    assert not left, "left by the engine:\n" + "\n".join(sorted(left))


@pytest.fixture
def engine(daemon: Engine, lowlevel: Path) -> Engine:
    """The engine with pyshim on each low-level runtime, and an empty spec dir."""
    if reason := daemon.refuses(lowlevel):
        pytest.skip(f"{lowlevel.name} before {daemon.name}, without pyshim too: {reason}")
    daemon.shim.lowlevel = str(lowlevel)
    daemon.shim.configure(daemon.settings(KIND))
    for spec in daemon.shim.spec_dir.iterdir():
        spec.unlink()
    return daemon


def _add_gpus(engine: Engine, compiler: Compiler, tmp_path: Path) -> driver.Document:
    text = driver.text_of(DATA / "nvidia-dgx-a100.yaml", tmp_path / "driver")
    engine.shim.add_spec("nvidia.yaml", text)
    return driver.build(text, compiler)


def test_a_container_gets_its_device(
    engine: Engine,
    glibc: Path,
    compiler: Compiler,
    tmp_path: Path,
) -> None:
    _add_gpus(engine, compiler, tmp_path)
    script = "ls /dev | grep nvidia; env | grep NVIDIA_VIS; load libvdpau_nvidia.so.1 libcuda.so.1"

    result = engine.run(glibc, script, f"{KIND}=1")

    assert result.returncode == 0, result
    assert result.stdout.splitlines() == [
        *("nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidia1", "nvidiactl"),
        "NVIDIA_VISIBLE_DEVICES=void",
        f"libvdpau_nvidia.so.1 => /usr/lib/{MULTIARCH}/vdpau/libvdpau_nvidia.so.1",
        f"libcuda.so.1 => /usr/lib/{MULTIARCH}/libcuda.so.1",
    ]
    assert result.stderr == ""


def test_the_exit_status_is_the_containers(engine: Engine, busybox: Path) -> None:
    assert engine.run(busybox, "exit 7", "").returncode == 7


def test_unresolvable_device(
    engine: Engine,
    busybox: Path,
    compiler: Compiler,
    tmp_path: Path,
) -> None:
    _add_gpus(engine, compiler, tmp_path)

    result = engine.run(busybox, "true", f"{KIND}=7")

    assert result.returncode != 0
    message = (
        f"pyshim: unresolvable CDI devices {KIND}=7: {KIND} has no device 7, "
        f"nearest {KIND}=1, {KIND}=0, {KIND}=all; "
        f"looked in {engine.shim.spec_dir} (1 file) (run 'pyshimctl cdi list')"
    )
    assert message in engine.told(result)


def test_broken_spec(engine: Engine, busybox: Path) -> None:
    broken = f"cdiVersion: 0.5.0\nkind: {KIND}\ndevices: 7\n"
    path = engine.shim.add_spec("broken.yaml", broken)

    result = engine.run(busybox, "true", f"{KIND}=0")

    assert result.returncode != 0
    message = (
        f"pyshim: unresolvable CDI devices {KIND}=0: {path}, which mentions {KIND}, is rejected: "
        "expected array, found integer in 'devices' (cdiVersion 0.5.0); "
        f"looked in {engine.shim.spec_dir} (1 file) (run 'pyshimctl cdi validate {path}')"
    )
    assert message in engine.told(result)


def test_failing_hook(engine: Engine, busybox: Path) -> None:
    """A vendor's hook that fails is the low-level runtime's error, which names what it has."""
    engine.shim.add_spec(
        "hook.yaml",
        f"""cdiVersion: 0.5.0
kind: {KIND}
devices:
- name: "0"
  containerEdits:
    hooks:
    - hookName: createContainer
      path: /bin/sh
      args: ["sh", "-c", "cat >/dev/null; echo the vendor says no >&2; exit 3"]
""",
    )

    result = engine.run(busybox, "true", f"{KIND}=0")

    assert result.returncode != 0
    # runc tells what the hook wrote; crun drops it and names its program.
    reason = "the vendor says no" if engine.shim.lowlevel.endswith("runc") else "/bin/sh"
    assert reason in engine.told(result)
