"""Every system call: that it does what the manual says, and how its failure reads."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocishim.linux import const, ffi, syscalls
from tests.conftest import missing
from tests.isolated import isolated, run
from tests.trees import make_tree

IN_ROOT = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(make_tree(tmp_path / "root", "file a text", "symlink up /../a"), os.O_PATH)
    yield fd
    os.close(fd)


def test_openat2_stays_in_the_root(root: int) -> None:
    fd = syscalls.openat2(root, "up", os.O_RDONLY, 0, IN_ROOT)
    assert os.read(fd, 10) == b"text"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_openat2_gives_bytes_paths_through(root: int) -> None:
    os.close(syscalls.openat2(root, b"a", os.O_PATH, 0, IN_ROOT))


@pytest.mark.parametrize(
    ("call", "code", "text"),
    [
        pytest.param(
            lambda root: syscalls.openat2(root, "no", os.O_PATH | os.O_DIRECTORY, 0, IN_ROOT),
            errno.ENOENT,
            "openat2(ROOT, 'no'): No such file or directory",
            id="openat2",
        ),
        pytest.param(
            lambda _: syscalls.openat2(-1, "a", os.O_PATH | os.O_DIRECTORY, 0, IN_ROOT),
            errno.EBADF,
            "openat2(-1, 'a', O_DIRECTORY|O_PATH, RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT): "
            "Bad file descriptor",
            id="openat2 bad descriptor",
        ),
        pytest.param(
            lambda _: syscalls.mount("none", "/no/such", "tmpfs", const.MS_NODEV, "size=1"),
            errno.ENOENT,
            "mount('none', '/no/such', 'tmpfs', MS_NODEV, 'size=1'): No such file or directory",
            id="mount",
        ),
        pytest.param(
            lambda _: syscalls.umount2("/no/such", const.MNT_DETACH | const.UMOUNT_NOFOLLOW),
            errno.ENOENT,
            "umount2('/no/such', MNT_DETACH|UMOUNT_NOFOLLOW): No such file or directory",
            id="umount2",
        ),
        pytest.param(
            lambda _: syscalls.pivot_root("/no", "/no/old"),
            errno.ENOENT,
            "pivot_root('/no', '/no/old'): No such file or directory",
            id="pivot_root",
        ),
        pytest.param(
            lambda _: syscalls.unshare(1),
            errno.EINVAL,
            "unshare(0x1): Invalid argument",
            id="unshare",
        ),
        pytest.param(
            lambda _: syscalls.setns(-1, const.CLONE_NEWNS),
            errno.EBADF,
            "setns(-1, CLONE_NEWNS): Bad file descriptor",
            id="setns",
        ),
        pytest.param(
            lambda _: syscalls.fchmodat2(-1, "a", 0o755, 0),
            errno.EBADF,
            "fchmodat2(-1, 'a', 0o755, 0): Bad file descriptor",
            id="fchmodat2",
        ),
        pytest.param(
            lambda _: syscalls.execveat(9999, ["x"], {}),
            errno.EBADF,
            "execveat(9999, ['x']): Bad file descriptor",
            id="execveat",
        ),
        pytest.param(
            lambda _: syscalls.prctl(-1, 1, 2),
            errno.EINVAL,
            "prctl(-1, 1, 2): Invalid argument",
            id="prctl",
        ),
        pytest.param(
            lambda _: syscalls.open_tree(-1, "", const.AT_EMPTY_PATH),
            errno.EBADF,
            "open_tree(-1, '', 0x1000): Bad file descriptor",
            id="open_tree",
        ),
        pytest.param(
            lambda _: syscalls.move_mount(-1, "", -1, "", 0x44),
            errno.EBADF,
            "move_mount(-1, '', -1, '', 0x44): Bad file descriptor",
            id="move_mount",
        ),
        pytest.param(
            lambda _: syscalls.fsopen("nosuchfs"),
            errno.ENODEV,
            "fsopen('nosuchfs'): No such device",
            id="fsopen",
        ),
        pytest.param(
            lambda _: syscalls.statx(-1),
            errno.EBADF,
            "statx(-1, '', AT_EMPTY_PATH): Bad file descriptor",
            id="statx",
        ),
        pytest.param(
            lambda _: syscalls.mount_setattr(-1, 1, 0, recursive=False),
            errno.EBADF,
            "mount_setattr(-1, MOUNT_ATTR_RDONLY, 0): Bad file descriptor",
            id="mount_setattr",
        ),
    ],
)
@pytest.mark.root
def test_a_failure_reads_like_strace(
    root: int, call: Callable[[int], object], code: int, text: str
) -> None:
    def check() -> None:
        with pytest.raises(OSError) as caught:
            call(root)
        if caught.value.errno == errno.ENOSYS:
            pytest.skip(f"{caught.value.strerror}: fchmodat2 is Linux 6.6's, mount_setattr 5.12's")
        assert caught.value.errno == code
        assert str(caught.value.strerror).replace(str(root), "ROOT", 2) == text

    run(check)


def test_the_errors_class_is_pythons(root: int) -> None:
    with pytest.raises(FileNotFoundError):
        syscalls.openat2(root, "no", os.O_PATH)


@pytest.mark.parametrize("path", ["a\0b", b"a\0b", "\0"])
def test_a_path_with_nul_is_refused(root: int, path: str | bytes) -> None:
    with pytest.raises(OSError) as caught:
        syscalls.openat2(root, path, os.O_PATH)
    assert caught.value.errno == errno.EINVAL
    assert caught.value.strerror == f"path holds a NUL byte: {path!r}"


@pytest.mark.parametrize("busy", [0, 1, 127, 128])
def test_openat2_tries_128_times(root: int, busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(number: int, *args: Any) -> int:
        calls.append(number)
        return -1 if len(calls) <= busy else ffi.syscall(number, *args)

    monkeypatch.setattr(syscalls, "syscall", fake)
    monkeypatch.setattr(syscalls, "get_errno", lambda: errno.EAGAIN)
    if busy < 128:
        os.close(syscalls.openat2(root, "a", os.O_PATH))
        assert len(calls) == busy + 1
    else:
        with pytest.raises(BlockingIOError):
            syscalls.openat2(root, "a", os.O_PATH)
        assert len(calls) == 128


@pytest.mark.parametrize("mode", [0o640, 0o4755, 0o1777])
def test_fchmodat2_takes_an_o_path_descriptor(tmp_path: Path, mode: int) -> None:
    (tmp_path / "f").write_text("")
    fd = os.open(tmp_path / "f", os.O_PATH)
    try:
        syscalls.fchmodat2(fd, "", mode, const.AT_EMPTY_PATH)
    except OSError as error:
        assert error.errno == errno.ENOSYS  # noqa: PT017 - Linux before 6.6
    else:
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    finally:
        os.close(fd)


@isolated
def test_mount_and_umount2(tmp_path: Path) -> None:
    (tmp_path / "before").touch()
    syscalls.mount("none", str(tmp_path), "tmpfs", const.MS_NOSUID, "size=64k")
    assert os.listdir(tmp_path) == []
    assert os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize == 65536
    syscalls.umount2(str(tmp_path), const.MNT_DETACH)
    assert os.listdir(tmp_path) == ["before"]


@isolated
def test_setns_goes_back(tmp_path: Path) -> None:
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    here = os.stat("/proc/self/ns/mnt").st_ino
    syscalls.unshare(const.CLONE_NEWNS)
    assert os.stat("/proc/self/ns/mnt").st_ino != here
    syscalls.setns(home, const.CLONE_NEWNS)
    assert os.stat("/proc/self/ns/mnt").st_ino == here


@pytest.mark.root
def test_capset_drops_what_capget_shows() -> None:
    def drop() -> None:
        kept = 1 << const.CAP_DAC_OVERRIDE | 1 << 38  # one in each half
        effective, permitted, _ = syscalls.capget()
        kept &= effective
        assert kept
        syscalls.capset(kept, permitted, 0)
        assert syscalls.capget() == (kept, permitted, 0)
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        assert f"CapEff:\t{kept:016x}" in status

    run(drop, flags=0)


def test_prctl_returns_the_value() -> None:
    def no_new_privs() -> None:
        assert syscalls.prctl(const.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0
        syscalls.prctl(const.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        assert syscalls.prctl(const.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1

    run(no_new_privs, flags=0)


def test_the_ctypes_package_serves_as_well(tmp_path: Path) -> None:
    """Where `_ctypes` misses a name: the same results through `ctypes`."""
    (tmp_path / "f").write_text("text")
    script = f"""
import builtins, sys
plain = builtins.__import__
def without(name, globals=None, locals=None, fromlist=(), level=0):
    if name == "_ctypes" and "Array" in fromlist and globals["__name__"] == "ocishim.linux.ffi":
        raise ImportError(name)
    return plain(name, globals, locals, fromlist, level)
builtins.__import__ = without
sys.path[:0] = [{str(Path(__file__).parents[3])!r}]
import os
from ocishim.linux import const, syscalls
assert "ctypes" in sys.modules
fd = syscalls.openat2(const.AT_FDCWD, {str(tmp_path / "f")!r}, os.O_RDONLY)
assert os.read(fd, 9) == b"text"
syscalls.capget(), syscalls.statx(fd)
try:
    syscalls.openat2(const.AT_FDCWD, "/no/such", os.O_PATH)
except FileNotFoundError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    expected = "openat2(-100, '/no/such'): No such file or directory\n"
    assert done.stdout == expected, done.stderr


def test_the_hot_path_loads_no_ctypes_package() -> None:
    script = "import sys; import ocishim.linux.syscalls; print('ctypes' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "False\n"


_ORDER = [
    "mount",
    "umount2",
    "pivot_root",
    "unshare",
    "setns",
    "execveat",
    "statx",
    "prctl",
    "capget",
    "capset",
    "fstatfs",
]
_HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("machine", list(_HEADERS))
def test_the_numbers_are_the_kernels(machine: str) -> None:
    path = Path(_HEADERS[machine])
    if not path.exists():
        missing(f"{path} is not there (Debian: linux-libc-dev)")
    numbers = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["#define"] and len(words) == 3 and words[2].isdecimal():
            numbers[words[1].removeprefix("__NR_").removeprefix("__NR3264_")] = int(words[2])
    assert syscalls._NUMBERS[machine] == tuple(numbers[name] for name in _ORDER)
    for name in (
        "open_tree",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "openat2",
        "mount_setattr",
    ):
        value = numbers.get(name)  # a header older than the call does not know it
        assert value in (None, getattr(syscalls, f"_{name.upper()}"))
