"""update-application-profile: the mask of the container's GPUs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ocishim.errors import HookError, UnsafePathError, UsageError
from ocishim.hooks import update_application_profile
from ocishim.hooks.outcome import Outcome
from ocishim.hooks.update_application_profile import PROFILE, parse
from ocishim.rootfs.rootfs import Rootfs
from tests.isolated import isolated
from tests.trees import make_tree, names

pytestmark = pytest.mark.root
FOLDER = os.path.dirname(PROFILE)[1:]


def apply(root: Path) -> list[Outcome]:
    with Rootfs.open_dir(str(root)) as rootfs:
        return update_application_profile.apply(rootfs, None)


def gpus(root: Path, *minors: int) -> Path:
    return make_tree(root, *(f"char dev/nvidia{i} 195 {minor}" for i, minor in enumerate(minors)))


@pytest.mark.parametrize(
    ("lines", "mask"),
    [
        pytest.param(["char dev/nvidia0 195 0"], 0x1, id="one"),
        pytest.param(["char dev/nvidia0 195 0", "char dev/nvidia3 195 3"], 0x9, id="two"),
        pytest.param(["char dev/nvidia7 195 2"], 0x4, id="the minor counts, not the name"),
        pytest.param(["char dev/nvidia0 195 63"], 1 << 63, id="the last"),
        pytest.param(["char dev/nvidia0 195 64", "char dev/nvidia1 195 1"], 0x2, id="too high"),
        pytest.param(["char dev/nvidiactl 195 255", "char dev/nvidia1 195 1"], 0x2, id="others"),
    ],
)
def test_the_mask(tmp_path: Path, lines: list[str], mask: int) -> None:
    (change,) = apply(make_tree(tmp_path, *lines))
    assert change.describe() == f"{PROFILE}: GPU mask {mask:#x}"
    text = (tmp_path / PROFILE[1:]).read_text()
    assert text == (
        '{"profiles":[{"name":"_container_","settings":["EGLVisibleDGPUDevices",'
        f'{mask:#x}]}}],"rules":[{{"pattern":[],"profile":"_container_"}}]}}'
    )
    assert json.loads(text.replace(f"{mask:#x}", "1"))["profiles"][0]["name"] == "_container_"
    assert oct((tmp_path / PROFILE[1:]).stat().st_mode) == "0o100444"
    assert oct((tmp_path / FOLDER).stat().st_mode) == "0o40555"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="no dev"),
        pytest.param(["dir dev"], id="empty"),
        pytest.param(["char dev/nvidiactl 195 255", "char dev/nvidia 195 1"], id="no GPU"),
        pytest.param(["file dev/nvidia0 text", "symlink dev/nvidia1 null"], id="no devices"),
        pytest.param(["block dev/nvidia0 195 0"], id="a block device"),
        pytest.param(["char dev/nvidia0 195 70"], id="no minor that fits"),
        pytest.param(["char dev/nvidia१ 195 1"], id="other digits"),
    ],
)
def test_without_gpus_nothing_is_done(tmp_path: Path, lines: list[str]) -> None:
    make_tree(tmp_path, *lines)
    before = names(tmp_path)
    assert apply(tmp_path) == []
    assert names(tmp_path) == before


def test_a_second_start(tmp_path: Path) -> None:
    gpus(tmp_path, 0)
    assert len(apply(tmp_path)) == 1
    assert apply(tmp_path) == []
    make_tree(tmp_path, "char dev/nvidia1 195 1")
    assert [change.describe() for change in apply(tmp_path)] == [f"{PROFILE}: GPU mask 0x3"]


def test_links_inside_the_root(tmp_path: Path) -> None:
    gpus(tmp_path, 0)
    make_tree(tmp_path, "dir data", "dir etc", "symlink etc/nvidia /data")
    apply(tmp_path)
    assert (tmp_path / "data/nvidia-application-profiles-rc.d/10-container.conf").exists()


def test_links_out_of_the_root(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "dir nvidia")
    root = gpus(tmp_path / "root", 0)
    make_tree(root, f"symlink etc {outside}")
    with pytest.raises(UnsafePathError, match="leads to no directory in the rootfs"):
        apply(root)
    assert names(outside) == ["nvidia"]


@isolated
def test_a_read_only_volume_is_a_warning(tmp_path: Path) -> None:
    root = gpus(tmp_path / "root", 0)
    make_tree(root, "dir etc/nvidia")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", root / "etc/nvidia"], check=True)
    (change,) = apply(root)
    what = "'/etc/nvidia/nvidia-application-profiles-rc.d' lies on the mount /etc/nvidia"
    assert change == Outcome(f"{what}: profile not written", warning=True)


def test_a_dev_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="'/dev' is a regular file, not a directory"):
        apply(make_tree(tmp_path, "file dev text"))


def test_another_failure_is_one(tmp_path: Path) -> None:
    make_tree(gpus(tmp_path, 0), f"dir {PROFILE[1:]}")
    with pytest.raises((HookError, UnsafePathError), match=r"10-container\.conf"):
        apply(tmp_path)


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="unknown flag '--mask'"):
        parse(["--mask", "1"])
    parse([])
