"""`pyshimctl cdi refresh`: when it writes, what it says of it, and the device nodes it makes."""

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
from ocishim.admin.host import Host
from ocishim.admin.refresh import differences, nodes
from ocishim.admin.refresh.command import MARK
from ocishim.errors import ConfigError
from tools.lab.driverroot import LIBDIR, VERSION, DriverRoot

DEVICE = ("--vendor", "acme.com", "--class", "radio", "--device", "0=/dev/null")
PROC = "proc/driver/nvidia"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def refresh(*words: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["cdi", "refresh", *words], env=environment)
    return result.exit_code, result.output


def spec(**common: Any) -> dict[str, Any]:
    device = {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [device],
        "containerEdits": common,
    }


def hook(version: str) -> dict[str, Any]:
    args = ["pyshim-hook", "enable-cuda-compat", f"--host-driver-version={version}"]
    return {"hookName": "createContainer", "path": "/usr/bin/pyshim-hook", "args": args}


def mount(path: str) -> dict[str, Any]:
    return {"hostPath": path, "containerPath": path}


def device(name: str, *paths: str) -> dict[str, Any]:
    return {"name": name, "containerEdits": {"deviceNodes": [{"path": path} for path in paths]}}


LIB = "/usr/lib/libcuda.so."


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        pytest.param(spec(), spec(), [], id="the same"),
        pytest.param(
            spec(hooks=[hook("550.54.15")]),
            spec(hooks=[hook("570.86.15")]),
            ["driver 570.86.15, was 550.54.15", "other hooks"],
            id="driver, by its hook",
        ),
        pytest.param(
            spec(mounts=[mount(f"{LIB}535.1.2")]),
            spec(mounts=[mount(f"{LIB}535.1.3"), mount("/a"), mount("/b")]),
            ["driver 535.1.3, was 535.1.2", "3 mounts new", "1 mount gone"],
            id="driver, by its library",
        ),
        pytest.param(
            spec(),
            {
                **spec(),
                "devices": [device(name, f"/dev/nvidia{name[0]}") for name in ("0:0", "0:1")],
            },
            ["devices 0:0, 0:1 new", "device 0 gone"],
            id="MIG instances",
        ),
        pytest.param(
            spec(),
            {**spec(), "devices": [device(name, "/dev/nvidia0") for name in "0123456"]},
            ["devices 1, 2, 3 and 3 more new"],
            id="many devices",
        ),
        pytest.param(
            spec(),
            spec(deviceNodes=[{"path": "/dev/nvidia-uvm"}]),
            ["node /dev/nvidia-uvm new"],
            id="a node",
        ),
        pytest.param(
            spec(deviceNodes=[{"path": "/dev/nvidia-uvm", "major": 508}]),
            spec(deviceNodes=[{"path": "/dev/nvidia-uvm", "major": 509}]),
            ["node /dev/nvidia-uvm 509 new", "node /dev/nvidia-uvm 508 gone"],
            id="a node's number",
        ),
        pytest.param(
            {**spec(), "devices": [device("0", "/dev/a"), device("1", "/dev/b")]},
            {**spec(), "devices": [device("0", "/dev/b"), device("1", "/dev/a")]},
            ["other nodes of a device"],
            id="devices that changed places",
        ),
        pytest.param(spec(), spec(env=["A=b"]), ["other env"], id="env"),
        pytest.param(
            spec(),
            {**spec(), "cdiVersion": "0.7.0"},
            ["CDI version 0.7.0, was 0.5.0"],
            id="version",
        ),
        pytest.param(spec(), {**spec(), "annotations": {"a": "b"}}, ["its form"], id="else"),
    ],
)
def test_reasons(before: dict[str, Any], after: dict[str, Any], reasons: list[str]) -> None:
    assert differences.reasons(before, after) == reasons


def test_it_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "cdi/acme.yaml"
    assert refresh(*DEVICE, "--output", str(file)) == (0, f"{file}: written: there was none\n")
    first = os.stat(file)
    assert file.read_text().startswith(MARK)
    assert yaml.safe_load(file.read_text())["kind"] == "acme.com/radio"
    assert refresh(*DEVICE, "--output", str(file)) == (0, f"{file}: as it was\n")
    assert os.stat(file).st_ino == first.st_ino
    words = ("--device", "1=/dev/null", "--output", str(file))
    assert refresh(*DEVICE, *words) == (0, f"{file}: written: device 1 new\n")
    assert os.listdir(tmp_path / "cdi") == ["acme.yaml"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("a: [", "it was no spec", id="no YAML"),
        pytest.param("- 1\n", "it was no spec", id="a list"),
        pytest.param("", "it was no spec", id="empty"),
        pytest.param("devices: 3\n", "it was no spec", id="other shape"),
        pytest.param("\udcff", "not UTF-8 text at byte 0", id="no text"),
    ],
)
def test_what_is_no_spec_is_replaced(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(text, errors="surrogateescape")
    assert refresh(*DEVICE, "--output", str(file)) == (0, f"{file}: written: {reason}\n")
    assert refresh(*DEVICE, "--output", str(file)) == (0, f"{file}: as it was\n")


@pytest.mark.root
def test_names_are_kept_while_nvidia_smi_does_not_answer(tmp_path: Path) -> None:
    """MIG devices have their UUIDs from it alone; a GPU that hangs makes it hang, too."""
    root = DriverRoot(tmp_path / "root")
    root.host()
    root.core()
    root.mig(0, 1, 0, (12, 13))
    for cap in (12, 13):
        root.node(f"/dev/nvidia-caps/nvidia-cap{cap}", minor=cap)
    mig = "<index>0</index><gpu_instance_id>1</gpu_instance_id>"
    mig += "<compute_instance_id>0</compute_instance_id><uuid>MIG-a</uuid>"
    gpu = "<mig_mode><current_mig>Enabled</current_mig></mig_mode><minor_number>0</minor_number>"
    gpu += f"<uuid>GPU-a</uuid><mig_devices><mig_device>{mig}</mig_device></mig_devices>"
    xml = f"<nvidia_smi_log><gpu>{gpu}</gpu></nvidia_smi_log>"
    root.program("/usr/bin/nvidia-smi", f"#!/bin/sh\necho '{xml}'\n")
    file = tmp_path / "x.yaml"
    words = ("--mode", "nvidia", "--driver-root", str(root.root), "--output", str(file))
    assert refresh(*words)[0] == 0
    before = file.read_text()
    assert "name: MIG-a" in before
    root.program("/usr/bin/nvidia-smi")
    why = "/usr/bin/nvidia-smi -q -x: exit status 9: it says nothing"
    assert refresh(*words) == (0, f"{file}: as it was, with MIG-a: {why}\n")
    assert file.read_text() == before
    root.library(f"{LIBDIR}/libnvidia-cfg.so.{VERSION}")
    assert refresh(*words)[1].startswith(f"{file}: written: device MIG-a gone; 1 mount new; ")


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (["0", "GPU-a"], ["0"], ["GPU-a"]),
        (["0", "GPU-a"], ["0", "GPU-a"], []),
        (["0", "GPU-a"], ["0", "GPU-b"], []),
        (["0"], ["0", "1"], []),
    ],
)
def test_names_gone(before: list[str], after: list[str], names: list[str]) -> None:
    specs = [
        {**spec(), "devices": [device(name, "/dev/nvidia0") for name in names]}
        for names in (before, after)
    ]
    assert differences.names_gone(specs[0], specs[1]) == names


def test_a_gpu_that_is_gone_is_no_name() -> None:
    both = [device("0", "/dev/nvidia0"), device("1", "/dev/nvidia1")]
    assert differences.names_gone({**spec(), "devices": both}, spec()) == []


def test_strict_has_the_remedy(tmp_path: Path) -> None:
    words = ("--kind", "a.com/b", "--device", "/dev/none", "--driver-root", str(tmp_path))
    assert refresh(*words, "--strict", "--output", str(tmp_path / "x.yaml")) == (1, (
        "pyshimctl: nothing is written: no device node /dev/none of none\n"
        "hint: create fails until it is there\n"
    ))  # fmt: skip


def test_json_by_the_files_name(tmp_path: Path) -> None:
    file = tmp_path / "acme.json"
    assert refresh(*DEVICE, "--output", str(file))[0] == 0
    assert json.loads(file.read_text())["kind"] == "acme.com/radio"
    assert refresh(*DEVICE, "--output", str(file)) == (0, f"{file}: as it was\n")


def test_options_from_the_environment(tmp_path: Path) -> None:
    """As a unit's EnvironmentFile gives them."""
    file = tmp_path / "acme.yaml"
    environment = {
        "PYSHIM_CDI_OUTPUT": str(file),
        "PYSHIM_CDI_VENDOR": "acme.com",
        "PYSHIM_CDI_CLASS": "radio",
        "PYSHIM_CDI_DEVICE": "0=/dev/null 1=/dev/zero",
    }
    assert refresh(**environment) == (0, f"{file}: written: there was none\n")
    assert [one["name"] for one in yaml.safe_load(file.read_text())["devices"]] == ["0", "1"]


def test_without_a_driver_there_is_nothing_to_do(tmp_path: Path) -> None:
    words = ("--driver-root", str(tmp_path), "--output", str(tmp_path / "x.yaml"))
    assert refresh(*words) == (0, "no driver is loaded: nothing to do\n")
    assert os.listdir(tmp_path) == []


def test_a_driver_without_a_spec_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, f"{PROC}/version", "NVRM version: 1\n")
    status, output = refresh("--driver-root", str(tmp_path), "--output", str(tmp_path / "x.yaml"))
    assert status == 1
    assert output.startswith("pyshimctl: no NVIDIA driver found in ")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A tree whose /proc says what modules say: two GPUs, one with an instance, no modeset."""
    write(
        tmp_path,
        "proc/devices",
        "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n237 nvidia-caps\n508 nvidia-uvm\n"
        "\nBlock devices:\n508 nvidia-caps\n",
    )
    for bus, minor in (("0000:3b:00.0", 1), ("0000:01:00.0", 0)):
        write(tmp_path, f"{PROC}/gpus/{bus}/information", f"Device Minor: \t {minor}\n")
    caps = f"{PROC}/capabilities"
    write(tmp_path, f"{caps}/mig/config", "DeviceFileMinor: 1\nDeviceFileMode: 256\n")
    instance = "DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
    write(tmp_path, f"{caps}/gpu0/mig/gi1/access", instance)
    kept = "DeviceFileMinor: 13\nDeviceFileMode: 292\nDeviceFileModify: 0\n"
    write(tmp_path, f"{caps}/gpu0/mig/gi1/ci0/access", kept)
    return tmp_path


def wanted(root: Path) -> dict[str, tuple[int, int, str]]:
    found = nodes.wanted(Host(str(root)))
    return {one.path: (one.major, one.minor, f"{one.mode:o}") for one in found}


def test_nodes_that_the_modules_serve(proc: Path) -> None:
    assert wanted(proc) == {
        "/dev/nvidiactl": (195, 255, "666"),
        "/dev/nvidia0": (195, 0, "666"),
        "/dev/nvidia1": (195, 1, "666"),
        "/dev/nvidia-uvm": (508, 0, "666"),
        "/dev/nvidia-uvm-tools": (508, 1, "666"),
        "/dev/nvidia-caps/nvidia-cap1": (237, 1, "400"),
        "/dev/nvidia-caps/nvidia-cap12": (237, 12, "444"),
    }


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        pytest.param(
            f"{PROC}/params",
            "DeviceFileUID: 0\nDeviceFileGID: 44\nDeviceFileMode: 432\nModifyDeviceFiles: 1\n",
            nodes.Node("/dev/nvidiactl", 195, 255, 0o660, 0, 44),
            id="the module's parameters",
        ),
        pytest.param(f"{PROC}/params", "ModifyDeviceFiles: 0\n", None, id="hands off"),
        pytest.param("proc/devices", "Character devices:\n", None, id="no module"),
        pytest.param(
            "proc/devices",
            "Character devices:\n195 nvidia-frontend\n",
            nodes.Node("/dev/nvidiactl", 195, 255),
            id="a driver before 550",
        ),
    ],
)
def test_what_the_module_says(proc: Path, path: str, text: str, found: nodes.Node | None) -> None:
    write(proc, path, text)
    assert next(iter(nodes.wanted(Host(str(proc)))), None) == found


def test_modeset_is_there_with_its_module(proc: Path) -> None:
    (proc / "sys/module/nvidia_modeset").mkdir(parents=True)
    assert wanted(proc)["/dev/nvidia-modeset"] == (195, 254, "666")


@pytest.mark.root
def test_nodes_are_made(tmp_path: Path) -> None:
    root = Host(str(tmp_path))
    node = nodes.Node("/dev/nvidia-caps/nvidia-cap1", 1, 3, 0o440, 0, 44)
    assert nodes.make(root, [node]) == ["/dev/nvidia-caps/nvidia-cap1: made, 1:3"]
    made = os.lstat(tmp_path / "dev/nvidia-caps/nvidia-cap1")
    assert stat.filemode(made.st_mode) == "cr--r-----"
    assert (os.major(made.st_rdev), os.minor(made.st_rdev), made.st_gid) == (1, 3, 44)
    assert nodes.make(root, [node]) == []
    again = node._replace(minor=5)
    assert nodes.make(root, [again]) == ["/dev/nvidia-caps/nvidia-cap1: made, 1:5, was 1:3"]
    assert os.listdir(tmp_path / "dev/nvidia-caps") == ["nvidia-cap1"]


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "owner", "wanted", "told"),
    [
        pytest.param(0o600, (0, 0), (0o666, 0, 0), "0666 of 0:0, was 0600 of 0:0", id="mode"),
        pytest.param(0o666, (0, 0), (0o660, 0, 44), "0660 of 0:44, was 0666 of 0:0", id="group"),
        pytest.param(0o660, (0, 44), (0o666, 0, 0), "0666 of 0:0, was 0660 of 0:44",
                     id="a udev rule's"),
        pytest.param(0o400, (7, 7), (0o400, 0, 0), "0400 of 0:0, was 0400 of 7:7", id="owner"),
        pytest.param(0o660, (5, 6), (0o660, 5, 6), "", id="right"),
    ],
)  # fmt: skip
def test_a_node_with_other_rights(
    tmp_path: Path, mode: int, owner: tuple[int, int], wanted: tuple[int, int, int], told: str
) -> None:
    """As nvidia-modprobe puts them right where the node is; a bind mount of it sees that."""
    root, node = Host(str(tmp_path)), nodes.Node("/dev/nvidia0", 1, 3, mode, *owner)
    nodes.make(root, [node])
    before = os.lstat(tmp_path / "dev/nvidia0")
    node = nodes.Node("/dev/nvidia0", 1, 3, *wanted)
    assert nodes.make(root, [node]) == ([f"/dev/nvidia0: {told}"] if told else [])
    after = os.lstat(tmp_path / "dev/nvidia0")
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == wanted
    assert after.st_ino == before.st_ino
    assert nodes.make(root, [node]) == []


def test_a_node_that_cannot_be_made(tmp_path: Path) -> None:
    write(tmp_path, "dev", "no folder")
    with pytest.raises(ConfigError) as caught:
        nodes.make(Host(str(tmp_path)), [nodes.Node("/dev/nvidia0", 1, 3)])
    assert caught.value.message == "/dev/nvidia0: cannot be made: file exists"


@pytest.mark.root
def test_what_lies_in_a_nodes_place(tmp_path: Path) -> None:
    """Docker makes a folder of `-v /dev/nvidia0:/dev/nvidia0` where the node is not there yet."""
    root, node = Host(str(tmp_path)), nodes.Node("/dev/nvidia0", 1, 3)
    (tmp_path / "dev/nvidia0").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        nodes.make(root, [node])
    assert caught.value.message == "/dev/nvidia0: cannot be made: is a directory"
    assert caught.value.hint == "rmdir /dev/nvidia0, when no container has it"
    (tmp_path / "dev/nvidia0").rmdir()
    write(tmp_path, f"dev/nvidia0.{os.getpid()}", "of one that was killed")
    assert nodes.make(root, [node]) == ["/dev/nvidia0: made, 1:3"]
    assert os.listdir(tmp_path / "dev") == ["nvidia0"]


def test_a_number_that_no_device_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        nodes.make(Host(str(tmp_path)), [nodes.Node("/dev/nvidia0", 195, 1 << 40)])
    assert caught.value.message == (
        f"/dev/nvidia0: cannot be made: no device has 195:{1 << 40}"
    )  # fmt: skip


@pytest.mark.root
def test_create_nodes_where_the_operator_makes_them(proc: Path) -> None:
    write(proc, "proc/driver/nvidia/params", "ModifyDeviceFiles: 0\n")
    device = ("--kind", "acme.com/uvm", "--device", "0=/dev/nvidia-uvm")
    words = (*device, "--output", str(proc / "x.yaml"), "--driver-root", str(proc))
    assert refresh(*words, "--create-nodes")[1].splitlines()[0] == (
        "no device node is made: the module's ModifyDeviceFiles is 0"
    )


@pytest.mark.root
def test_create_nodes_comes_before_the_spec(proc: Path) -> None:
    device = ("--kind", "acme.com/uvm", "--device", "0=/dev/nvidia-uvm")
    words = (*device, "--output", str(proc / "x.yaml"), "--driver-root", str(proc))
    status, output = refresh(*words, "--create-nodes")
    assert status == 0
    assert output.splitlines()[0] == "/dev/nvidiactl: made, 195:255"
    assert output.splitlines()[-1] == f"{proc}/x.yaml: written: there was none"
    assert stat.S_ISCHR(os.stat(proc / "dev/nvidia-uvm").st_mode)


@pytest.mark.root
def test_modules_are_loaded_by_the_driver_roots_modprobe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    write(tmp_path, "sbin/modprobe", "")
    (tmp_path / "sbin/modprobe").chmod(0o755)
    answers = {"nvidia-modeset": "FATAL: Module nvidia-modeset not found.\n"}

    def run(host: Host, *argv: str) -> subprocess.CompletedProcess[str]:
        calls.append((host.root, *argv))
        said = answers.get(argv[1], "")
        return subprocess.CompletedProcess(argv, 1 if said else 0, "", said)

    monkeypatch.setattr(Host, "run", run)
    root = Host(str(tmp_path))
    assert nodes.load(root) == ["nvidia: loaded", "nvidia-uvm: loaded"]
    assert calls == [(root.root, "modprobe", name) for name in nodes.MODULES]
    answers["nvidia-uvm"] = "modprobe: FATAL: Module nvidia-uvm\nnot found\n"
    with pytest.raises(ConfigError) as caught:
        nodes.load(root)
    said = "modprobe nvidia-uvm: modprobe: FATAL: Module nvidia-uvm not found"
    assert caught.value.message == said
