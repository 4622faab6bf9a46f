"""NVIDIA GPUs and MIG devices of a host, as nvidia-smi counts them.

Asked in this order: NVML by nvidia-ml-py where an interpreter has it, the driver's own nvidia-smi,
and /proc and sysfs, which know no uuid of a MIG device. Whoever does not answer is told of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ocishim.admin.editing import files
from ocishim.admin.generate import smi
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_PROC = "/proc/driver/nvidia"


@dataclass
class Mig:
    """A MIG device: its place on the GPU, its uuid ("" when unknown), its instances' ids."""

    index: int
    uuid: str
    instances: tuple[int, int]


@dataclass
class Gpu:
    """A GPU: index as nvidia-smi counts, uuid, minor of /dev/nvidiaN, PCI address, MIG devices.

    split: MIG mode is on, so that it is used through its MIG devices alone. model: its name, ""
    when nobody told.
    """

    index: int
    uuid: str
    minor: int
    bus: str
    migs: list[Mig] = field(default_factory=list)
    split: bool = False
    model: str = ""


def find(host: Host, asked: smi.Smi | None, report: Report) -> list[Gpu]:
    """Return the host's GPUs in order of their index.

    host: where /proc/driver/nvidia is; asked: the driver's nvidia-smi, if it has one.
    """
    if not host.elsewhere:
        found = _from_nvml(report)
        if found is not None:
            return found
    if asked:
        try:
            found = _from_smi(host, asked, report)
            report.source = f"{asked.program} -q -x"
            return found  # noqa: TRY300 - what raises is the question
        except ConfigError as err:
            report.unanswered = err.message
            report.tell(f"the GPUs are those of {_PROC}, since {err.message}")
    report.source = _PROC
    return find_in_proc(host, report)


def models(host: Host) -> list[str]:
    """Return the names of the GPUs in /proc/driver/nvidia."""
    return [gpu.model for gpu in find_in_proc(host, Report()) if gpu.model]


def caps(host: Host, gpu: Gpu, mig: Mig) -> list[int]:
    """Return the minors of the /dev/nvidia-caps nodes of a MIG device: of both its instances."""
    gi, ci = mig.instances
    base = f"{_PROC}/capabilities/gpu{gpu.minor}/mig/gi{gi}"
    texts = [files.text(host, path) for path in (f"{base}/access", f"{base}/ci{ci}/access")]
    minors = [re.search(r"DeviceFileMinor:\s*(\d+)", text) for text in texts]
    return [int(minor[1]) for minor in minors if minor]


def _from_nvml(report: Report) -> list[Gpu] | None:
    """Ask NVML; None when its Python binding is not there, or NVML refuses, which is told."""
    try:
        import pynvml  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            found = [_ask(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as err:
        report.tell(f"NVML (nvidia-ml-py) does not answer: {err}")
        return None
    report.source = "NVML (nvidia-ml-py)"
    return found


def _ask(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    gpu = Gpu(
        index,
        _text(nvml.nvmlDeviceGetUUID(handle)),
        int(nvml.nvmlDeviceGetMinorNumber(handle)),
        _bus(_text(nvml.nvmlDeviceGetPciInfo(handle).busId)),
        model=_text(nvml.nvmlDeviceGetName(handle)),
    )
    try:
        gpu.split = bool(nvml.nvmlDeviceGetMigMode(handle)[0])
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if gpu.split else 0
    except nvml.NVMLError:  # a GPU without MIG
        return gpu
    for number in range(count):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # no instance there
            continue
        ids = nvml.nvmlDeviceGetGpuInstanceId(mig), nvml.nvmlDeviceGetComputeInstanceId(mig)
        gpu.migs.append(Mig(number, _text(nvml.nvmlDeviceGetUUID(mig)), ids))
    return gpu


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bus(text: str) -> str:
    """Return sysfs' form of a PCI address: NVML has eight digits of domain, sysfs at least four."""
    domain, sign, rest = text.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}{sign}{rest}"
    except ValueError:
        return ""


def _from_smi(host: Host, asked: smi.Smi, report: Report) -> list[Gpu]:
    minors = {gpu.bus: gpu.minor for gpu in find_in_proc(host, Report())}
    found = []
    for index, told in enumerate(smi.children(asked.log(), "gpu")):
        bus = _bus(smi.value(told, "pci", "pci_bus_id"))
        minor = smi.value(told, "minor_number")
        number = int(minor) if minor.isdigit() else minors.get(bus, index)
        gpu = Gpu(index, smi.value(told, "uuid"), number, bus)
        gpu.split = smi.value(told, "mig_mode", "current_mig") == "Enabled"
        gpu.model = smi.value(told, "product_name")
        for group in smi.children(told, "mig_devices"):
            gpu.migs += [_mig(one) for one in smi.children(group, "mig_device")]
        found.append(gpu)
    if asked.complaint:
        report.tell(asked.complaint)
    if any(not mig.uuid for gpu in found for mig in gpu.migs):
        _add_uuids(found, asked, report)
    return found


def _mig(told: smi.Element) -> Mig:
    words = [smi.value(told, tag) for tag in ("index", "gpu_instance_id", "compute_instance_id")]
    if not all(word.isdigit() for word in words):
        raise ConfigError("nvidia-smi tells of a MIG device without index and instances")
    index, gi, ci = map(int, words)
    return Mig(index, smi.value(told, "uuid"), (gi, ci))


def _add_uuids(found: list[Gpu], asked: smi.Smi, report: Report) -> None:
    try:
        uuids = asked.mig_uuids()
    except ConfigError as err:
        report.tell(f"the uuids of MIG devices are not known: {err.message}")
        return
    for gpu in found:
        for mig in gpu.migs:
            mig.uuid = mig.uuid or uuids.get((gpu.index, mig.index), "")


def find_in_proc(host: Host, report: Report) -> list[Gpu]:
    """Return the GPUs of /proc/driver/nvidia of that root, and of no other."""
    found: list[Gpu] = []
    for name in sorted(host.listdir(f"{_PROC}/gpus"), key=_address):
        facts = files.text(host, f"{_PROC}/gpus/{name}/information")
        if re.search(r"GPU Excluded:\s*Yes", facts):
            what = f"GPU {name} is left out: the driver excludes it"
            report.leave_out(what, "take it out of NVreg_ExcludedGpus, an option of module nvidia")
            continue
        minor = re.search(r"Device Minor:\s*(\d+)", facts)
        uuid = re.search(r"GPU UUID:\s*(GPU-[0-9a-fA-F-]+)", facts)
        number = int(minor[1]) if minor else len(found)
        gpu = Gpu(len(found), uuid[1] if uuid else "", number, _bus(name))
        gpu.migs = _migs_from_proc(host, gpu.minor)
        gpu.split = bool(gpu.migs)
        model = re.search(r"Model:\s*(.+)", facts)
        gpu.model = model[1] if model else ""
        found.append(gpu)
    return found


def _address(name: str) -> tuple[int, str]:
    domain, _, rest = name.partition(":")
    return int(domain, 16) if re.fullmatch(r"[0-9a-fA-F]+", domain) else 0, rest


def _migs_from_proc(host: Host, minor: int) -> list[Mig]:
    """Return the compute instances the capabilities tell of; their uuids only NVML knows."""
    base = f"{_PROC}/capabilities/gpu{minor}/mig"
    ids = [
        (gi, ci)
        for gi in _numbered(host, base, "gi")
        for ci in _numbered(host, f"{base}/gi{gi}", "ci")
    ]
    return [Mig(index, "", pair) for index, pair in enumerate(ids)]


def _numbered(host: Host, folder: str, prefix: str) -> list[int]:
    names = [name.removeprefix(prefix) for name in host.listdir(folder)]
    return sorted(int(name) for name in names if name.isdigit())
