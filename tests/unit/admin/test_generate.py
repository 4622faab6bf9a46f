"""cdi generate on hosts made for it: driver roots with real libraries, /proc, sysfs and /dev."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ocishim.admin.cli import main
from ocishim.admin.generate import amd, command, elf, libraries, nvidia
from ocishim.admin.generate import hooks as spec_hooks
from ocishim.admin.host import Host
from ocishim.cdi.document import document
from ocishim.errors import ConfigError, UsageError

VERSION = "570.86.15"
LIBDIR = "/usr/lib/x86_64-linux-gnu"
UUID = "GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1"
BUS = "0000:01:00.0"


def library(path: Path, soname: str) -> None:
    """Compile an empty library with that SONAME."""
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "/dev/null", "-o", str(path)]
    subprocess.run([*argv, *([f"-Wl,-soname,{soname}"] if soname else [])], check=True)


def of_machine(path: Path, number: int, bits: int = 64) -> None:
    """Make an ELF file one of another machine (e_machine), or of 32 bits."""
    data = bytearray(path.read_bytes())
    data[4], data[18] = bits // 32, number
    path.write_bytes(data)


def write(root: Path, path: str, text: str = "", mode: int = 0o644) -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text(text)
    real.chmod(mode)


def node(root: Path, path: str, mode: int = 0o666, gid: int = 0) -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(real, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    real.chmod(mode)
    os.chown(real, 0, gid)


@pytest.fixture(scope="session")
def libs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the libraries once."""
    root = tmp_path_factory.mktemp("libs")
    for name in ("libcuda", "libnvidia-ml", "libGLX_nvidia", "libnvidia-allocator"):
        soname = f"{name}.so.{0 if 'GLX' in name else 1}"
        library(root / f"{name}.so.{VERSION}", soname)
    library(root / f"libnvidia-glcore.so.{VERSION}", f"libnvidia-glcore.so.{VERSION}")
    library(root / "libnvidia-egl-gbm.so.1.1.2", "libnvidia-egl-gbm.so.1")
    return root


@pytest.fixture
def driver(tmp_path: Path, libs: Path) -> Path:
    """Make a driver root with one GPU."""
    for path in libs.iterdir():
        target = tmp_path / LIBDIR.lstrip("/") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / LIBDIR.lstrip("/") / "libcuda.so.1").symlink_to(f"libcuda.so.{VERSION}")
    gbm = tmp_path / LIBDIR.lstrip("/") / "libnvidia-egl-gbm.so"
    gbm.symlink_to("libnvidia-egl-gbm.so.1.1.2")
    write(tmp_path, "/usr/bin/nvidia-smi", "#!/bin/sh\n", 0o755)
    write(tmp_path, "/etc/OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1\n")
    write(tmp_path, f"/lib/firmware/nvidia/{VERSION}/gsp_tu10x.bin", "x")
    write(tmp_path, "/run/nvidia-persistenced/socket")
    gpu(tmp_path, 0, UUID, BUS)
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"):
        node(tmp_path, f"/dev/{name}")
    return tmp_path


def gpu(root: Path, minor: int, uuid: str, bus: str) -> None:
    facts = f"Model: \t\t A100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"
    write(root, f"/proc/driver/nvidia/gpus/{bus}/information", facts)
    node(root, f"/dev/nvidia{minor}")


def generator(root: Path, *, hook_path: str = "/usr/local/bin/pyshim-hook", **chosen: Any) -> Any:
    chosen.setdefault("machine", "x86_64")
    wanted = spec_hooks.Hooks(hook_path)
    return nvidia.Generator(driver_root=str(root), hooks=wanted, **chosen)


def generated(root: Path, **chosen: Any) -> dict[str, Any]:
    devices, common = generator(root, **chosen).generate()
    from ocishim.admin.generate import edits  # noqa: PLC0415

    return edits.spec("nvidia.com/gpu", devices, common)


def hooks(spec: dict[str, Any]) -> dict[str, list[str]]:
    found = spec["containerEdits"].get("hooks", [])
    return {hook["args"][1]: hook["args"][2:] for hook in found}


pytestmark = pytest.mark.root


def test_devices_by_index_and_uuid_and_all(driver: Path) -> None:
    spec = generated(driver)
    assert [device["name"] for device in spec["devices"]] == ["0", UUID, "all"]
    nodes = [{"path": "/dev/nvidia0", "hostPath": f"{driver}/dev/nvidia0"}]
    assert all(device["containerEdits"]["deviceNodes"] == nodes for device in spec["devices"])


def test_control_nodes_mounts_and_environment_are_common(driver: Path) -> None:
    common = generated(driver)["containerEdits"]
    assert [n["path"] for n in common["deviceNodes"]] == [
        "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl",
    ]  # fmt: skip
    assert [mount["containerPath"] for mount in common["mounts"]] == [
        "/etc/OpenCL/vendors/nvidia.icd",
        f"/lib/firmware/nvidia/{VERSION}/gsp_tu10x.bin",
        "/run/nvidia-persistenced/socket",
        "/usr/bin/nvidia-smi",
        f"{LIBDIR}/libGLX_nvidia.so.{VERSION}",
        f"{LIBDIR}/libcuda.so.{VERSION}",
        f"{LIBDIR}/libnvidia-allocator.so.{VERSION}",
        f"{LIBDIR}/libnvidia-egl-gbm.so.1.1.2",
        f"{LIBDIR}/libnvidia-glcore.so.{VERSION}",
        f"{LIBDIR}/libnvidia-ml.so.{VERSION}",
    ]
    assert common["env"] == ["NVIDIA_VISIBLE_DEVICES=void", f"NVIDIA_CTK_LIBCUDA_DIR={LIBDIR}"]


def test_sockets_are_not_read_only_and_everything_else_is(driver: Path) -> None:
    for mount in generated(driver)["containerEdits"]["mounts"]:
        assert ("ro" in mount["options"]) is not mount["containerPath"].endswith("socket")


def test_links_by_soname_linker_name_and_graphics(driver: Path) -> None:
    words = hooks(generated(driver))["create-symlinks"]
    assert words[::2] == ["--link"] * (len(words) // 2)
    assert set(words[1::2]) == {
        f"libcuda.so.{VERSION}::{LIBDIR}/libcuda.so.1",
        f"libcuda.so.1::{LIBDIR}/libcuda.so",
        f"libnvidia-ml.so.{VERSION}::{LIBDIR}/libnvidia-ml.so.1",
        f"libGLX_nvidia.so.{VERSION}::{LIBDIR}/libGLX_nvidia.so.0",
        f"libGLX_nvidia.so.{VERSION}::{LIBDIR}/libGLX_indirect.so.0",
        f"libnvidia-allocator.so.{VERSION}::{LIBDIR}/libnvidia-allocator.so.1",
        f"../libnvidia-allocator.so.1::{LIBDIR}/gbm/nvidia-drm_gbm.so",
        f"libnvidia-egl-gbm.so.1.1.2::{LIBDIR}/libnvidia-egl-gbm.so.1",
        f"libnvidia-egl-gbm.so.1::{LIBDIR}/libnvidia-egl-gbm.so",
    }


def test_hooks_in_the_peers_order_with_an_environment(driver: Path) -> None:
    spec = generated(driver)
    assert list(hooks(spec)) == [
        "create-symlinks", "enable-cuda-compat", "update-ldcache",
        "disable-device-node-modification", "update-application-profile",
    ]  # fmt: skip
    assert hooks(spec)["enable-cuda-compat"] == [f"--host-driver-version={VERSION}"]
    assert hooks(spec)["update-ldcache"] == ["--folder", LIBDIR]
    assert all(hook["env"] for hook in spec["containerEdits"]["hooks"])


WITH_CHMOD = (*spec_hooks.DEFAULT_HOOKS, "chmod")


@pytest.mark.parametrize(
    ("disabled", "enabled", "names"),
    [
        pytest.param(("all",), (), (), id="none"),
        pytest.param(
            ("all",), ("create-symlinks", "update-ldcache"),
            ("create-symlinks", "update-ldcache"), id="two only",
        ),
        pytest.param(
            (), ("chmod",), tuple(one for one in spec_hooks.HOOKS if one in WITH_CHMOD),
            id="chmod is off by default",
        ),
        pytest.param(
            ("update-application-profile", "enable-cuda-compat"), (),
            ("create-symlinks", "update-ldcache", "disable-device-node-modification"), id="two out",
        ),
    ],
)  # fmt: skip
def test_choose_hooks(
    disabled: tuple[str, ...], enabled: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert spec_hooks.choose(disabled, enabled) == names


@pytest.mark.parametrize(("disabled", "enabled"), [(("nope",), ()), ((), ("all",))])
def test_choose_hooks_refuses(disabled: tuple[str, ...], enabled: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="unknown hook"):
        spec_hooks.choose(disabled, enabled)


def test_vendors_program_wants_hook_as_first_word(driver: Path) -> None:
    spec = generated(driver, hook_path="/usr/bin/nvidia-ctk")
    assert spec["containerEdits"]["hooks"][0]["args"][:3] == [
        "nvidia-ctk", "hook", "create-symlinks",
    ]  # fmt: skip


def test_type_index_names(driver: Path) -> None:
    spec = generated(driver, namings=("type-index",))
    assert [device["name"] for device in spec["devices"]] == ["gpu0", "all"]


def test_mig_devices_have_parent_and_capabilities(driver: Path) -> None:
    base = "/proc/driver/nvidia/capabilities/gpu0/mig/gi1"
    write(driver, f"{base}/access", "DeviceFileMinor: 12\nDeviceFileMode: 292\n")
    write(driver, f"{base}/ci0/access", "DeviceFileMinor: 13\nDeviceFileMode: 292\n")
    for minor in (12, 13):
        node(driver, f"/dev/nvidia-caps/nvidia-cap{minor}", 0o444)
    spec = generated(driver, namings=("index",))
    assert [device["name"] for device in spec["devices"]] == ["0:0", "all"]
    nodes = spec["devices"][0]["containerEdits"]["deviceNodes"]
    assert [n["path"] for n in nodes] == [
        "/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13",
    ] or [n["path"] for n in nodes] == [
        "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13", "/dev/nvidia0",
    ]  # fmt: skip


def test_dri_nodes_of_the_gpu_with_their_links(driver: Path) -> None:
    node(driver, "/dev/dri/card1")
    node(driver, "/dev/dri/renderD129", 0o660, gid=104)
    folder = driver / "dev/dri/by-path"
    folder.mkdir()
    (folder / f"pci-{BUS}-card").symlink_to("../card1")
    (folder / f"pci-{BUS}-render").symlink_to("../renderD129")
    edits = generated(driver)["devices"][0]["containerEdits"]
    assert [n["path"] for n in edits["deviceNodes"]] == [
        "/dev/dri/card1", "/dev/dri/renderD129", "/dev/nvidia0",
    ]  # fmt: skip
    assert edits["additionalGids"] == [104]
    assert edits["hooks"][0]["args"][2:] == [
        "--link", f"../card1::/dev/dri/by-path/pci-{BUS}-card",
        "--link", f"../renderD129::/dev/dri/by-path/pci-{BUS}-render",
    ]  # fmt: skip


def test_sixteen_gpus_are_sorted_as_numbers(driver: Path) -> None:
    for minor in range(1, 12):
        gpu(driver, minor, f"GPU-{minor}", f"0000:{minor + 1:02x}:00.0")
    nodes = generated(driver, namings=("index",))["devices"][-1]["containerEdits"]["deviceNodes"]
    assert [n["path"] for n in nodes] == [f"/dev/nvidia{minor}" for minor in range(12)]


def test_nodes_alone_are_gpus_where_proc_tells_nothing(driver: Path) -> None:
    (driver / f"proc/driver/nvidia/gpus/{BUS}/information").unlink()
    (driver / f"proc/driver/nvidia/gpus/{BUS}").rmdir()
    (driver / "proc/driver/nvidia/gpus").rmdir()
    assert generated(driver)["devices"][0]["name"] == "0"


def test_dev_root_beside_the_driver_root(driver: Path, tmp_path_factory: Any) -> None:
    dev_root = tmp_path_factory.mktemp("dev-root")
    (driver / "dev").rename(dev_root / "dev")
    spec = generated(driver, dev_root=str(dev_root))
    nodes = spec["devices"][0]["containerEdits"]["deviceNodes"]
    assert nodes == [{"path": "/dev/nvidia0", "hostPath": f"{dev_root}/dev/nvidia0"}]


def test_a_library_of_another_driver_is_left_out(driver: Path, libs: Path) -> None:
    other = driver / LIBDIR.lstrip("/") / "libnvidia-ml.so.535.104.05"
    other.write_bytes((libs / f"libnvidia-ml.so.{VERSION}").read_bytes())
    paths = [mount["containerPath"] for mount in generated(driver)["containerEdits"]["mounts"]]
    assert f"{LIBDIR}/libnvidia-ml.so.535.104.05" not in paths


def test_arm64_folder(driver: Path) -> None:
    (driver / "usr/lib/x86_64-linux-gnu").rename(driver / "usr/lib/aarch64-linux-gnu")
    for path in (driver / "usr/lib/aarch64-linux-gnu").iterdir():
        of_machine(path, 183)
    found = nvidia.Generator(driver_root=str(driver), machine="aarch64").generate()[1].as_dict()
    assert hook_folders(found) == ["--folder", "/usr/lib/aarch64-linux-gnu"]


def hook_folders(common: dict[str, Any]) -> list[str]:
    found: list[str] = next(
        h["args"][2:] for h in common["hooks"] if h["args"][1] == "update-ldcache"
    )
    return found


def test_unknown_machine_is_refused(driver: Path) -> None:
    with pytest.raises(ConfigError, match="no library folders known for machine 'riscv64'"):
        nvidia.Generator(driver_root=str(driver), machine="riscv64")


def test_no_driver(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no NVIDIA driver found"):
        nvidia.Generator(driver_root=str(tmp_path), machine="x86_64").generate()


def test_no_gpu(driver: Path) -> None:
    (driver / "dev/nvidia0").unlink()
    with pytest.raises(ConfigError, match="no NVIDIA GPU found"):
        generated(driver)


def test_soname_of_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    library(tmp_path / "plain.so", "")
    assert elf.soname(str(tmp_path / "text")) == ""
    assert elf.soname(str(tmp_path / "plain.so")) == ""
    assert elf.soname(str(tmp_path / "missing")) == ""


def test_a_library_reached_through_two_folders_is_there_once(driver: Path) -> None:
    (driver / "usr/lib64").symlink_to(LIBDIR.rpartition("/")[2])
    os.remove(driver / "usr/lib64")
    (driver / "usr/lib64").symlink_to("lib/x86_64-linux-gnu")
    where = libraries.folders(Host(str(driver)), "x86_64")
    found = libraries.find(Host(str(driver)), where, VERSION, "x86_64")
    assert len(found) == len({library.name for library in found}) == 6


def test_imex_channels(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        node(tmp_path, f"/dev/nvidia-caps-imex-channels/channel{number}")
    assert list(nvidia.imex_channels(str(tmp_path))) == ["0", "2", "10", "all"]
    with pytest.raises(ConfigError, match="no IMEX channel found"):
        nvidia.imex_channels(str(tmp_path / "dev"))


def amd_host(root: Path, *, partitions: int = 0) -> None:
    node(root, "/dev/kfd")
    for index, bus in enumerate(("0000:c1:00.0", "0000:41:00.0")):
        write(root, f"/sys/module/amdgpu/drivers/pci:amdgpu/{bus}/drm/card{index}/dev")
        write(root, f"/sys/module/amdgpu/drivers/pci:amdgpu/{bus}/drm/renderD{128 + index}/dev")
        node(root, f"/dev/dri/card{index}", 0o660, gid=44)
        node(root, f"/dev/dri/renderD{128 + index}", 0o660, gid=105)
    for number in range(partitions):
        write(root, f"/sys/devices/platform/amdgpu_xcp_{number}/drm/renderD{130 + number}/dev")
        node(root, f"/dev/dri/renderD{130 + number}")


def test_amd_devices_in_the_order_of_pci_addresses(tmp_path: Path) -> None:
    amd_host(tmp_path, partitions=2)
    devices, common = amd.generate(str(tmp_path))
    assert list(devices) == ["0", "1", "2", "3", "all"]
    assert [n["path"] for n in devices["0"].as_dict()["deviceNodes"]] == [
        "/dev/dri/card1", "/dev/dri/renderD129",
    ]  # fmt: skip
    assert devices["0"].as_dict()["additionalGids"] == [44, 105]
    assert [n["path"] for n in devices["2"].as_dict()["deviceNodes"]] == ["/dev/dri/renderD130"]
    assert [n["path"] for n in common.as_dict()["deviceNodes"]] == ["/dev/kfd"]


def test_no_amd_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no AMD GPU found"):
        amd.generate(str(tmp_path))


def run(*words: str) -> Any:
    return CliRunner().invoke(command.generate, list(words))


@pytest.mark.parametrize("option", ["--driver-root", "--dev-root"])
@pytest.mark.parametrize("mode", ["auto", "nvidia", "imex", "amd"])
def test_a_root_that_is_no_folder(tmp_path: Path, mode: str, option: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, tmp_path / "missing"):
        error = run("--mode", mode, option, str(path)).exception
        assert isinstance(error, ConfigError)
        assert error.message == f"{path}: not a directory"
        assert error.hint.startswith(f"{option} names ")


def test_command_prints_yaml_that_pyshim_reads(driver: Path) -> None:
    result = run("--mode", "nvidia", "--driver-root", str(driver))
    assert result.exit_code == 0, result.output
    assert document.load(result.stdout.encode(), "generated") == yaml.safe_load(result.stdout)


def test_command_writes_a_file_readable_by_all(driver: Path, tmp_path: Path) -> None:
    output = tmp_path / "etc/cdi/nvidia.json"
    result = run("--mode", "nvidia", "--driver-root", str(driver), "--output", str(output))
    assert result.exit_code == 0, result.output
    assert json.loads(output.read_text())["kind"] == "nvidia.com/gpu"
    assert stat.S_IMODE(output.stat().st_mode) == 0o644


def test_command_for_anything_else() -> None:
    result = run(
        "--vendor", "acme.com", "--class", "fpga", "--device", "a=/dev/null",
        "--device", "a=/dev/zero", "--device", "b=/dev/full",
    )  # fmt: skip
    spec = yaml.safe_load(result.stdout)
    assert spec["kind"] == "acme.com/fpga"
    assert [len(d["containerEdits"]["deviceNodes"]) for d in spec["devices"]] == [2, 1]
    assert spec["cdiVersion"] == "0.3.0"


def test_command_warns_of_a_mistyped_path() -> None:
    words = ("--vendor", "acme.com", "--class", "fpga")
    result = run(*words, "--device", "a=/dev/nulll", "--device", "b=/dev/null")
    assert (result.exit_code, result.stderr) == (
        0,
        "warning: no device node /dev/nulll of a; create fails until it is there\n",
    )


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize(
    "path", ["/dev/ü😀", "/dev/\x7f\x1b[31m", "/dev/\u2028\u202e\ue000", '/dev/"\\']
)
def test_a_spec_has_the_path_whatever_is_in_it(form: str, path: str) -> None:
    """And is read by the CDI reference, whose YAML knows no pair of surrogates."""
    words = ("--vendor", "acme.com", "--class", "fpga", "--device", f"a={path}")
    text = run(*words, "--format", form).stdout
    assert document.load(text.encode(), "x")["devices"][0]["containerEdits"] == {
        "deviceNodes": [{"path": path}]
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "a=/dev/null"], "--device needs --kind, as acme.com/radio"),
        (["--vendor", "a.com", "--class", "b", "--device", "x"], "is not NAME=/PATH or /PATH"),
        (["--mode", "devices"], "needs --device"),
        (["--vendor", "a.com", "--class", "b", "--device", "x=/a", "--output", "x.yml"], ".json"),
    ],
)
def test_command_refuses(words: list[str], message: str) -> None:
    result = run(*words)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_management_is_every_node_of_the_driver(driver: Path) -> None:
    for path in ("/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-fs0", "/dev/nvidia-nvswitch0"):
        node(driver, path)
    words = ["generate", "--mode", "management", "--driver-root", str(driver)]
    result = CliRunner().invoke(main, ["cdi", *words])
    assert result.exit_code == 0, result.stderr
    spec = yaml.safe_load(result.stdout)
    assert spec["kind"] == "management.nvidia.com/gpu"
    (device,) = spec["devices"]
    assert device["name"] == "all"
    assert [one["path"] for one in device["containerEdits"]["deviceNodes"]] == [
        "/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-modeset", "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools", "/dev/nvidiactl",
    ]  # fmt: skip
    assert spec["containerEdits"]["mounts"]
    hook = "disable-device-node-modification"  # its programs make MIG's nodes
    assert hook not in result.stdout
    kept = CliRunner().invoke(main, ["cdi", *words, "--enable-hook", hook])
    assert hook in kept.stdout
