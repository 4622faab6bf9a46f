"""Which GPUs a spec has: as the driver's nvidia-smi counts them, or /proc; their nodes; AMD's."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocishim.admin.generate import amd, nvidia, smi
from ocishim.admin.generate.report import Report
from ocishim.errors import ConfigError
from tools.lab.driverroot import BUS, VERSION, DriverRoot

pytestmark = pytest.mark.root

GPU = """<gpu id="00000000:{bus}">
<product_name>NVIDIA A100 &amp; more</product_name>
<mig_mode><current_mig>{mode}</current_mig><pending_mig>{mode}</pending_mig></mig_mode>
<mig_devices>{migs}</mig_devices>
<uuid>{uuid}</uuid><minor_number>{minor}</minor_number>
<pci><pci_bus>01</pci_bus><pci_bus_id>00000000:{bus}</pci_bus_id></pci>
<processes></processes><empty/></gpu>
"""
MIG = """<mig_device><index>{0}</index><gpu_instance_id>{1}</gpu_instance_id>
<compute_instance_id>{2}</compute_instance_id>
<device_attributes><shared><multiprocessor_count>14</multiprocessor_count></shared></device_attributes>
</mig_device>
"""
LISTED = """GPU 0: NVIDIA A100 (UUID: GPU-zero)
GPU 1: NVIDIA A100 (UUID: GPU-one)
  MIG 3g.20gb     Device  0: (UUID: MIG-first)
  MIG 1g.5gb      Device  1: (UUID: MIG-second)
"""
HEAD = '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n'


def log(*gpus: str) -> str:
    body = f"<driver_version>{VERSION}</driver_version>{''.join(gpus)}"
    return f"{HEAD}<nvidia_smi_log>\n{body}</nvidia_smi_log>\n"


def one(
    uuid: str, minor: str = "0", bus: str = "01:00.0", migs: str = "None", mode: str = "Disabled"
) -> str:
    return GPU.format(uuid=uuid, minor=minor, bus=bus, migs=migs, mode=mode)


SPLIT = one(
    "GPU-one", "1", "02:00.0", MIG.format(0, 2, 0) + MIG.format(1, 9, 0), mode="Enabled"
)  # fmt: skip


def smi_program(root: DriverRoot, xml: str, listed: str = LISTED) -> None:
    root.write("/xml", xml)
    root.write("/listed", listed)
    files = f"case $1 in -L) cat {root.root}/listed;; -q) cat {root.root}/xml;; esac"
    root.program("/usr/bin/nvidia-smi", f"#!/bin/sh\n{files}\n")


@pytest.fixture
def root(tmp_path: Path) -> DriverRoot:
    """Return a root with a driver and one GPU."""
    tree = DriverRoot(tmp_path / "root")
    tree.host()
    tree.core()
    tree.compilers()
    return tree


def split(root: DriverRoot) -> None:
    """Make a second GPU with two instances."""
    root.gpu(1, "0000:02:00.0")
    for gi, caps in ((2, (20, 21)), (9, (30, 31))):
        root.mig(1, gi, 0, caps)
        for cap in caps:
            root.node(f"/dev/nvidia-caps/nvidia-cap{cap}", mode=0o444)


def generate(root: DriverRoot, **chosen: Any) -> tuple[Report, dict[str, list[str]]]:
    generator = nvidia.Generator(driver_root=str(root.root), machine="x86_64", **chosen)
    devices = generator.generate(with_all=False)[0]
    return generator.report, {
        name: [node["path"] for node in edits.deviceNodes] for name, edits in devices.items()
    }


def test_nvidia_smi_says_which_there_are(root: DriverRoot) -> None:
    split(root)
    smi_program(root, log(one("GPU-zero"), SPLIT))
    report, devices = generate(root)
    caps = "/dev/nvidia-caps/nvidia-cap"
    assert devices == {
        "0": ["/dev/nvidia0"],
        "GPU-zero": ["/dev/nvidia0"],
        "1:0": ["/dev/nvidia1", f"{caps}20", f"{caps}21"],
        "MIG-first": ["/dev/nvidia1", f"{caps}20", f"{caps}21"],
        "1:1": ["/dev/nvidia1", f"{caps}30", f"{caps}31"],
        "MIG-second": ["/dev/nvidia1", f"{caps}30", f"{caps}31"],
    }
    assert (report.source, report.told, report.missing) == ("/usr/bin/nvidia-smi -q -x", [], [])


def test_its_indices_are_not_the_nodes_numbers(root: DriverRoot) -> None:
    root.gpu(1, "0000:02:00.0")
    smi_program(root, log(one("GPU-a", "1", "02:00.0"), one("GPU-b", "0")))
    assert generate(root, namings=("index",))[1] == {"0": ["/dev/nvidia1"], "1": ["/dev/nvidia0"]}


def test_a_minor_it_does_not_know_is_in_proc(root: DriverRoot) -> None:
    root.gpu(1, "0000:02:00.0")
    smi_program(root, log(one("GPU-a", "N/A", "02:00.0"), one("GPU-b", "N/A")))
    assert generate(root, namings=("index",))[1] == {"0": ["/dev/nvidia1"], "1": ["/dev/nvidia0"]}


def test_mig_mode_without_an_instance(root: DriverRoot) -> None:
    root.gpu(1, "0000:02:00.0")
    empty = one("GPU-one", "1", "02:00.0", mode="Enabled")
    smi_program(root, log(one("GPU-zero"), empty))
    report, devices = generate(root, namings=("index",))
    assert list(devices) == ["0"]
    assert report.told == ["GPU 1 is left out: MIG mode without an instance"]


def test_a_uuid_in_the_xml_is_enough(root: DriverRoot) -> None:
    split(root)
    xml = SPLIT.replace("<device_attributes>", "<uuid>MIG-x</uuid><device_attributes>", 1)
    smi_program(root, log(one("GPU-zero"), xml), "")
    report, devices = generate(root, namings=("uuid",))
    assert list(devices) == ["GPU-zero", "MIG-x"]
    assert [lack.what for lack in report.missing] == [
        "MIG device 1:1 is left out: its uuid is not known"
    ]


def test_a_uuid_that_is_no_name(root: DriverRoot) -> None:
    """Drivers before 470 name a MIG device MIG-GPU-uuid/2/0."""
    split(root)
    smi_program(
        root, log(SPLIT), LISTED.replace("GPU 1", "GPU 0").replace("MIG-first", "MIG-a/2/0")
    )
    report, devices = generate(root)
    assert list(devices) == ["0:0", "0:1", "MIG-second"]
    assert report.told == [
        "the uuid of MIG device 0:0 is no name for a spec: 'MIG-a/2/0': it has no name by uuid"
    ]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("#!/bin/sh\n", "-q -x does not answer in XML"),
        ("#!/bin/sh\necho '<a><b></a>'\n", "-q -x does not answer in XML"),
        ("#!/bin/sh\necho '<html></html>'\n", "-q -x does not answer in XML"),
        ("#!/bin/sh\necho one\necho two >&2\nexit 9\n", "-q -x: exit status 9: two"),
        (
            f"#!/bin/sh\necho '{log('<attached_gpus>2</attached_gpus><gpu/>')}GPU is lost'\nexit 15\n",
            "-q -x tells of 1 of 2 GPUs: exit status 15: GPU is lost",
        ),
        ("#!/no/such/shell\n", "cannot be run: the interpreter that it names does not exist"),
        ("#!/bin/sh\nsleep 30 &\nsleep 30\n", "-q -x did not end in 0.3 s"),
    ],
)
def test_what_nvidia_smi_lacks_is_told_and_proc_is_read(
    root: DriverRoot, monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    monkeypatch.setattr(smi, "LIMIT", 0.3 if "sleep" in program else 60.0)
    root.program("/usr/bin/nvidia-smi", program)
    report, devices = generate(root)
    assert list(devices) == ["0", "GPU-00000000-0000"]
    glue = " " if why.startswith(("-q", "cannot")) else ""
    assert report.told == [
        f"the GPUs are those of /proc/driver/nvidia, since /usr/bin/nvidia-smi{glue}{why}"
    ]
    assert report.source == "/proc/driver/nvidia"


def test_an_answer_counts_however_nvidia_smi_ends(root: DriverRoot) -> None:
    """Status 14 for a corrupted infoROM, which is not even the GPU's that is asked for."""
    split(root)
    smi_program(root, log(one("GPU-zero"), SPLIT))
    script = root.at("/usr/bin/nvidia-smi").read_text()
    root.program("/usr/bin/nvidia-smi", f"{script}echo WARNING: infoROM is corrupted\nexit 14\n")
    report, devices = generate(root, namings=("uuid",))
    assert list(devices) == ["GPU-zero", "MIG-first", "MIG-second"]
    assert report.told == [
        "/usr/bin/nvidia-smi -q -x: exit status 14: WARNING: infoROM is corrupted"
    ]
    assert report.source == "/usr/bin/nvidia-smi -q -x"


@pytest.mark.parametrize(
    "part",
    [
        "<processes><process_info><process_name>python <stdin></process_name></process_info></processes>",
        "<accounted_processes><process_name>a < b</process_name></accounted_processes>",
        "<supported_clocks></supported_mem_clock><supported_mem_clock></supported_clocks>",
    ],
)
def test_what_is_not_read_may_be_malformed(root: DriverRoot, part: str) -> None:
    smi_program(root, log(one("GPU-zero").replace("<processes></processes>", part)))
    assert generate(root)[0].source == "/usr/bin/nvidia-smi -q -x"


def test_what_hangs_is_ended_with_its_children(
    root: DriverRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smi, "LIMIT", 3.0)
    pid = root.at("/pid")
    root.program("/usr/bin/nvidia-smi", f"#!/bin/sh\nsleep 600 &\necho $! >{pid}\nwait\n")
    generate(root)
    status = Path(f"/proc/{int(pid.read_text())}/stat")
    end = time.monotonic() + 60
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < end:
        time.sleep(0.05)
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_gpu_that_the_driver_excludes(root: DriverRoot) -> None:
    root.gpu(1, "0000:00:1f.0", excluded=True)
    root.gpu(2, "0001:00:00.0")
    report, devices = generate(root, namings=("index",))
    assert devices == {"0": ["/dev/nvidia0"], "1": ["/dev/nvidia2"]}
    assert report.told[1:] == ["GPU 0000:00:1f.0 is left out: the driver excludes it"]


def test_a_gpu_without_its_node(root: DriverRoot) -> None:
    root.gpu(1, "0000:02:00.0")
    root.at("/dev/nvidia1").unlink()
    report, devices = generate(root, namings=("index",))
    assert list(devices) == ["0"]
    assert [(lack.what, lack.remedy) for lack in report.missing] == [(
        "GPU 1 is left out: no device node /dev/nvidia1",
        "run 'nvidia-modprobe -c=1', or start nvidia-persistenced",
    )]  # fmt: skip


def test_an_instance_without_its_nodes(root: DriverRoot) -> None:
    split(root)
    root.at("/dev/nvidia-caps/nvidia-cap21").unlink()
    report, devices = generate(root, namings=("index",))
    assert list(devices) == ["0", "1:1"]
    where = "/proc/driver/nvidia/capabilities/gpu1/mig/gi2"
    assert [(lack.what, lack.remedy) for lack in report.missing] == [(
        "MIG device 1:0 is left out: no device node /dev/nvidia-caps/nvidia-cap21",
        f"run 'nvidia-modprobe -f {where}/access -f {where}/ci0/access'",
    )]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("nvidiactl", ["no device node /dev/nvidiactl: no GPU can be used"]),
        ("nvidia-uvm", ["no device node /dev/nvidia-uvm: CUDA finds no device"]),
        ("nvidia-uvm-tools", []),
    ],
)
def test_control_nodes_that_are_missing(root: DriverRoot, name: str, warnings: list[str]) -> None:
    root.at(f"/dev/{name}").unlink()
    assert [lack.what for lack in generate(root)[0].missing] == warnings


def test_nothing_is_left(root: DriverRoot) -> None:
    root.at("/dev/nvidia0").unlink()
    with pytest.raises(ConfigError) as caught:
        generate(root)
    assert caught.value.message == (
        f"no NVIDIA GPU found: none in {root.root}/dev and /proc/driver/nvidia/gpus; "
        "GPU 0 is left out: no device node /dev/nvidia0"
    )
    assert caught.value.hint == "run 'nvidia-modprobe -c=0', or start nvidia-persistenced"


def excluded(root: DriverRoot) -> None:
    root.write(
        f"/proc/driver/nvidia/gpus/{BUS}/information", "Device Minor: 0\nGPU Excluded: Yes\n"
    )


def no_instance(root: DriverRoot) -> None:
    smi_program(root, log(one("GPU-zero", mode="Enabled")))


@pytest.mark.parametrize(
    ("make", "why", "remedy"),
    [
        pytest.param(
            excluded, f"GPU {BUS} is left out: the driver excludes it",
            "take it out of NVreg_ExcludedGpus, an option of module nvidia", id="excluded",
        ),
        pytest.param(
            no_instance, "GPU 0 is left out: MIG mode without an instance",
            "make one: nvidia-smi mig -i 0 -cgi PROFILE -C", id="no instance",
        ),
        pytest.param(
            lambda root: shutil.rmtree(root.at("/dev")),
            "GPU 0 is left out: no device node /dev/nvidia0",
            "name the root whose /dev has the driver's nodes, as --dev-root /", id="no /dev",
        ),
    ],
)  # fmt: skip
def test_the_only_gpu_is_of_no_use(
    root: DriverRoot, make: Callable[[DriverRoot], None], why: str, remedy: str
) -> None:
    """Its node may be there all the same, and makes no GPU of it."""
    make(root)
    with pytest.raises(ConfigError) as caught:
        generate(root)
    where = f"none in {root.root}/dev and /proc/driver/nvidia/gpus"
    assert caught.value.message == f"no NVIDIA GPU found: {where}; {why}"
    assert caught.value.hint == remedy


@pytest.mark.parametrize("linked", [True, False])
def test_dri_nodes_are_those_of_sysfs(root: DriverRoot, *, linked: bool) -> None:
    for name in ("card1", "renderD129"):
        root.node(f"/dev/dri/{name}", mode=0o660, gid=105)
        root.at(f"/sys/bus/pci/devices/{BUS}/drm/{name}/dev").touch()
    if linked:
        root.link(f"/dev/dri/by-path/pci-{BUS}-card", "../card1")
    devices = nvidia.Generator(driver_root=str(root.root), machine="x86_64").generate()[0]
    edits = devices["0"].as_dict()
    assert [(node["path"], node.get("gid")) for node in edits["deviceNodes"]] == [
        ("/dev/dri/card1", 105), ("/dev/dri/renderD129", 105), ("/dev/nvidia0", None),
    ]  # fmt: skip
    assert edits["additionalGids"] == [105]
    words = [hook["args"][2:] for hook in edits.get("hooks", ())]
    link = ["--link", f"../card1::/dev/dri/by-path/pci-{BUS}-card"]
    assert words == ([link] if linked else [])


def test_a_group_that_others_do_not_need(root: DriverRoot) -> None:
    root.node("/dev/dri/card1", mode=0o666, gid=105)
    root.at(f"/sys/bus/pci/devices/{BUS}/drm/card1/dev").touch()
    edits = nvidia.Generator(driver_root=str(root.root)).generate()[0]["0"].as_dict()
    assert "additionalGids" not in edits
    assert edits["deviceNodes"][0]["gid"] == 105


class AmdHost(DriverRoot):
    """GPUs that can be partitioned: eight render nodes each, whatever the mode."""

    def gpus(self, count: int, per_gpu: int, *, topology: bool = True) -> None:
        self.node("/dev/kfd", mode=0o660, gid=110)
        render = 128
        for gpu in range(count):
            bus = f"0000:{5 + gpu:02x}:00.0"
            for part in range(8):
                place = f"/sys/devices/platform/amdgpu_xcp_{gpu * 8 + part - 1}/drm"
                if part == 0:
                    place = f"/sys/module/amdgpu/drivers/pci:amdgpu/{bus}/drm"
                    self.node(f"/dev/dri/card{gpu}")
                    self.at(f"{place}/card{gpu}/dev").touch()
                self.node(f"/dev/dri/renderD{render}", mode=0o660, gid=105)
                self.at(f"{place}/renderD{render}/dev").touch()
                if topology and part < per_gpu:
                    facts = f"simd_count 304\ndrm_render_minor {render}\nunique_id {1000 + gpu}\n"
                    self.write(f"/sys/class/kfd/kfd/topology/nodes/{render}/properties", facts)
                render += 1
        self.write("/sys/class/kfd/kfd/topology/nodes/0/properties", "drm_render_minor 0\n")


@pytest.mark.parametrize(
    ("per_gpu", "first", "second"),
    [
        pytest.param(1, ["card0", "renderD128"], ["card1", "renderD136"], id="SPX"),
        pytest.param(2, ["card0", "renderD128"], ["renderD129"], id="DPX"),
        pytest.param(8, ["card0", "renderD128"], ["renderD129"], id="CPX"),
    ],
)
def test_amd_devices_are_those_that_compute(
    tmp_path: Path, per_gpu: int, first: list[str], second: list[str]
) -> None:
    AmdHost(tmp_path).gpus(2, per_gpu)
    report = Report()
    devices, common = amd.generate(str(tmp_path), report, with_all=False)
    assert list(devices) == [str(number) for number in range(2 * per_gpu)]
    for name, nodes in (("0", first), ("1", second)):
        found = [node["path"] for node in devices[name].as_dict()["deviceNodes"]]
        assert found == [f"/dev/dri/{node}" for node in nodes]
    assert common.as_dict()["deviceNodes"] == [
        {"path": "/dev/kfd", "hostPath": f"{tmp_path}/dev/kfd", "gid": 110}
    ]
    assert (report.source, report.missing) == ("/sys/class/kfd/kfd/topology/nodes", [])


def test_amd_devices_are_counted_by_pci_address(tmp_path: Path) -> None:
    """Render nodes are numbered as the driver came upon the GPUs; a partition is in 31:28."""
    host = AmdHost(tmp_path)
    host.node("/dev/kfd")
    host.write("/sys/module/amdgpu/initstate", "live\n")
    parts = ((131, 0, 0xC100, 0), (128, 0, 0x4100, 0), (130, 0, 0x4100, 1), (129, 1, 0x0100, 0))
    for number, (render, domain, place, part) in enumerate(parts):
        host.node(f"/dev/dri/renderD{render}")
        facts = f"domain {domain}\nlocation_id {place | part << 28}\ndrm_render_minor {render}\n"
        host.write(f"/sys/class/kfd/kfd/topology/nodes/{number}/properties", facts)
    devices = amd.generate(str(tmp_path), with_all=False)[0]
    nodes = [edits.as_dict()["deviceNodes"][0]["path"] for edits in devices.values()]
    assert nodes == [f"/dev/dri/renderD{render}" for render in (128, 130, 131, 129)]


def test_amd_names_by_uuid(tmp_path: Path) -> None:
    AmdHost(tmp_path).gpus(2, 1)
    devices = amd.generate(str(tmp_path), namings=("uuid",))[0]
    assert list(devices) == ["0x3e8", "0x3e9", "all"]


def test_amd_partitions_have_no_uuid_of_their_own(tmp_path: Path) -> None:
    AmdHost(tmp_path).gpus(1, 2)
    with pytest.raises(ConfigError, match="GPU 0 is left out: it has no uuid of its own"):
        amd.generate(str(tmp_path), namings=("uuid",))


def test_amd_without_a_topology(tmp_path: Path) -> None:
    AmdHost(tmp_path).gpus(1, 1, topology=False)
    report = Report()
    assert len(amd.generate(str(tmp_path), report, with_all=False)[0]) == 8
    told = "GPUs are those of /sys/module/amdgpu/drivers/pci:amdgpu, since "
    assert report.told == [f"{told}/sys/class/kfd/kfd/topology/nodes has none"]


def test_amd_without_kfd_is_an_error(tmp_path: Path) -> None:
    host = AmdHost(tmp_path)
    host.gpus(1, 1)
    host.at("/dev/kfd").unlink()
    with pytest.raises(ConfigError) as caught:
        amd.generate(str(tmp_path))
    assert caught.value.message == (
        f"no device node {tmp_path}/dev/kfd: no container could compute"
    )


def test_amd_gpus_that_are_of_no_use_are_told_of(tmp_path: Path) -> None:
    host = AmdHost(tmp_path)
    host.gpus(2, 1)
    host.at("/dev/dri/renderD136").unlink()
    host.at("/sys/module/amdgpu/drivers/pci:amdgpu/0000:09:00.0/driver").touch()
    report = Report()
    assert list(amd.generate(str(tmp_path), report, with_all=False)[0]) == ["0"]
    assert [lack.what for lack in report.missing] == [
        "GPU 0000:09:00.0 is left out: it has no render node",
        "GPU 1 is left out: no device node /dev/dri/renderD136",
    ]
