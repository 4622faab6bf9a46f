"""The modes for what is no GPU of an ordinary host: WSL, Jetson, GDS, MOFED, GDRCopy, NVSwitch.

On trees made after NVIDIA's documents, and beside what nvidia-ctk prints of the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ocishim.admin.cli import main
from tests import peer
from tests.unit.admin.test_generate import library
from tests.unit.admin.test_generate_custom import file, generate, link, node

pytestmark = pytest.mark.root

STORE = "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_1"
CSV = "/etc/nvidia-container-runtime/host-files-for-container.d"
LIB = "/usr/lib/aarch64-linux-gnu"


def spec(root: Path, mode: str, *words: str) -> tuple[dict[str, Any], str]:
    status, out, err = generate(root, "--mode", mode, *words)
    assert status == 0, err
    found: dict[str, Any] = yaml.safe_load(out)
    return found, err


def paths(found: dict[str, Any]) -> dict[str, set[str]]:
    """Return all nodes and mounts, whoever's they are."""
    edits = [one.get("containerEdits") or {} for one in (found, *found["devices"])]
    nodes = {node["path"] for one in edits for node in one.get("deviceNodes") or ()}
    mounts = {mount["containerPath"] for one in edits for mount in one.get("mounts") or ()}
    return {"nodes": nodes, "mounts": mounts}


def flags(found: dict[str, Any], hook: str) -> set[str]:
    """Return the values of a hook's flags, of all such hooks."""
    hooks = found["containerEdits"].get("hooks") or ()
    words = [one["args"][2:] for one in hooks if one["args"][1] == hook]
    return {word for one in words for word in one if not word.startswith("--")}


@pytest.fixture
def features(tmp_path: Path) -> Path:
    for name in (
        *("nvidia-fs0", "nvidia-fs1", "infiniband/uverbs0", "infiniband/rdma_cm", "gdrdrv"),
        *("nvidia-nvswitchctl", "nvidia-nvswitch0"),
    ):
        node(tmp_path, f"/dev/{name}")
    file(tmp_path, "/etc/cufile.json", "{}")
    (tmp_path / "run/udev").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "nodes", "mounts"),
    [
        ("gds", {"/dev/nvidia-fs0", "/dev/nvidia-fs1"}, {"/etc/cufile.json", "/run/udev"}),
        ("mofed", {"/dev/infiniband/uverbs0", "/dev/infiniband/rdma_cm"}, set()),
        ("gdrcopy", {"/dev/gdrdrv"}, set()),
        ("nvswitch", {"/dev/nvidia-nvswitchctl", "/dev/nvidia-nvswitch0"}, set()),
    ],
)
def test_features(features: Path, mode: str, nodes: set[str], mounts: set[str]) -> None:
    found, _ = spec(features, mode)
    assert found["kind"] == f"nvidia.com/{mode}"
    assert [one["name"] for one in found["devices"]] == ["all"]
    assert paths(found) == {"nodes": nodes, "mounts": mounts}
    assert found["containerEdits"]["env"] == ["NVIDIA_VISIBLE_DEVICES=void"]


@pytest.mark.parametrize("mode", ["gds", "mofed", "gdrcopy", "nvswitch"])
def test_features_beside_the_peer(features: Path, mode: str) -> None:
    argv = ("cdi", "generate", "--mode", mode, "--driver-root", str(features))
    assert paths(spec(features, mode)[0]) == paths(peer.spec(mode, features, *argv))


def test_a_feature_that_is_not_there(tmp_path: Path) -> None:
    status, _, err = generate(tmp_path, "--mode", "gds")
    assert status == 1
    assert err.splitlines() == [
        f"pyshimctl: no device node for gds: no {tmp_path}/dev/nvidia-fs*",
        "hint: modprobe nvidia-fs",
    ]


@pytest.fixture
def wsl(tmp_path: Path) -> Path:
    node(tmp_path, "/dev/dxg")
    library(tmp_path / STORE[1:] / "libcuda.so.1.1", "libcuda.so.1")
    library(tmp_path / STORE[1:] / "libnvidia-ml.so.1", "libnvidia-ml.so.1")
    for name in ("libcuda_loader.so", "nvcubins.bin", "nvidia-smi", "nvngx.dll", "nvidia.inf"):
        file(tmp_path, f"{STORE}/{name}")
    file(tmp_path, "/usr/lib/wsl/lib/libdxcore.so")
    file(tmp_path, "/usr/lib/wsl/drivers/iigd_dch.inf_amd64_2/libigc.so")
    return tmp_path


def test_wsl(wsl: Path) -> None:
    found, told = spec(wsl, "wsl")
    assert [one["name"] for one in found["devices"]] == ["all"]
    names = ("libcuda.so.1.1", "libcuda_loader.so", "libnvidia-ml.so.1", "nvcubins.bin")
    assert paths(found) == {
        "nodes": {"/dev/dxg"},
        "mounts": {
            *(f"{STORE}/{name}" for name in (*names, "nvidia-smi", "nvngx.dll")),
            "/usr/lib/wsl/lib/libdxcore.so",
        },
    }
    assert flags(found, "create-symlinks") == {
        f"libcuda.so.1.1::{STORE}/libcuda.so.1",
        f"{STORE}/nvidia-smi::/usr/bin/nvidia-smi",
    }
    assert flags(found, "update-ldcache") == {STORE, "/usr/lib/wsl/lib"}
    assert f"warning: no {STORE}/libnvidia-ptxjitcompiler.so.1; " in told


def test_wsl_is_found_by_itself(wsl: Path) -> None:
    assert spec(wsl, "auto") == spec(wsl, "wsl")


def test_wsl_takes_the_newest_of_two_drivers(wsl: Path) -> None:
    old = "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_0"
    file(wsl, f"{old}/libcuda.so.1.1")
    os.utime(wsl / old[1:] / "libcuda.so.1.1", (1, 1))
    found, told = spec(wsl, "wsl")
    assert not any(path.startswith(old) for path in paths(found)["mounts"])
    assert f"older drivers are left out: {old}\n" in told


def test_a_guest_of_hyper_v_is_no_wsl(tmp_path: Path) -> None:
    """Its module dxgkrnl makes /dev/dxg; the GPU is one passed on, with the ordinary driver."""
    node(tmp_path, "/dev/dxg")
    for name in ("nvidiactl", "nvidia0", "nvidia-uvm"):
        node(tmp_path, f"/dev/{name}")
    for stem, soname in (("libcuda", "libcuda.so.1"), ("libnvidia-ml", "libnvidia-ml.so.1")):
        library(tmp_path / f"usr/lib/{stem}.so.550.163.01", soname)
    found, _ = spec(tmp_path, "auto")
    assert [one["name"] for one in found["devices"]] == ["0", "all"]
    assert "/usr/lib/libcuda.so.550.163.01" in paths(found)["mounts"]


def test_a_node_of_wsl_where_its_driver_is_not(tmp_path: Path) -> None:
    node(tmp_path, "/dev/dxg")
    status, _, err = generate(tmp_path)
    assert status == 1
    assert "/dev/dxg is WSL's, and /usr/lib/wsl, where its driver is, is not mounted here" in err


@pytest.mark.parametrize(
    ("store", "status"), [("iigd_dch.inf_amd64_2", 0), ("nvlt.inf_amd64_7", 1)]
)
def test_refresh_owes_a_spec_where_nvidias_driver_is(
    tmp_path: Path, store: str, status: int
) -> None:
    """WSL has its node and its library with any GPU: a unit that fails at each boot helps nobody."""
    node(tmp_path, "/dev/dxg")
    file(tmp_path, "/usr/lib/wsl/lib/libdxcore.so")
    file(tmp_path, f"/usr/lib/wsl/drivers/{store}/x.so")
    words = ["--driver-root", str(tmp_path), "--output", str(tmp_path / "x.yaml")]
    result = CliRunner().invoke(main, ["cdi", "refresh", *words])
    assert result.exit_code == status, result.output
    assert ("no driver is loaded: nothing to do" in result.output) is (status == 0)


def test_wsl_without_nvidias_driver(tmp_path: Path) -> None:
    node(tmp_path, "/dev/dxg")
    file(tmp_path, "/usr/lib/wsl/lib/libdxcore.so")
    status, _, err = generate(tmp_path)
    assert (status, err.splitlines()[0]) == (
        1,
        f"pyshimctl: no NVIDIA driver found: no {tmp_path}/usr/lib/wsl/drivers/*/libcuda.so.1.1",
    )


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    """A tree as JetPack 5 lays it out."""
    for name in ("nvhost-ctrl", "nvmap", "nvidia0"):
        node(tmp_path, f"/dev/{name}", 0o660, 44)
    library(tmp_path / LIB[1:] / "tegra/libcuda.so.1.1", "libcuda.so.1")
    link(tmp_path, f"{LIB}/tegra/libcuda.so", "libcuda.so.1.1")
    link(tmp_path, f"{LIB}/libcuda.so", "tegra/libcuda.so")
    file(tmp_path, f"{LIB}/tegra/nvidia_icd.json")
    file(tmp_path, "/usr/share/nvidia/x")
    file(tmp_path, "/etc/nv_tegra_release", "# R35\n")
    file(
        tmp_path, f"{CSV}/devices.csv", "dev, /dev/nvhost-ctrl\ndev, /dev/nvmap\ndev, /dev/nvdla0\n"
    )
    lines = (
        f"lib, {LIB}/tegra/libcuda.so.1.1\nsym, {LIB}/libcuda.so\nlib, {LIB}/tegra/nvidia_icd.json\n"
        "dir, /usr/share/nvidia\n"
    )
    file(tmp_path, f"{CSV}/drivers.csv", lines)
    return tmp_path


def test_jetson(jetson: Path) -> None:
    found, told = spec(jetson, "csv")
    assert [one["name"] for one in found["devices"]] == ["0", "all"]
    assert paths(found) == {
        "nodes": {"/dev/nvhost-ctrl", "/dev/nvmap"},
        "mounts": {
            f"{LIB}/tegra/libcuda.so.1.1",
            f"{LIB}/tegra/nvidia_icd.json",
            "/usr/share/nvidia",
            "/etc/nv_tegra_release",
        },
    }
    assert flags(found, "create-symlinks") == {
        f"libcuda.so.1.1::{LIB}/tegra/libcuda.so.1",
        f"tegra/libcuda.so::{LIB}/libcuda.so",
        f"libcuda.so.1.1::{LIB}/tegra/libcuda.so",
    }
    assert flags(found, "update-ldcache") == {f"{LIB}/tegra"}
    assert "warning" not in told
    assert "libcuda.so.1::" not in str(found)  # the host's own link is
    assert found["devices"][0]["containerEdits"]["additionalGids"] == [44]


@pytest.mark.parametrize("fixture", ["wsl", "jetson"])
def test_no_second_layer_gives_what_the_image_asks_for(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    found, _ = spec(request.getfixturevalue(fixture), "auto")
    assert found["containerEdits"]["env"] == ["NVIDIA_VISIBLE_DEVICES=void"]


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        (
            "Orin (nvgpu)",
            [
                "--host-cuda-version=12.6",
                "--cuda-compat-container-root=/usr/local/cuda/compat_orin",
            ],
        ),
        ("NVIDIA Thor", ["--host-cuda-version=12.6"]),
    ],
)
def test_jetson_with_cuda_of_the_image(jetson: Path, model: str, flags: list[str]) -> None:
    """JetPack 6 has nvidia-smi; the flags are nvidia-ctk's."""
    gpu = f"<gpu><product_name>{model}</product_name></gpu>"
    xml = f"<nvidia_smi_log><cuda_version>12.6</cuda_version>{gpu}</nvidia_smi_log>"
    file(jetson, "/usr/sbin/nvidia-smi", f"#!/bin/sh\necho '{xml}'\n")
    (jetson / "usr/sbin/nvidia-smi").chmod(0o755)
    hooks = spec(jetson, "csv")[0]["containerEdits"]["hooks"]
    assert [one["args"][1] for one in hooks] == [
        "create-symlinks", "enable-cuda-compat", "update-ldcache",
    ]  # fmt: skip
    assert hooks[1]["args"][2:] == flags


def test_jetson_whose_nvidia_smi_fails(jetson: Path) -> None:
    file(jetson, "/usr/sbin/nvidia-smi", "#!/bin/sh\nexit 9\n")
    (jetson / "usr/sbin/nvidia-smi").chmod(0o755)
    why = "/usr/sbin/nvidia-smi -q -x: exit status 9: it says nothing"
    assert f"no enable-cuda-compat, since {why}\n" in spec(jetson, "csv")[1]


def test_jetson_is_found_by_itself(jetson: Path) -> None:
    assert spec(jetson, "auto") == spec(jetson, "csv")


@pytest.mark.parametrize(
    ("model", "mode"),
    [
        ("NVIDIA Thor", "csv"),
        ("Orin (nvgpu)", "csv"),
        ("NVIDIA RTX 6000 Ada Generation", "nvidia"),
    ],
)
def test_a_board_with_a_card_is_no_jetson(jetson: Path, model: str, mode: str) -> None:
    for name in ("libcuda", "libnvidia-ml"):
        library(jetson / f"usr/lib/x86_64-linux-gnu/{name}.so.550.163.01", f"{name}.so.1")
    facts = f"Model: \t\t {model}\nDevice Minor: \t 0\n"
    file(jetson, "/proc/driver/nvidia/gpus/0000:01:00.0/information", facts)
    assert spec(jetson, "auto") == spec(jetson, mode)


CARD = "GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1"


@pytest.mark.parametrize("board", ["", "NVIDIA Thor"])
def test_the_board_and_a_card_in_a_slot(jetson: Path, board: str) -> None:
    """An Orin's own GPU has no entry in /proc, a Thor's has; what each is given is nvidia-ctk's."""
    for name in ("nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "dri/card1"):
        node(jetson, f"/dev/{name}")
    file(jetson, "/sys/bus/pci/devices/0005:09:00.0/drm/card1/dev")
    with (jetson / CSV[1:] / "devices.csv").open("a") as csv:
        csv.write("dev, /dev/nvidia0\ndev, /dev/nvidia1\ndev, /dev/nvidiactl\n")
    proc = "/proc/driver/nvidia/gpus"
    facts = f"Model: RTX PRO 6000 Blackwell\nGPU UUID: {CARD}\nDevice Minor: 1\n"
    file(jetson, f"{proc}/0005:09:00.0/information", facts)
    if board:
        file(jetson, f"{proc}/0000:01:00.0/information", f"Model: {board}\nDevice Minor: 0\n")
    found = spec(jetson, "csv")[0]
    nodes = {
        one["name"]: {node["path"][5:] for node in one["containerEdits"]["deviceNodes"]}
        for one in found["devices"]
    }
    of_board = {"nvhost-ctrl", "nvmap"}
    card = of_board | {"nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "dri/card1"}
    assert nodes == {
        "0": of_board | {"nvidia0", "nvidia2", "nvidiactl"},
        "1": card,
        CARD: card,
        "all": card | {"nvidia0", "nvidia2"},
    }


def test_a_card_without_its_node_is_told(jetson: Path) -> None:
    facts = "Model: NVIDIA RTX A4000\nDevice Minor: 3\n"
    file(jetson, "/proc/driver/nvidia/gpus/0005:09:00.0/information", facts)
    found, told = spec(jetson, "csv")
    assert [one["name"] for one in found["devices"]] == ["0", "all"]
    assert "warning: GPU 1 is left out: no device node /dev/nvidia3; " in told


def test_an_empty_folder_makes_no_jetson(jetson: Path) -> None:
    for path in (jetson / CSV[1:]).iterdir():
        path.unlink()
    err = generate(jetson, "--mode", "auto")[2]
    assert err.startswith(f"pyshimctl: no NVIDIA driver found in {jetson}: ")


def test_jetson_beside_the_peer(jetson: Path) -> None:
    """It has all of the peer's, who looks for /etc/nv_tegra_release on this machine alone."""
    files = [f"--csv.file={jetson}{CSV}/{name}.csv" for name in ("devices", "drivers")]
    argv = ("cdi", "generate", "--mode", "csv", "--driver-root", str(jetson), *files)
    ours, theirs = spec(jetson, "csv")[0], peer.spec("csv", jetson, *argv)
    assert paths(ours)["nodes"] == paths(theirs)["nodes"]
    assert paths(ours)["mounts"] - {"/etc/nv_tegra_release"} == paths(theirs)["mounts"]
    # It writes the driver root into the paths of links, where no container has it.
    links = [
        {
            word.partition("::")[2].removeprefix(str(jetson))
            for word in flags(one, "create-symlinks")
        }
        for one in (ours, theirs)
    ]
    assert links[0] >= links[1]
    assert flags(ours, "update-ldcache") == flags(theirs, "update-ldcache")


def test_jetson_tells_what_it_leaves_out(jetson: Path) -> None:
    text = f"# a comment\n\nlib, {LIB}/gone.so\nlibrary, /x\nno comma\n"
    file(jetson, f"{CSV}/l4t.csv", text)
    file(jetson, f"{CSV}/cudnn.csv", "")
    told = spec(jetson, "csv")[1]
    for line in (
        f"warning: no {LIB}/gone.so; install the driver's packages (nvidia-l4t-*) whole",
        f"warning: {CSV}/l4t.csv:4: expected 'dev|dir|lib|sym, /path', found 'library, /x'; left out",
        f"warning: {CSV}/l4t.csv:5: expected 'dev|dir|lib|sym, /path', found 'no comma'; left out",
        f"{CSV}/cudnn.csv is not the driver's: left out",
    ):
        assert line in told.splitlines()


def test_jetson_without_its_files(tmp_path: Path) -> None:
    status, _, err = generate(tmp_path, "--mode", "csv")
    assert status == 1
    assert err.startswith("pyshimctl: none of devices.csv, drivers.csv, l4t.csv in ")


def test_jetson_with_a_circle_of_links(jetson: Path) -> None:
    link(jetson, f"{LIB}/a.so", "b.so")
    link(jetson, f"{LIB}/b.so", "a.so")
    file(jetson, f"{CSV}/l4t.csv", f"sym, {LIB}/a.so\n")
    status, _, err = generate(jetson, "--mode", "csv")
    assert status in {0, 1}
    assert "Traceback" not in err


def test_libcuda_has_the_name_that_programs_open(jetson: Path) -> None:
    (jetson / CSV[1:] / "drivers.csv").write_text(f"lib, {LIB}/tegra/libcuda.so.1.1\n")
    assert flags(spec(jetson, "csv")[0], "create-symlinks") == {
        f"libcuda.so.1.1::{LIB}/tegra/libcuda.so.1",
        f"libcuda.so.1::{LIB}/tegra/libcuda.so",
    }


def test_management(jetson: Path) -> None:
    """On this machine's class of tree the driver is none, which is told as in mode nvidia."""
    status, _, err = generate(jetson, "--mode", "management")
    assert status == 1
    assert err.startswith(f"pyshimctl: no NVIDIA driver found in {jetson}: ")
