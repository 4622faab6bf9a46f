"""Where `pyshimctl cdi generate` has its facts from: NVML, /proc without it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ocishim.admin.generate import gpus
from ocishim.admin.generate.report import Report
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
            nvmlDeviceGetName=lambda gpu: f"NVIDIA H{gpu}",
            nvmlDeviceGetUUID=lambda handle: MIG if handle == "mig" else UUIDS[handle].encode(),
            nvmlDeviceGetMinorNumber=lambda gpu: 1 - gpu,
            nvmlDeviceGetMigMode=lambda gpu: self._answer("" if gpu else "split", [1, 1]),
            nvmlDeviceGetMaxMigDeviceCount=lambda _gpu: 7,
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
        self._answer("shutdown", None)


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
        (
            gpu.index,
            gpu.uuid,
            gpu.minor,
            gpu.bus,
            [(m.index, m.uuid, m.instances) for m in gpu.migs],
        )
        for gpu in found
    ]


def test_nvml_is_asked_when_it_is_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    report = Report()
    found = gpus.find(host, None, report)
    assert told(found) == [
        (0, UUIDS[0], 1, "0000:c1:00.0", []),
        (1, UUIDS[1], 0, "0001:c1:00.0", [(2, MIG, (7, 0))]),
    ]
    assert gpus.caps(host, found[1], found[1].migs[0]) == [66, 67]
    assert (nvml.ended, report.source) == (1, "NVML (nvidia-ml-py)")


@pytest.mark.parametrize("refuses", ["init", "count", "shutdown", "import"])
def test_proc_is_read_when_nvml_is_not_there(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    refuses: str,
) -> None:
    nvml = None if refuses == "import" else Nvml(refuses=refuses)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    report = Report()
    found = gpus.find(host, None, report)
    assert told(found) == [(0, "GPU-ffff", 0, "0000:c1:00.0", [(0, "", (7, 0))])]
    assert nvml is None or nvml.ended == (refuses != "init")
    expected = [f"NVML (nvidia-ml-py) does not answer: {refuses}"] if nvml else []
    assert (report.told, report.source) == (expected, "/proc/driver/nvidia")


def test_another_machines_driver_is_not_asked(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Host, "elsewhere", True)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert [gpu.uuid for gpu in gpus.find(host, None, Report())] == ["GPU-ffff"]
