"""Where `pyshimctl cdi generate` has its facts from: NVML, /proc without it, ldconfig's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ocishim.admin.generate import gpus, libraries
from ocishim.admin.host import Host

if TYPE_CHECKING:
    from pathlib import Path

UUIDS = ("GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1", "GPU-1d1d3726-3710-4d46-9425-1d66305d076c")
MIG = "MIG-6c2f0d1e-7f4a-5b1c-8d2e-3f4a5b6c7d8e"


class NVMLError(Exception):
    """What every function of NVML raises."""


class Nvml(ModuleType):
    """pynvml on a machine with two GPUs, the second split; minors against the order of indices."""

    def __init__(self, *, refuses: str = "") -> None:
        super().__init__("pynvml")
        self.refuses = refuses
        self.ended = 0
        self.__dict__.update(
            NVMLError=NVMLError,
            nvmlInit=lambda: self._answer("init", None),
            nvmlShutdown=self._end,
            nvmlDeviceGetCount=lambda: self._answer("count", 2),
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetPciInfo=lambda gpu: SimpleNamespace(busId=f"0000000{gpu}:C1:00.0"),
            nvmlDeviceGetUUID=lambda handle: MIG if handle == "mig" else UUIDS[handle].encode(),
            nvmlDeviceGetMinorNumber=lambda gpu: 1 - gpu,
            nvmlDeviceGetMaxMigDeviceCount=lambda gpu: self._answer("" if gpu else "split", 7),
            nvmlDeviceGetMigDeviceHandleByIndex=lambda _gpu, number: self._answer(
                "" if number == 2 else "split", "mig"
            ),
            nvmlDeviceGetGpuInstanceId=lambda _mig: 7,
            nvmlDeviceGetComputeInstanceId=lambda _mig: 0,
        )

    def _answer(self, question: str, answer: object) -> object:
        if question and question in {self.refuses, "split"}:
            raise NVMLError(question)
        return answer

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A machine we run on, with /proc of a driver whose second GPU is split."""
    monkeypatch.setattr(Host, "elsewhere", False)
    proc = tmp_path / "proc/driver/nvidia"
    for path, text in {
        "gpus/0000:c1:00.0/information": "GPU UUID: \t GPU-ffff\nDevice Minor: \t 0\n",
        "capabilities/gpu0/mig/gi7/access": "DeviceFileMinor: 66\nDeviceFileMode: 292\n",
        "capabilities/gpu0/mig/gi7/ci0/access": "DeviceFileMinor: 67\nDeviceFileMode: 292\n",
    }.items():
        (proc / path).parent.mkdir(parents=True, exist_ok=True)
        (proc / path).write_text(text)
    return Host(str(tmp_path))


def told(found: list[gpus.Gpu]) -> list[tuple[object, ...]]:
    return [
        (gpu.index, gpu.uuid, gpu.minor, gpu.bus, [(m.index, m.uuid, m.caps) for m in gpu.migs])
        for gpu in found
    ]


def test_nvml_is_asked_when_it_is_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert told(gpus.find(host)) == [
        (0, UUIDS[0], 1, "0000:c1:00.0", []),
        (1, UUIDS[1], 0, "0001:c1:00.0", [(2, MIG, [66, 67])]),
    ]
    assert nvml.ended == 1


@pytest.mark.parametrize("refuses", ["init", "count", "import"])
def test_proc_is_read_when_nvml_is_not_there(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    refuses: str,
) -> None:
    nvml = None if refuses == "import" else Nvml(refuses=refuses)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert told(gpus.find(host)) == [(0, "GPU-ffff", 0, "0000:c1:00.0", [(0, "", [66, 67])])]
    assert nvml is None or nvml.ended == (refuses == "count")


def test_another_machines_driver_is_not_asked(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Host, "elsewhere", True)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert [gpu.uuid for gpu in gpus.find(host)] == ["GPU-ffff"]


CACHE = """\
4 libs found in cache `/etc/ld.so.cache'
\tlibcuda.so.1 (libc6,x86-64) => /opt/nvidia/lib64/libcuda.so.1
\tlibcuda.so.1 (libc6,AArch64) => /opt/nvidia/arm/libcuda.so.1
\tlibcuda.so.1 (libc6) => /opt/nvidia/lib32/libcuda.so.1
\tlibc.so.6 (libc6,x86-64) => /opt/other/libc.so.6
"""


@pytest.mark.parametrize(
    ("machine", "folder"),
    [
        ("x86_64", "/opt/nvidia/lib64"),
        ("aarch64", "/opt/nvidia/arm"),
    ],
)
def test_folders_of_ldconfigs_cache_by_architecture(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    folder: str,
) -> None:
    for name in ("opt/nvidia/lib64", "opt/nvidia/arm", "opt/nvidia/lib32", "opt/other", "sbin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sbin/ldconfig").write_text("")
    (tmp_path / "sbin/ldconfig").chmod(0o755)
    asked: list[tuple[str, ...]] = []

    def run(_host: Host, *argv: str) -> object:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, CACHE, "")

    monkeypatch.setattr(Host, "run", run)
    found = libraries.folders(Host(str(tmp_path)), machine)
    assert [path for path in found if path.startswith("/opt")] == [folder]
    assert asked == [("/sbin/ldconfig", "-p")]


@pytest.mark.root
def test_a_root_whose_ldconfig_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/ldconfig").write_text("#!/nowhere\n")
    os.chmod(tmp_path / "sbin/ldconfig", 0o755)
    (tmp_path / "usr/lib64").mkdir(parents=True)
    assert libraries.folders(Host(str(tmp_path)), "x86_64") == ["/usr/lib64"]
