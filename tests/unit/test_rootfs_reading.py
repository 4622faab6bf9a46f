"""Rootfs: what a path of a hostile image leads to, and what reading it gives."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocishim import posixos
from ocishim.errors import UnsafePathError
from ocishim.hooks import chain
from ocishim.linux import mntns, syscalls
from ocishim.rootfs.rootfs import Rootfs
from tests.isolated import isolated
from tests.trees import hostile_tree, link_chain, make_tree, snapshot


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.fixture
def rootfs(tmp_path: Path, outside: Path) -> Iterator[Rootfs]:
    root = hostile_tree(tmp_path / "root", outside)
    with Rootfs.open_dir(str(root)) as rootfs:
        yield rootfs


def _real(rootfs: Rootfs, fd: int) -> str:
    """Where `fd` lies below the root."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(rootfs.path) or "/"
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", "/"),
        (".", "/"),
        ("..", "/"),
        ("../../..", "/"),
        ("/../etc", "/etc"),
        ("etc/passwd", "/etc/passwd"),
        ("/etc//passwd", "/etc/passwd"),
        ("run", "/var/run"),
        ("/run/", "/var/run"),
        ("abs-root", "/"),
        ("abs-root/etc", "/etc"),
        ("dots", "/"),
        ("dots/etc/passwd", "/etc/passwd"),
        ("nonlexical/passwd", "/etc/passwd"),
        ("deep/link", "/usr/lib"),
        ("fifo", "/fifo"),
        ("to-fifo", "/fifo"),
        ("socket", "/socket"),
    ],
)
def test_a_path_stays_in_the_root(rootfs: Rootfs, path: str, place: str) -> None:
    assert _real(rootfs, rootfs.resolve(path)) == place
    assert rootfs.exists(path)


@pytest.mark.parametrize(
    "path",
    ["missing", "dangling", "out", "out/file", "out-file", "dots-out", "dots-out/file", "plain/x"],
)
def test_what_leads_out_is_not_there(rootfs: Rootfs, outside: Path, path: str) -> None:
    before = snapshot(outside)
    assert not rootfs.exists(path)
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        rootfs.read(path)
    assert snapshot(outside) == before


@pytest.mark.parametrize("path", ["loop", "loop-a", "loop/x"])
def test_loops_are_refused(rootfs: Rootfs, path: str) -> None:
    text = f"path {path!r} is refused: a magic link, or too many links"
    assert rootfs.exists(path), "not to be replaced"
    for act in (rootfs.resolve, rootfs.read, rootfs.listdir):
        with pytest.raises(UnsafePathError) as caught:
            act(path)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    "path",
    [
        "magic-cwd",
        "magic-root",
        "magic-fd",
        "magic-root/etc/passwd",
        "proc/self/fd/0",
        "proc/self/root/",
    ],
)
@isolated
def test_magic_links_are_refused(tmp_path: Path, path: str) -> None:
    root = hostile_tree(tmp_path / "root", tmp_path / "outside")
    (root / "proc").mkdir()
    syscalls.mount("proc", str(root / "proc"), "proc", 0)
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(UnsafePathError) as caught:
        rootfs.resolve(path)
    assert str(caught.value) == f"path {path!r} is refused: a magic link, or too many links"


@pytest.mark.parametrize(("length", "works"), [(1, True), (40, True), (41, False), (500, False)])
def test_a_chain_of_links(tmp_path: Path, length: int, *, works: bool) -> None:
    root = link_chain(make_tree(tmp_path / "root", "file plain text"), length)
    with Rootfs.open_dir(str(root)) as rootfs:
        if works:
            assert rootfs.read("chain0") == b"text"
        else:
            with pytest.raises(UnsafePathError):
                rootfs.read("chain0")


@pytest.mark.parametrize("path", ["a\0b", "\0", "etc/passwd\0.conf"])
def test_nul_is_refused(rootfs: Rootfs, path: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        rootfs.read(path)
    assert str(caught.value) == f"path {path!r} holds a NUL byte"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("fifo", "fifo"),
        ("to-fifo", "fifo"),
        ("socket", "socket"),
        ("etc", "directory"),
        ("run", "directory"),
        ("/", "directory"),
    ],
)
def test_only_regular_files_are_read(rootfs: Rootfs, path: str, kind: str) -> None:
    for act in (rootfs.read, rootfs.open):
        with pytest.raises(UnsafePathError) as caught:
            act(path)
        assert str(caught.value) == f"{path!r} is a {kind}, not a regular file"


@pytest.mark.root
@pytest.mark.parametrize(
    ("line", "kind"),
    [("char d 1 5", "character device"), ("block d 7 99", "block device")],
    ids=["/dev/zero", "a disk"],
)
def test_devices_are_not_opened(tmp_path: Path, line: str, kind: str) -> None:
    with Rootfs.open_dir(str(make_tree(tmp_path / "root", line, "symlink zero d"))) as rootfs:
        for path in ("d", "zero"):
            with pytest.raises(UnsafePathError) as caught:
                rootfs.read(path)
            assert str(caught.value) == f"{path!r} is a {kind}, not a regular file"


def test_a_link_to_the_hosts_dev_zero_is_not_there(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "symlink etc/ld.so.conf /dev/zero")
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(FileNotFoundError):
        rootfs.read("/etc/ld.so.conf")


@pytest.mark.parametrize(("size", "works"), [(0, True), (99, True), (100, True), (101, False)])
def test_read_stops_at_its_limit(tmp_path: Path, size: int, *, works: bool) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        if works:
            assert rootfs.read("f", limit=100) == b"x" * size
        else:
            with pytest.raises(UnsafePathError) as caught:
                rootfs.read("f", limit=100)
            assert str(caught.value) == "'f' is larger than 100 bytes"


def test_a_sparse_terabyte_costs_only_the_limit(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.truncate(tmp_path / "f", 1 << 40)
    with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(UnsafePathError) as caught:
        rootfs.read("f")
    assert str(caught.value) == "'f' is larger than 1048576 bytes"


def test_open_gives_a_descriptor_that_programs_do_not_inherit(rootfs: Rootfs) -> None:
    fd = rootfs.open("plain")
    assert os.read(fd, 10) == b"text"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_open_can_refuse_a_link(rootfs: Rootfs) -> None:
    with pytest.raises(UnsafePathError) as caught:
        rootfs.open("to-fifo", follow=False)
    assert str(caught.value) == "'to-fifo' is a symbolic link, not a regular file"


@isolated
def test_a_proc_of_the_image_does_not_serve_other_files(tmp_path: Path) -> None:
    links = [f"symlink proc/self/fd/{fd} /etc/other" for fd in range(40)]
    root = make_tree(tmp_path / "root", "file etc/f text", "file etc/other wrong", *links)
    fd = os.open(root, os.O_PATH)
    mntns.pivot_into(mntns.bind(fd, fd))
    with Rootfs.open_dir("/") as rootfs, pytest.raises(UnsafePathError) as caught:
        rootfs.read("etc/f")
    assert str(caught.value) == "'etc/f' changed while it was opened"


@isolated
def test_nothing_is_read_without_proc(tmp_path: Path) -> None:
    """By its name a file could be another one the second time."""
    root = make_tree(tmp_path / "root", "file etc/f text")
    fd = os.open(root, os.O_PATH)
    mntns.pivot_into(mntns.bind(fd, fd))
    assert not os.path.exists("/proc")
    with Rootfs.open_dir("/") as rootfs, pytest.raises(UnsafePathError) as caught:
        rootfs.read("etc/f")
    assert str(caught.value) == (
        "'etc/f' cannot be opened by its descriptor: it is gone, or there is no /proc"
    )


def test_lstat_does_not_follow(rootfs: Rootfs) -> None:
    assert rootfs.lstat("run").st_size == len("/var/run")
    assert rootfs.lstat("loop").st_size == len("loop")


@pytest.mark.parametrize(
    ("path", "text"), [("run", "/var/run"), ("dangling", "/nowhere"), ("deep/link", "../usr/lib")]
)
def test_readlink(rootfs: Rootfs, path: str, text: str) -> None:
    assert rootfs.readlink(path) == text


def test_readlink_of_no_link(rootfs: Rootfs) -> None:
    with pytest.raises(OSError) as caught:
        rootfs.readlink("plain")
    assert (caught.value.errno, caught.value.strerror) == (
        errno.EINVAL, "'plain' is not a symbolic link",
    )  # fmt: skip


def test_listdir_is_sorted_and_limited(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", *(f"file d/{name} x" for name in "cabed"))
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.listdir("d", limit=5) == ["a", "b", "c", "d", "e"]
        with pytest.raises(UnsafePathError) as caught:
            rootfs.listdir("d", limit=4)
        assert str(caught.value) == "directory 'd' holds more than 4 names"


def test_listdir_of_a_file(rootfs: Rootfs) -> None:
    with pytest.raises(UnsafePathError) as caught:
        rootfs.listdir("fifo")
    assert str(caught.value) == "'fifo' is a fifo, not a directory"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).write_text("x")
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        assert rootfs.read(name) == b"x"
        assert rootfs.listdir("/") == [name]


def test_a_root_that_is_gone_has_nothing(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "file f x")
    with Rootfs.open_dir(str(root)) as rootfs:
        shutil.rmtree(root)
        assert not rootfs.exists("f")


def test_close_twice_and_from_fd(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    rootfs = Rootfs.from_fd(fd, "the root")
    rootfs.close()
    rootfs.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_no_descriptor_is_left_open(rootfs: Rootfs) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    paths = ["etc/passwd", "run", "fifo", "socket", "out", "loop", "missing", "plain", "/", "a\0"]
    for path in paths:
        for act in (
            rootfs.read,
            rootfs.listdir,
            rootfs.lstat,
            rootfs.readlink,
            rootfs.exists,
        ):
            try:
                act(path)
            except (OSError, UnsafePathError):
                continue
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("call", "read", "path"), [
    pytest.param("open", lambda root: root.read("/plain"), "/plain", id="a file is opened"),
    pytest.param("read", lambda root: root.read("/plain"), "/plain", id="a file is read"),
    pytest.param("open", lambda root: root.listdir("/deep"), "/deep", id="a folder is opened"),
    pytest.param("scandir", lambda root: root.listdir("/deep"), "/deep", id="a folder is read"),
])  # fmt: skip
def test_a_broken_disk_names_the_path(
    rootfs: Rootfs, monkeypatch: pytest.MonkeyPatch, call: str, read: Callable[[Rootfs], object],
    path: str,
) -> None:  # fmt: skip
    """What is opened is a descriptor, `/proc/self/fd/5` or 5: the container has no such file."""

    def broken(place: object, *_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), place)

    monkeypatch.setattr(posixos, call, broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        read(rootfs)
    assert chain.reason(caught.value) == f"{path}: Input/output error"
