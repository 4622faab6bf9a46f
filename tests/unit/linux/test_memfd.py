"""Sealed copies: equal to the program, runnable, and beyond writing for everybody."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim import posixos
from ocishim.linux import const, memfd, syscalls
from tests.isolated import run


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("by", ["path", "descriptor"])
def test_the_copy_holds_the_programs_bytes(program: Path, by: str) -> None:
    source = os.open(program, os.O_RDONLY) if by == "descriptor" else str(program)
    fd = memfd.sealed(source)
    with open(fd, "rb") as copy:
        assert os.pread(fd, 1 << 24, 0) == program.read_bytes()
        assert not os.get_inheritable(copy.fileno())
    if isinstance(source, int):
        os.close(source)  # still open: it is the caller's


def test_the_copy_runs(program: Path) -> None:
    fd = memfd.sealed(str(program))
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.execveat(fd, ["true"], {})
        finally:
            os._exit(99)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(fd)


def _write(fd: int) -> None:
    os.pwrite(fd, b"x", 0)


def _reopen(fd: int) -> None:
    with open(f"/proc/self/fd/{fd}", "r+b") as file:
        file.write(b"x")


def _unseal(fd: int) -> None:
    fcntl.fcntl(fd, const.F_ADD_SEALS, 0)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(_write, id="write"),
        pytest.param(_reopen, id="write through proc"),
        pytest.param(lambda fd: os.ftruncate(fd, 0), id="shrink"),
        pytest.param(lambda fd: os.ftruncate(fd, 1 << 20), id="grow"),
        pytest.param(_unseal, id="change the seals"),
    ],
)
def test_the_copy_cannot_be_changed(program: Path, attack: Callable[[int], object]) -> None:
    fd = memfd.sealed(str(program))
    try:
        with pytest.raises(PermissionError):
            attack(fd)
        assert os.pread(fd, 1 << 24, 0) == program.read_bytes()
    finally:
        os.close(fd)


def test_a_page_that_is_held_for_a_moment_is_waited_for() -> None:
    """As by reclaim on a busy node: the kernel's own wait is 0.15 s, then it says EBUSY."""
    fd = memfd.create("held")
    os.write(fd, b"x" * 4096)
    reader, writer = os.pipe()
    os.splice(fd, writer, 4096, offset_src=0)  # the pipe holds the page itself
    drain = threading.Timer(0.5, os.read, (reader, 4096))
    try:
        with pytest.raises(OSError) as caught:
            fcntl.fcntl(fd, const.F_ADD_SEALS, const.F_SEAL_WRITE)
        assert caught.value.errno == errno.EBUSY
        drain.start()
        memfd.seal(fd)
        with pytest.raises(PermissionError):
            _write(fd)
    finally:
        drain.join()
        for end in (fd, reader, writer):
            os.close(end)


def test_a_writer_that_stays_is_an_error() -> None:
    fd = memfd.create("held")
    os.ftruncate(fd, 4096)
    with mmap.mmap(fd, 4096), pytest.raises(OSError) as caught:
        memfd.seal(fd)
    assert caught.value.errno == errno.EBUSY
    os.close(fd)


def test_the_program_itself_is_only_read(program: Path) -> None:
    before = program.stat()
    os.close(memfd.sealed(str(program)))
    after = program.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_size, before.st_mtime_ns, before.st_ctime_ns,
    )  # fmt: skip


def test_a_kernel_before_6_3_gets_no_mfd_exec(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    create = os.memfd_create

    def old_kernel(name: str, flags: int) -> int:
        asked.append(flags)
        if flags & const.MFD_EXEC:
            raise OSError(errno.EINVAL, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(posixos, "memfd_create", old_kernel)
    os.close(memfd.sealed(str(program)))
    assert [flags & const.MFD_EXEC for flags in asked] == [const.MFD_EXEC, 0]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as caught:
        memfd.sealed(str(tmp_path))
    assert caught.value.strerror == f"not a regular file: {str(tmp_path)!r}"


def test_nothing_stays_open_after_a_failure(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        before = os.listdir("/proc/self/fd")

        def full(*_args: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(posixos, "sendfile", full)
        with pytest.raises(OSError):
            memfd.sealed(str(program))
        assert os.listdir("/proc/self/fd") == before

    run(check, flags=0)


def test_a_file_that_shrinks_meanwhile_is_an_error(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posixos, "sendfile", lambda *_args: 0)
    with pytest.raises(OSError) as caught:
        memfd.sealed(str(program))
    size = program.stat().st_size
    assert caught.value.strerror == f"file became shorter while it was copied: 0 of {size} bytes"
