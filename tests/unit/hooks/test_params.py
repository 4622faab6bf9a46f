"""disable-device-node-modification: the driver's parameters, as the container sees them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ocishim.errors import UsageError
from ocishim.hooks import disable_device_node_modification as hook
from ocishim.hooks.disable_device_node_modification import PARAMS, modified, parse
from ocishim.rootfs.rootfs import Rootfs
from tests.hookcall import Done, call
from tests.isolated import isolated, mounts
from tests.trees import make_tree

pytestmark = pytest.mark.root
HOST = b"ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileMode: 438\n"
NAME = "disable-device-node-modification"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (HOST, HOST.replace(b"Files: 1", b"Files: 0")),
        (b"ModifyDeviceFiles: 1", b"ModifyDeviceFiles: 0\n"),
        (b"ModifyDeviceFiles: 0\n", None),
        (b"ModifyDeviceFiles: 0\nModifyDeviceFiles: 1\n", None),
        (b"DeviceFileMode: 438\n", None),
        (b"XModifyDeviceFiles: 1\n", None),
        (b"ModifyDeviceFiles: 11\n", None),
        (b"", None),
    ],
)
def test_modified(text: bytes, changed: bytes | None) -> None:
    assert modified(text) == changed


def driver(root: Path, text: bytes = HOST) -> Path:
    """Put the driver's file into a folder that stands for /proc/driver."""
    path = make_tree(root, "dir nvidia") / "nvidia/params"
    path.write_bytes(text)
    return root


def with_proc(tmp_path: Path, text: bytes = HOST) -> Path:
    """A rootfs with a /proc of its own, host and container with the driver's files in theirs."""
    root = make_tree(tmp_path / "root", "dir proc")
    mounted = driver(tmp_path / "driver", text)
    subprocess.run(["mount", "-t", "proc", "none", root / "proc"], check=True)
    for proc in ("/proc/driver", root / "proc/driver"):
        subprocess.run(["mount", "--bind", mounted, proc], check=True)
    return root


def mounted(root: Path) -> list[list[str]]:
    """What is mounted in `root`, the fields of mountinfo."""
    lines = [line.split() for line in mounts(root)]
    return [line for line in lines if line[4].startswith(f"{root}/")]


@isolated
def test_the_container_sees_a_copy(tmp_path: Path) -> None:
    root = with_proc(tmp_path)
    before = len(mounted(root))
    done = call(root, NAME)
    assert (done.status, done.stderr) == (0, ""), done
    path = root / PARAMS[1:]
    assert path.read_bytes() == HOST.replace(b"Files: 1", b"Files: 0")
    assert oct(path.stat().st_mode) == "0o100444"
    assert Path(PARAMS).read_bytes() == HOST
    assert (root / "proc/driver/nvidia").is_dir()
    assert os.listdir(root / "proc/driver/nvidia") == ["params"]
    (mount,) = mounted(root)[before:]
    assert mount[4] == str(path)
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount[5].split(","))
    with pytest.raises(OSError, match="Read-only file system"):
        path.write_bytes(b"ModifyDeviceFiles: 1\n")
    assert "tmpfs" not in [entry.name for entry in os.scandir(root)]


@isolated
def test_a_second_time_mounts_nothing(tmp_path: Path) -> None:
    root = with_proc(tmp_path)
    assert call(root, NAME).status == 0
    before = mounted(root)
    assert call(root, NAME).status == 0
    assert mounted(root) == before


@isolated
def test_a_umask_does_not_matter(tmp_path: Path) -> None:
    root = with_proc(tmp_path)
    os.umask(0o777)
    assert call(root, NAME).status == 0
    assert oct((root / PARAMS[1:]).stat().st_mode) == "0o100444"


@isolated
def test_hosts_that_need_nothing(tmp_path: Path) -> None:
    root = with_proc(tmp_path, HOST.replace(b"Files: 1", b"Files: 0"))
    before = mounted(root)
    done = call(root, NAME)
    assert (done.status, done.stderr, mounted(root)) == (0, "", before)


def test_hosts_without_the_driver(tmp_path: Path) -> None:
    if os.path.exists(PARAMS):
        pytest.skip("this host has the driver")
    done = call(tmp_path, NAME)
    assert (done.status, done.stderr) == (0, "")


def on_host(tmp_path: Path, *lines: str) -> Done:
    """Run the hook on a rootfs without a /proc of its own."""
    subprocess.run(["mount", "--bind", driver(tmp_path / "driver"), "/proc/driver"], check=True)
    return call(make_tree(tmp_path / "root", *lines), NAME)


@isolated
def test_a_container_without_proc_is_a_warning(tmp_path: Path) -> None:
    done = on_host(tmp_path)
    assert done.status == 0
    assert done.stderr == (
        "pyshim-hook: warning: disable-device-node-modification: /proc/driver/nvidia/params: not in "
        "the container's /proc, left as it is\n"
    )


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the host's"])
@isolated
def test_the_hosts_proc_as_a_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    """`-v /proc:/proc:rshared`: what is mounted there is mounted on the host, and stays."""
    monkeypatch.setattr(hook, "PARAMS", "/proc/sys/kernel/ostype")
    monkeypatch.setattr(hook, "modified", lambda text: b"COPY" if text != b"COPY" else None)
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    root = make_tree(tmp_path / "root", "dir proc")
    how = ["-t", "proc", "none"] if own else ["--rbind", "/proc"]
    subprocess.run(["mount", *how, root / "proc"], check=True)
    with Rootfs.open_dir(str(root)) as rootfs:
        (outcome,) = hook.apply(rootfs, None)
    assert outcome.warning is not own
    assert Path("/proc/sys/kernel/ostype").read_bytes() != b"COPY"
    assert ((root / "proc/sys/kernel/ostype").read_bytes() == b"COPY") is own


@pytest.mark.parametrize("covered", [False, True], ids=["its file", "its folder"])
@isolated
def test_nothing_is_mounted_on_the_peers_of_a_volume(tmp_path: Path, *, covered: bool) -> None:
    """For a moment a tmpfs lies on the folder: where a file of its own covers the parameters."""
    host = driver(make_tree(tmp_path / "host"))
    subprocess.run(["mount", "--bind", host, host], check=True)
    subprocess.run(["mount", "--make-shared", host], check=True)
    root = make_tree(tmp_path / "root", "dir proc", "dir data", "symlink proc/driver /data")
    subprocess.run(["mount", "--bind", host, root / "data"], check=True)
    if covered:
        file = root / "data/nvidia/params"
        subprocess.run(
            ["mount", "--bind", driver(tmp_path / "file") / "nvidia/params", file], check=True
        )
        subprocess.run(["mount", "--make-private", file], check=True)
    before = mounts(tmp_path)
    subprocess.run(["mount", "--bind", driver(tmp_path / "driver"), "/proc/driver"], check=True)
    done = call(root, NAME)
    assert [one for one in mounts(tmp_path) if " /proc/driver " not in one] == before
    assert (host / "nvidia/params").read_bytes() == HOST
    assert done.status == 0
    assert done.stderr == (
        "pyshim-hook: warning: disable-device-node-modification: /proc/driver/nvidia/params: on a "
        "volume shared with others, left as it is\n"
    )


@isolated
def test_the_images_own_files_stay_inside(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "dir nvidia", "file nvidia/params of the host")
    done = on_host(tmp_path, "dir proc", f"symlink proc/driver {outside}")
    assert done.status == 0
    assert (outside / "nvidia/params").read_text() == "of the host"


@isolated
def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    done = on_host(tmp_path, "dir proc/driver/nvidia", "symlink proc/driver/nvidia/params /etc/x")
    assert done.status == 1
    assert done.stderr == (
        "pyshim-hook: createContainer hook disable-device-node-modification failed: "
        "'/proc/driver/nvidia/params' is a symbolic link, not a regular file\n"
    )


@isolated
def test_a_fifo_in_its_place_is_refused(tmp_path: Path) -> None:
    done = on_host(tmp_path, "fifo proc/driver/nvidia/params")
    assert done.status == 1
    assert "is a fifo, not a regular file" in done.stderr


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="unknown flag '--path'"):
        parse(["--path", "x"])
