"""NVIDIA GPUs and MIG devices of a host: from NVML when it is there, else from /proc and sysfs."""

from __future__ import annotations

import os
import re
from typing import Any

from ocishim.admin.host import Host

_PROC = "/proc/driver/nvidia"


class Mig:
    """One MIG device: its place on the GPU, its uuid ("" when unknown), its capability minors."""

    __slots__ = ("caps", "index", "uuid")

    def __init__(self, index: int, uuid: str, caps: list[int]) -> None:
        self.index = index
        self.uuid = uuid
        self.caps = caps


class Gpu:
    """One GPU: index as nvidia-smi counts, uuid, minor of /dev/nvidiaN, PCI address, MIGs."""

    __slots__ = ("bus", "index", "migs", "minor", "uuid")

    def __init__(self, index: int, uuid: str, minor: int, bus: str) -> None:
        self.index = index
        self.uuid = uuid
        self.minor = minor
        self.bus = bus
        self.migs: list[Mig] = []


def find(host: Host) -> list[Gpu]:
    """Return the host's GPUs in order of their index."""
    if not host.elsewhere:
        found = _from_nvml(host)
        if found is not None:
            return found
    return _from_proc(host)


def _from_nvml(host: Host) -> list[Gpu] | None:
    """Ask NVML; None when the library or its Python binding is not there, or it refuses."""
    try:
        import pynvml  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return [_ask(pynvml, host, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _ask(nvml: Any, host: Host, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    bus = _text(nvml.nvmlDeviceGetPciInfo(handle).busId).lower()
    gpu = Gpu(
        index,
        _text(nvml.nvmlDeviceGetUUID(handle)),
        int(nvml.nvmlDeviceGetMinorNumber(handle)),
        bus[-12:],  # NVML has eight digits of domain, sysfs four
    )
    try:
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:
        return gpu
    for number in range(count):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:
            continue
        gi = nvml.nvmlDeviceGetGpuInstanceId(mig)
        ci = nvml.nvmlDeviceGetComputeInstanceId(mig)
        caps = _mig_caps(host, gpu.minor, gi, ci)
        gpu.migs.append(Mig(number, _text(nvml.nvmlDeviceGetUUID(mig)), caps))
    return gpu


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _from_proc(host: Host) -> list[Gpu]:
    found = []
    for index, bus in enumerate(_listdir(host, f"{_PROC}/gpus")):
        facts = _read(host, f"{_PROC}/gpus/{bus}/information")
        minor = re.search(r"Device Minor:\s*(\d+)", facts)
        uuid = re.search(r"GPU UUID:\s*(GPU-[0-9a-fA-F-]+)", facts)
        gpu = Gpu(
            index, uuid[1] if uuid else "", int(minor[1]) if minor else index, bus.lower()[-12:]
        )
        gpu.migs = _migs_from_proc(host, gpu.minor)
        found.append(gpu)
    return found


def _migs_from_proc(host: Host, minor: int) -> list[Mig]:
    """Return the compute instances the capabilities tell of; their uuids only NVML knows."""
    base = f"{_PROC}/capabilities/gpu{minor}/mig"
    found: list[Mig] = []
    for gi in _numbered(host, base, "gi"):
        for ci in _numbered(host, f"{base}/gi{gi}", "ci"):
            found.append(Mig(len(found), "", _mig_caps(host, minor, gi, ci)))
    return found


def _mig_caps(host: Host, minor: int, gi: int, ci: int) -> list[int]:
    """Return the minors of the two /dev/nvidia-caps nodes that open a compute instance."""
    base = f"{_PROC}/capabilities/gpu{minor}/mig/gi{gi}"
    texts = [_read(host, path) for path in (f"{base}/access", f"{base}/ci{ci}/access")]
    minors = [re.search(r"DeviceFileMinor:\s*(\d+)", text) for text in texts]
    return [int(minor[1]) for minor in minors if minor]


def _numbered(host: Host, folder: str, prefix: str) -> list[int]:
    names = [name.removeprefix(prefix) for name in _listdir(host, folder)]
    return sorted(int(name) for name in names if name.isdigit())


def _listdir(host: Host, path: str) -> list[str]:
    try:
        return sorted(os.listdir(host.real(path)))
    except OSError:
        return []


def _read(host: Host, path: str) -> str:
    try:
        with open(host.real(path), encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
