"""Whose a mount is: what may be written below a rootfs, and which files are the kernel's."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.errors import ForeignMountError, UnsafePathError
from ocishim.linux import kernelfs, syscalls
from ocishim.oci.container import Container
from ocishim.rootfs.rootfs import Rootfs
from tests.isolated import isolated
from tests.trees import make_tree, names, snapshot

ACTS: dict[str, Callable[[Rootfs, str], object]] = {
    "put_file": lambda rootfs, path: rootfs.put_file(path, b"x"),
    "put_symlink": lambda rootfs, path: rootfs.put_symlink("t", path),
    "mkdir_all": lambda rootfs, path: os.close(rootfs.mkdir_all(f"{path}/d")),
}


def _chmod(rootfs: Rootfs, path: str) -> object:
    return rootfs.chmod(path, 0o751)


def mount(kind: str, source: Path | str, target: Path, options: str = "") -> None:
    words = ["--bind"] if kind == "bind" else ["-t", kind]
    words += ["-o", options] if options else []
    subprocess.run(["mount", *words, str(source), str(target)], check=True)


@isolated
@pytest.mark.parametrize("name", list(ACTS))
@pytest.mark.parametrize("way", ["v", "link", "deep/link/a/../a", "../v"])
def test_a_volume_is_not_written(tmp_path: Path, name: str, way: str) -> None:
    root = make_tree(
        tmp_path / "root", "dir v", "symlink link v", "dir deep", "symlink deep/link /v"
    )
    volume = make_tree(tmp_path / "volume", "dir a", "file there x", "file a/x x")
    mount("bind", volume, root / "v")
    before = snapshot(volume)
    with Rootfs.open_dir(str(root)) as rootfs:
        with pytest.raises(ForeignMountError) as caught:
            ACTS[name](rootfs, f"{way}/new")
        with pytest.raises(ForeignMountError):
            rootfs.chmod(f"{way.removesuffix('/a/../a')}/there", 0o777)
    assert caught.value.mount == "/v"
    assert snapshot(volume) == before


@isolated
@pytest.mark.parametrize("name", [*ACTS, "chmod"])
@pytest.mark.parametrize("there", [
    "fifo a", "socket a", "file a x", "char a 1 11", "symlink a gone", "symlink a a",
    "symlink a /proc/self/cwd",
])  # fmt: skip
@pytest.mark.parametrize("way", ["/v/a", "/link"])
def test_what_is_in_the_way_on_a_volume(tmp_path: Path, name: str, there: str, way: str) -> None:
    """Its other owner put it there: no reason to refuse, as it would be in the rootfs itself."""
    root = make_tree(tmp_path / "root", "dir v", "symlink link /v/a")
    volume = make_tree(tmp_path / "volume", there)
    mount("bind", volume, root / "v")
    path = "/v/a" if name == "chmod" else f"{way}/new"
    acts = {**ACTS, "chmod": _chmod}
    before = snapshot(volume)
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(ForeignMountError):
        acts[name](rootfs, path)
    assert snapshot(volume) == before


@isolated
def test_the_same_file_system_elsewhere_is_another_mount(tmp_path: Path) -> None:
    """By st_dev a volume would look like the rootfs itself."""
    root = make_tree(tmp_path / "root", "dir v")
    volume = make_tree(tmp_path / "volume")
    mount("bind", volume, root / "v")
    assert (root / "v").stat().st_dev == root.stat().st_dev
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(ForeignMountError) as caught:
        rootfs.put_file("/v/f", b"")
    assert str(caught.value) == "'/v/f' lies on the mount /v"


@isolated
@pytest.mark.parametrize(("told", "options", "writes"), [
    pytest.param(["/dev"], "", True, id="the container's"),
    pytest.param(["/link"], "", True, id="by a link of the image"),
    pytest.param([], "", False, id="not in config.json"),
    pytest.param(["/"], "", False, id="the folder above is"),
    pytest.param(["/dev/sub"], "", False, id="a folder below is"),
    pytest.param(["/dev"], "ro", False, id="read-only"),
])  # fmt: skip
def test_a_tmpfs(tmp_path: Path, told: list[str], options: str, *, writes: bool) -> None:
    root = make_tree(tmp_path / "root", "dir dev", "symlink link dev")
    mount("tmpfs", "none", root / "dev")
    (root / "dev/sub").mkdir()
    if options:
        subprocess.run(["mount", "-o", f"remount,{options}", root / "dev"], check=True)
    with Rootfs.open_dir(str(root)) as rootfs:
        rootfs.container = lambda: Container(tmpfs=told)
        if writes:
            assert rootfs.put_symlink("t", "/dev/dri/by-path/l")
            assert os.readlink(root / "dev/dri/by-path/l") == "t"
        else:
            with pytest.raises(ForeignMountError):
                rootfs.put_symlink("t", "/dev/dri/by-path/l")
            assert names(root / "dev") == ["sub"]


@isolated
@pytest.mark.parametrize("below", ["", "/folder"])
def test_a_tmpfs_of_the_hosts_at_that_place(tmp_path: Path, below: str) -> None:
    root, host = make_tree(tmp_path / "root", "dir run"), make_tree(tmp_path / "host")
    mount("tmpfs", "none", host)
    (host / "folder").mkdir()
    mount("bind", f"{host}{below}", root / "run")
    with Rootfs.open_dir(str(root)) as rootfs:
        rootfs.container = lambda: Container(tmpfs=["/run"])
        with pytest.raises(ForeignMountError) as caught:
            rootfs.put_file("/run/f", b"")
    assert str(caught.value) == "'/run/f' lies on the mount /run"
    assert names(host) == ["folder"]


@isolated
def test_before_linux_5_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statx tells no mount there; /proc/self/fdinfo does."""
    root = make_tree(tmp_path / "root", "dir v", "dir own")
    mount("bind", make_tree(tmp_path / "volume"), root / "v")
    plain = syscalls.statx

    def untold(fd: int) -> syscalls.Statx:
        status = plain(fd)
        status.mount = -1
        return status

    monkeypatch.setattr(syscalls, "statx", untold)
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.put_file("/own/f", b"x")
        with pytest.raises(ForeignMountError):
            rootfs.put_file("/v/f", b"x")


# --- reading


@isolated
@pytest.mark.parametrize(("kind", "path"), [
    ("proc", "keys"), ("proc", "version"), ("sysfs", "kernel/notes"), ("mqueue", "queue"),
])  # fmt: skip
def test_a_kernel_file_is_not_read(tmp_path: Path, kind: str, path: str) -> None:
    root = make_tree(tmp_path / "root", "dir k", f"symlink link /k/{path}")
    mount(kind, "none", root / "k")
    if kind == "mqueue":
        (root / "k/queue").touch()
    with Rootfs.open_dir(str(root)) as rootfs:
        for name in (f"/k/{path}", "link"):
            for act in (rootfs.read, rootfs.open):
                with pytest.raises(UnsafePathError) as caught:
                    act(name)
                text = f"{name!r} lies on {kind}, which is the kernel's"
                assert str(caught.value) == text
        with pytest.raises(UnsafePathError):
            rootfs.listdir("/k")


@isolated
def test_a_volume_is_read_unless_it_must_not_be_left(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path / "root", "dir v", "file own x", "symlink out v/f", "symlink back v/../own"
    )
    mount("bind", make_tree(tmp_path / "volume", "file f text"), root / "v")
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.read("/v/f") == rootfs.read("out") == b"text"
        assert rootfs.read("own", cross=False) == b"x"
        for path in ("/v/f", "out"):
            with pytest.raises(ForeignMountError) as caught:
                rootfs.read(path, cross=False)
            assert str(caught.value) == f"{path!r} lies on the mount /v"
        with pytest.raises(ForeignMountError):
            rootfs.read("back", cross=False)


@pytest.mark.root
@pytest.mark.parametrize(("uid", "groups", "reads"), [
    (0, [], True), (1000, [], True), (1001, [44], True), (1001, [], False), (65534, [45], False),
])  # fmt: skip
def test_reading_as_the_containers_user(
    tmp_path: Path, uid: int, groups: list[int], *, reads: bool
) -> None:
    make_tree(tmp_path, "file f x")
    os.chown(tmp_path / "f", 1000, 44)
    (tmp_path / "f").chmod(0o440)

    def read() -> None:
        with Rootfs.open_dir(str(tmp_path)) as rootfs:
            with Container(uid, uid, groups).reading():
                if reads:
                    assert rootfs.read("f") == b"x"
                else:
                    with pytest.raises(PermissionError):
                        rootfs.read("f")
            assert rootfs.read("f") == b"x", "root again"

    from tests.isolated import run  # noqa: PLC0415

    tmp_path.chmod(0o755)
    run(read, flags=0)


def test_the_kernels_file_systems_are_the_headers() -> None:
    """Those that linux/magic.h of this machine has; the others say where they are from."""
    text = Path("/usr/include/linux/magic.h").read_text()
    found = {
        int(number, 16)
        for number in re.findall(r"^#define \w+\s+(0x[0-9a-fA-F]+)", text, re.MULTILINE)
    }
    elsewhere = {"configfs", "fusectl", "nfsd", "rpc_pipefs", "mqueue", "resctrl", "apparmorfs",
                 "pidfs", "guest_memfd", "functionfs", "gadgetfs", "spufs"}  # fmt: skip
    missing = {name for number, name in kernelfs.NAMES.items() if number not in found}
    assert missing <= elsewhere
    data = ("ext4", 0xEF53), ("overlay", 0x794C7630), ("tmpfs", 0x01021994), ("btrfs", 0x9123683E)
    assert [kernelfs.name(number) for _, number in data] == [""] * 4
