"""What `pyshimctl cdi generate` tells, and the options that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from ocishim.admin.generate import command
from ocishim.errors import ConfigError, UsageError
from tests.unit.admin.test_generate_gpus import AmdHost
from tools.lab.driverroot import LIBDIR, VERSION, DriverRoot

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> DriverRoot:
    """Return a root with a driver and two GPUs, one of which has a group's DRI node."""
    tree = DriverRoot(tmp_path / "root")
    tree.host()
    tree.core()
    tree.compilers()
    tree.gpu(1, "0000:02:00.0")
    tree.node("/dev/dri/card1", mode=0o660, gid=105)
    tree.at("/sys/bus/pci/devices/0000:01:00.0/drm/card1/dev").touch()
    tree.program("/usr/bin/nvidia-smi", "#!/bin/sh\necho no driver\nexit 9\n")
    return tree


def run(root: DriverRoot, *words: str, env: dict[str, str] | None = None) -> Result:
    argv = ["--mode", "nvidia", "--driver-root", str(root.root), *words]
    return CliRunner(env=env).invoke(command.generate, argv, catch_exceptions=True)


def spec(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = yaml.safe_load(result.stdout)
    return found


TOLD = (
    "the GPUs are those of /proc/driver/nvidia, since /usr/bin/nvidia-smi -q -x: exit status 9: "
    "no driver\n"
)
SUMMARY = (
    f"found 4 libraries, 1 program, 6 device nodes, 5 devices, driver {VERSION}, devices as "
    "/proc/driver/nvidia has them\n"
)


def test_it_tells_how_much_it_found(root: DriverRoot) -> None:
    assert run(root).stderr == TOLD + SUMMARY


def test_it_lists_what_it_found(root: DriverRoot) -> None:
    lines = run(root, "--verbose").stderr.splitlines()
    assert f"library: {LIBDIR}/libcuda.so.{VERSION}" in lines
    assert "program: /usr/bin/nvidia-smi" in lines
    assert "device node: /dev/nvidia0" in lines
    assert "device: GPU-00000001-0000" in lines


def test_one_object_for_programs(root: DriverRoot) -> None:
    root.at("/dev/nvidia-uvm").unlink()
    told = json.loads(run(root, "--json").stdout)
    assert told["driver"] == VERSION
    assert told["source"] == "/proc/driver/nvidia"
    assert told["found"]["devices"] == ["0", "GPU-00000000-0000", "1", "GPU-00000001-0000", "all"]
    assert told["missing"] == [{
        "what": "no device node /dev/nvidia-uvm: CUDA finds no device",
        "remedy": "run 'nvidia-modprobe -u -c=0', and at boot before this",
    }]  # fmt: skip
    assert told["spec"]["kind"] == "nvidia.com/gpu"


def test_strict_writes_nothing_when_something_is_missing(root: DriverRoot, tmp_path: Path) -> None:
    output = tmp_path / "nvidia.yaml"
    assert run(root, "--strict", "--output", str(output)).exit_code == 0
    before = output.read_bytes()
    root.at("/dev/nvidia-uvm").unlink()
    result = run(root, "--strict", "--output", str(output), "--no-all")
    assert (result.exit_code, output.read_bytes()) == (3, before)
    lack = "no device node /dev/nvidia-uvm: CUDA finds no device"
    assert result.stderr.splitlines()[0] == (
        f"warning: {lack}; run 'nvidia-modprobe -u -c=0', and at boot before this"
    )
    assert result.stderr.splitlines()[-1] == f"pyshimctl: nothing is written: {lack}"


def test_strict_tells_programs_too(root: DriverRoot, tmp_path: Path) -> None:
    root.at("/dev/nvidia-uvm").unlink()
    result = run(root, "--strict", "--json", "--output", str(tmp_path / "x.yaml"))
    told = json.loads(result.stdout)
    assert result.exit_code == 3
    assert [lack["what"] for lack in told["missing"]] == [
        "no device node /dev/nvidia-uvm: CUDA finds no device"
    ]
    assert not {"spec", "output"} & set(told)


def test_strict_is_about_the_devices_asked_for(root: DriverRoot) -> None:
    root.at("/dev/nvidia1").unlink()
    assert run(root, "--strict").exit_code == 3
    result = run(root, "--strict", "--device-id", "0")
    assert (result.exit_code, "GPU 1" in result.stderr) == (0, False)


def test_the_summary_counts_the_nodes_of_the_devices_asked_for(root: DriverRoot) -> None:
    nodes = json.loads(run(root, "--device-id", "1", "--json").stdout)["found"]["nodes"]
    assert ("/dev/nvidia1" in nodes, "/dev/nvidia0" in nodes) == (True, False)


def test_a_folder_that_is_not_there(root: DriverRoot) -> None:
    told = run(root, "--library-folder", "/srv/none").stderr
    assert f"warning: no folder /srv/none in {root.root}; see --library-folder" in told


@pytest.mark.parametrize("option", ["--hook-path", "--ldconfig-path", "--library-folder"])
def test_relative_paths(root: DriverRoot, option: str) -> None:
    result = run(root, option, "x/y")
    assert isinstance(result.exception, UsageError)
    assert result.exception.message == f"{option} takes an absolute path, not 'x/y'"


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["0"], ["0", "GPU-00000000-0000", "all"]),
        (["GPU-00000001-0000"], ["1", "GPU-00000001-0000", "all"]),
        (["1,0"], ["0", "GPU-00000000-0000", "1", "GPU-00000001-0000", "all"]),
        (["all"], ["0", "GPU-00000000-0000", "1", "GPU-00000001-0000", "all"]),
    ],
)
def test_devices_by_any_of_their_names(root: DriverRoot, ids: list[str], names: list[str]) -> None:
    words = [word for one in ids for word in ("--device-id", one)]
    found = spec(run(root, *words))["devices"]
    assert [device["name"] for device in found] == names
    nodes = {node["path"] for node in found[-1]["containerEdits"]["deviceNodes"]}
    assert ("/dev/nvidia0" in nodes) is ("0" in names)
    assert ("/dev/nvidia1" in nodes) is ("1" in names)


def test_a_device_that_is_not_there(root: DriverRoot) -> None:
    error = run(root, "--device-id", "7").exception
    assert isinstance(error, ConfigError)
    assert (error.message, error.hint) == (
        "no device '7' on this host",
        "there are 0, GPU-00000000-0000, 1, GPU-00000001-0000",
    )


def test_engines_without_additional_groups(root: DriverRoot) -> None:
    assert spec(run(root))["cdiVersion"] == "0.7.0"
    found = spec(run(root, "--no-gids"))
    assert found["cdiVersion"] == "0.5.0"
    assert found["devices"][0]["containerEdits"]["deviceNodes"][0]["gid"] == 105


def arguments(found: dict[str, Any], name: str) -> list[str]:
    hooks = found["containerEdits"]["hooks"]
    words: list[str] = next(hook["args"][2:] for hook in hooks if hook["args"][1] == name)
    return words


def test_the_hosts_ldconfig(root: DriverRoot) -> None:
    found = spec(run(root, "--ldconfig-path", "/opt/ldconfig"))
    expected = ["--ldconfig-path", "/opt/ldconfig", "--folder", LIBDIR]
    assert arguments(found, "update-ldcache") == expected


def test_a_hook_that_is_off_by_default(root: DriverRoot) -> None:
    found = spec(run(root, "--enable-hook", "chmod"))
    assert arguments(found, "chmod") == [
        "--mode", "755", "--path", "/dev/dri", "--path", "/dev/nvidia-caps",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"PYSHIM_CDI_NO_ALL": "1", "PYSHIM_CDI_NAME_BY": "index"}, ["0", "1"]),
        ({"PYSHIM_CDI_NAME_BY": "index type-index"}, ["0", "gpu0", "1", "gpu1", "all"]),
        ({"PYSHIM_CDI_DEVICE_ID": "1", "PYSHIM_CDI_NO_ALL": "true"}, ["1", "GPU-00000001-0000"]),
    ],
)
def test_options_as_variables(
    root: DriverRoot, variables: dict[str, str], names: list[str]
) -> None:
    assert [one["name"] for one in spec(run(root, env=variables))["devices"]] == names


def test_no_anchors(root: DriverRoot) -> None:
    text = run(root).stdout
    assert "&" not in text
    assert "*" not in text


def test_auto_says_what_both_lack(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.generate, ["--driver-root", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "no NVIDIA driver found" in result.exception.message
    assert "no AMD GPU found" in result.exception.message


def test_an_nvidia_driver_without_a_gpu_beside_amds(tmp_path: Path) -> None:
    tree = DriverRoot(tmp_path)
    tree.core()
    AmdHost(tmp_path).gpus(1, 1)
    argv = ["--driver-root", str(tmp_path), "--json"]
    result = CliRunner().invoke(command.generate, argv)
    told = json.loads(result.stdout)
    assert (told["driver"], told["found"]["libraries"]) == ("", [])
    assert told["found"]["devices"] == ["0", "all"]
    nothing = f"no NVIDIA GPU found: none in {tmp_path}/dev and /proc/driver/nvidia/gpus"
    assert told["told"] == [f"no NVIDIA GPU is in the spec: {nothing}"]


def test_the_last_line_has_not_every_name(tmp_path: Path) -> None:
    AmdHost(tmp_path).gpus(3, 8)
    argv = ["--driver-root", str(tmp_path), "--output", str(tmp_path / "amd.yaml")]
    last = CliRunner().invoke(command.generate, argv).stderr.splitlines()[-1]
    first = ", ".join(map(str, range(16)))
    assert last == f"{tmp_path}/amd.yaml: amd.com/gpu with {first} and 9 more"


def test_the_report_has_the_devices_that_are_kept(root: DriverRoot) -> None:
    told = json.loads(run(root, "--json", "--device-id", "1").stdout)
    assert told["found"]["devices"] == ["1", "GPU-00000001-0000", "all"]


def test_amd_of_the_driver_root(tmp_path: Path) -> None:
    AmdHost(tmp_path).gpus(1, 1)
    argv = ["--driver-root", str(tmp_path), "--device-id", "0"]
    result = CliRunner().invoke(command.generate, argv)
    assert [one["name"] for one in spec(result)["devices"]] == ["0", "all"]
    assert result.stderr == (
        "found 3 device nodes, 2 devices, devices as /sys/class/kfd/kfd/topology/nodes has them\n"
    )
