"""Private mount namespaces with real mounts: binds, detached tmpfs, the change of root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocishim.linux import const, mntns, syscalls
from tests.isolated import isolated, mounts, run
from tests.trees import make_tree


@pytest.mark.root
def test_private_hides_our_mounts_from_the_host(tmp_path: Path) -> None:
    before = mounts(tmp_path)

    def mount() -> None:
        mntns.private()
        syscalls.mount("none", str(tmp_path), "tmpfs", 0)
        assert mounts(tmp_path)

    run(mount, flags=0)
    assert mounts(tmp_path) == before


@isolated
def test_private_still_receives_the_hosts_mounts(tmp_path: Path) -> None:
    syscalls.mount("none", str(tmp_path), "tmpfs", 0)
    syscalls.mount(None, str(tmp_path), None, const.MS_SHARED)
    (tmp_path / "later").mkdir()
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        mntns.private()
        os.write(to_parent[1], b"x")
        os.read(to_child[0], 1)
        os._exit(0 if os.path.exists(tmp_path / "later/seen") else 1)
    os.read(to_parent[0], 1)
    syscalls.mount("none", str(tmp_path / "later"), "tmpfs", 0)
    (tmp_path / "later/seen").touch()
    os.write(to_child[1], b"x")
    assert os.waitpid(pid, 0)[1] == 0


def _open(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_NOFOLLOW)


@isolated
@pytest.mark.parametrize("read_only", [False, True])
def test_bind_a_file(tmp_path: Path, *, read_only: bool) -> None:
    make_tree(tmp_path, "file from theirs", "file to ours")
    mntns.bind(_open(tmp_path / "from"), _open(tmp_path / "to"), read_only=read_only)
    assert (tmp_path / "to").read_text() == "theirs"
    if read_only:
        with pytest.raises(OSError) as caught:
            (tmp_path / "to").write_text("x")
        assert caught.value.errno == errno.EROFS
    else:
        (tmp_path / "to").write_text("x")
        assert (tmp_path / "from").read_text() == "x"


@isolated
@pytest.mark.parametrize("recursive", [False, True])
def test_bind_takes_mounts_below_along(tmp_path: Path, *, recursive: bool) -> None:
    make_tree(tmp_path, "dir from/sub", "dir to")
    syscalls.mount("none", str(tmp_path / "from/sub"), "tmpfs", 0)
    (tmp_path / "from/sub/inside").touch()
    mntns.bind(_open(tmp_path / "from"), _open(tmp_path / "to"), recursive=recursive)
    assert (tmp_path / "to/sub/inside").exists() is recursive


@isolated
def test_bind_read_only_on_a_kernel_without_mount_setattr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old_kernel(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(syscalls, "mount_setattr", old_kernel)
    make_tree(tmp_path, "file from theirs", "file to ours")
    mntns.bind(_open(tmp_path / "from"), _open(tmp_path / "to"), read_only=True)
    assert (tmp_path / "to").read_text() == "theirs"
    with pytest.raises(OSError) as caught:
        (tmp_path / "to").write_text("x")
    assert caught.value.errno == errno.EROFS


@isolated
def test_bind_leaves_no_descriptor_after_a_failure(tmp_path: Path) -> None:
    make_tree(tmp_path, "file file x", "dir dir")
    source, target = _open(tmp_path / "dir"), _open(tmp_path / "file")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        mntns.bind(source, target)
    assert os.listdir("/proc/self/fd") == before


@isolated
def test_a_detached_tmpfs_shows_only_what_is_bound(tmp_path: Path) -> None:
    make_tree(tmp_path, "file params ModifyDeviceFiles: 1", "dir shown")
    before = mounts(tmp_path)
    scratch = mntns.tmpfs(size=69632, mode=0o700)
    assert mounts("size=68k") == []
    fd = os.open("params", os.O_RDWR | os.O_CREAT, 0o444, dir_fd=scratch)
    os.write(fd, b"ModifyDeviceFiles: 0")
    # Before Linux 6.15 nothing can be bound from a file system that is mounted nowhere.
    mntns.attach(scratch, _open(tmp_path / "shown"))
    os.close(mntns.bind(fd, _open(tmp_path / "params"), read_only=True))
    syscalls.umount2(f"/proc/self/fd/{scratch}", const.MNT_DETACH)
    os.close(fd)
    os.close(scratch)
    assert (tmp_path / "params").read_text() == "ModifyDeviceFiles: 0"
    assert len(mounts(tmp_path)) == len(before) + 1


@isolated
def test_a_detached_tmpfs_has_its_size_and_mode() -> None:
    scratch = mntns.tmpfs(size=65536, mode=0o700, attributes=const.MOUNT_ATTR_NODEV)
    assert os.fstat(scratch).st_mode & 0o7777 == 0o700
    fd = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=scratch)
    assert os.write(fd, bytes(1 << 17)) == 65536
    with pytest.raises(OSError) as caught:
        os.write(fd, b"x")
    assert caught.value.errno == errno.ENOSPC


@isolated
def test_is_mountpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path, "file plain x", "file bound x", "dir same")
    folder = tmp_path / "a b\\c"
    folder.mkdir()
    mntns.bind(_open(tmp_path / "bound"), _open(tmp_path / "bound"))
    mntns.bind(_open(folder), _open(folder))
    expected = {"plain": False, "bound": True, "same": False, "a b\\c": True}
    found = {name: mntns.is_mountpoint(_open(tmp_path / name)) for name in expected}
    assert found == expected
    # the way of Linux 5.6 and 5.7, whose statx does not tell
    plain = syscalls.statx

    def untold(fd: int) -> syscalls.Statx:
        status = plain(fd)
        status.known = 0
        return status

    monkeypatch.setattr(syscalls, "statx", untold)
    found = {name: mntns.is_mountpoint(_open(tmp_path / name)) for name in expected}
    assert found == expected


@isolated
def test_pivot_into_leaves_only_the_new_root(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "file secret x")
    root = make_tree(tmp_path / "root", "file inside x")
    mount_fd = mntns.bind(_open(root), _open(root), recursive=True)
    mntns.pivot_into(mount_fd)
    assert os.getcwd() == "/"
    assert os.listdir("/") == ["inside"]
    assert not os.path.exists(outside)
    os.chdir("..")
    assert os.listdir(".") == ["inside"]


@isolated
def test_pivot_into_detaches_the_old_root(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir proc")
    syscalls.mount("proc", str(root / "proc"), "proc", 0)
    mntns.pivot_into(mntns.bind(_open(root), _open(root), recursive=True))
    points = [line.split()[4] for line in mounts("")]
    assert points == ["/", "/proc"]


@isolated
def test_pivot_into_moves_the_mount_where_pivot_root_is_refused(tmp_path: Path) -> None:
    """As on an initramfs: pivot_root(2) says EINVAL, here because of a chroot."""
    make_tree(tmp_path / "jail", "file root/inside x", "file outside x")
    os.chroot(tmp_path / "jail")
    os.chdir("/")
    fd = os.open("/root", os.O_PATH)
    mount_fd = mntns.bind(fd, fd)
    os.fchdir(mount_fd)
    with pytest.raises(OSError) as caught:
        syscalls.pivot_root(".", ".")
    assert caught.value.errno == errno.EINVAL
    mntns.pivot_into(mount_fd)
    assert os.listdir("/") == ["inside"]
    os.chdir("..")
    assert os.listdir(".") == ["inside"]


@isolated
def test_pivot_into_gives_other_errors_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(syscalls, "pivot_root", refuse)
    root = make_tree(tmp_path / "root", "file inside x")
    with pytest.raises(PermissionError):
        mntns.pivot_into(mntns.bind(_open(root), _open(root)))
