"""Rootfs: directories, links, files and modes inside the root, and nothing anywhere else."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocishim import posixos
from ocishim.errors import ForeignMountError, PyshimError, UnsafePathError
from ocishim.linux import mntns, syscalls
from ocishim.rootfs import dirent
from ocishim.rootfs.rootfs import Rootfs
from tests.conftest import need
from tests.isolated import isolated
from tests.trees import hostile_tree, make_tree, names, snapshot


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    return hostile_tree(tmp_path / "root", outside)


@pytest.fixture
def rootfs(root: Path, outside: Path) -> Iterator[Rootfs]:
    before = snapshot(outside)
    with Rootfs.open_dir(str(root)) as rootfs:
        yield rootfs
    assert snapshot(outside) == before


Act = Callable[[Rootfs, str], object]
ACTS: dict[str, Act] = {
    "mkdir_all": lambda rootfs, path: os.close(rootfs.mkdir_all(path)),
    "put_symlink": lambda rootfs, path: rootfs.put_symlink("target", path),
    "put_file": lambda rootfs, path: rootfs.put_file(path, b"data"),
}


@pytest.fixture(params=list(ACTS))
def act(request: pytest.FixtureRequest) -> Callable[[Rootfs, str], object]:
    return ACTS[request.param]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("new", "new"),
        ("/a/b/c", "a/b/c"),
        ("a//b/./c", "a/b/c"),
        ("../../up", "up"),
        ("a/../b", "b"),
        ("run/x/y", "var/run/x/y"),
        ("/abs-root/etc/x", "etc/x"),
        ("dots/x", "x"),
        ("nonlexical/x", "etc/x"),
        ("deep/link/x", "usr/lib/x"),
        ("trailing/slash/", "trailing/slash"),
    ],
)
def test_where_things_are_made(
    act: Callable[[Rootfs, str], object], rootfs: Rootfs, root: Path, path: str, place: str
) -> None:
    act(rootfs, path)
    made = root / place
    assert made.is_symlink() or made.exists()
    assert not [name for name in names(root) if ".pyshim" in name]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("out/x", "'/out' is a symbolic link that leads to no directory in the rootfs"),
        ("dots-out/x", "'/dots-out' is a symbolic link that leads to no directory in the rootfs"),
        ("dangling/x", "'/dangling' is a symbolic link that leads to no directory in the rootfs"),
        ("to-fifo/x", "'/to-fifo' is a symbolic link that leads to no directory in the rootfs"),
        ("fifo/x", "'/fifo' is a fifo, not a directory"),
        ("socket/x/y", "'/socket' is a socket, not a directory"),
        ("plain/x", "'/plain' is a regular file, not a directory"),
        ("etc/passwd/x", "'/etc/passwd' is a regular file, not a directory"),
        ("loop/x", "path {parent!r} is refused: a magic link, or too many links"),
        ("a\0b/x", "path {parent!r} holds a NUL byte"),
    ],
)
def test_what_is_refused(
    act: Callable[[Rootfs, str], object], rootfs: Rootfs, root: Path, path: str, reason: str
) -> None:
    before = snapshot(root)
    with pytest.raises(UnsafePathError) as caught:
        act(rootfs, path)
    whole = reason.format(parent=path)
    assert str(caught.value) in (whole, reason.format(parent=path.rpartition("/")[0]))
    assert snapshot(root) == before


@isolated
@pytest.mark.parametrize("act", list(ACTS.values()), ids=list(ACTS))
@pytest.mark.parametrize("path", ["magic-root/tmp/x", "magic-cwd/x", "proc/self/cwd/x"])
def test_magic_links_are_refused(
    tmp_path: Path, act: Callable[[Rootfs, str], object], path: str
) -> None:
    root = hostile_tree(tmp_path / "root", tmp_path / "outside")
    (root / "proc").mkdir()
    syscalls.mount("proc", str(root / "proc"), "proc", 0)
    os.chdir(tmp_path / "outside")
    before = snapshot(tmp_path / "outside")
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(UnsafePathError) as caught:
        act(rootfs, path)
    assert "is refused: a magic link, or too many links" in str(caught.value)
    assert snapshot(tmp_path / "outside") == before


class Walks(Rootfs):
    """A rootfs that counts the ways it goes from its root."""

    count = 0

    def resolve(
        self, unsafe_path: str, flags: int = os.O_PATH, *, follow: bool = True, cross: bool = True
    ) -> int:
        self.count += 1
        return super().resolve(unsafe_path, flags, follow=follow, cross=cross)


@pytest.mark.parametrize(("path", "place", "walks"), [
    pytest.param("a/" * 500 + "l", "a/" * 500 + "l", 2, id="new"),
    pytest.param("b/" * 500 + "l", "b/" * 500 + "l", 2, id="half of it there"),
    pytest.param("run/new/l", "var/run/new/l", 3, id="a link on the way"),
    pytest.param("var/../new/l", "new/l", 3, id="up on the way"),
])  # fmt: skip
def test_folders_cost_no_walk_each(tmp_path: Path, path: str, place: str, walks: int) -> None:
    make_tree(tmp_path, "symlink run /var/run", "dir var/run", f"dir {'b/' * 250}")
    with Walks.open_dir(str(tmp_path)) as rootfs:
        rootfs.put_symlink("target", path)
        assert rootfs.count == walks
    assert os.readlink(tmp_path / place) == "target"


@pytest.mark.parametrize("path", ["/a" * 2000, "a/" * 2000, "/", "a", ""])
def test_whose_it_is_that_nobody_may_enter(rootfs: Rootfs, path: str) -> None:
    """However deep what is not there would lie: the root is the container's own."""
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert not rootfs.is_shut_out(path, denied)


@pytest.mark.parametrize("path", ["", "/", ".", "..", "a/..", "a/.", "//"])
@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
def test_a_path_without_a_name(rootfs: Rootfs, name: str, path: str) -> None:
    act = ACTS[name]
    with pytest.raises(UnsafePathError) as caught:
        act(rootfs, path)
    assert str(caught.value) == f"path {path!r} names no file in the rootfs"


def test_mkdir_all_of_what_is_there(rootfs: Rootfs, root: Path) -> None:
    before = snapshot(root)
    for path in ("/", "", "etc", "run", "deep/link", "dots"):
        os.close(rootfs.mkdir_all(path))
    assert snapshot(root) == before


def test_mkdir_all_modes(rootfs: Rootfs, root: Path) -> None:
    os.close(rootfs.mkdir_all("m/n", 0o700))
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("m", "m/n")] == [0o700, 0o700]


def test_mkdir_all_returns_the_directory(rootfs: Rootfs, root: Path) -> None:
    fd = rootfs.mkdir_all("run/x")
    assert os.path.samestat(os.fstat(fd), (root / "var/run/x").stat())
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize(
    "target",
    [
        "relative",
        "/absolute",
        "../../../etc/shadow",
        "a,b",
        "new\nline",
        "x" * 4000,
        os.fsdecode(b"\xff"),
    ],
    ids=["relative", "absolute", "dots", "comma", "newline", "long", "not utf-8"],
)
def test_put_symlink_writes_the_target_as_it_is(rootfs: Rootfs, root: Path, target: str) -> None:
    assert rootfs.put_symlink(target, "/l/link")
    assert os.readlink(root / "l/link") == target
    before = snapshot(root)
    assert not rootfs.put_symlink(target, "/l/link")
    assert snapshot(root) == before


@pytest.mark.parametrize("there", ["file l x", "symlink l other", "fifo l", "socket l"])
def test_put_symlink_replaces(tmp_path: Path, there: str) -> None:
    root = make_tree(tmp_path / "root", there)
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.put_symlink("target", "l")
    assert os.readlink(root / "l") == "target"
    assert names(root) == ["l"]


def test_put_symlink_replaces_a_link_to_a_directory_not_its_inside(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir d", "symlink l d")
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.put_symlink("target", "l")
    assert names(root) == ["d", "l"]
    assert os.readlink(root / "l") == "target"


def test_put_symlink_looks_for_the_same_link_in_the_root_only(root: Path, outside: Path) -> None:
    """A link of the host with the same text is no reason to think the work done."""
    make_tree(outside, "symlink same target")
    with Rootfs.open_dir(str(root)) as rootfs, pytest.raises(UnsafePathError):
        rootfs.put_symlink("target", "out/same")


@pytest.mark.parametrize("target", ["", "a\0b"])
def test_put_symlink_refuses_no_path(rootfs: Rootfs, target: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        rootfs.put_symlink(target, "l")
    assert str(caught.value) == f"symbolic link 'l' to {target!r}: not a path"


@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
def test_a_directory_is_not_replaced(rootfs: Rootfs, root: Path, name: str) -> None:
    before = snapshot(root)
    with pytest.raises(IsADirectoryError) as caught:
        ACTS[name](rootfs, "/usr/lib")
    assert caught.value.strerror == "'lib' is a directory"
    assert snapshot(root) == before


def test_put_file_writes_replaces_and_leaves_alone(rootfs: Rootfs, root: Path) -> None:
    assert rootfs.put_file("/f/file", b"one", 0o640)
    assert (root / "f/file").read_bytes() == b"one"
    assert stat.S_IMODE((root / "f/file").stat().st_mode) == 0o640
    before = snapshot(root)
    assert not rootfs.put_file("/f/file", b"one", 0o640)
    assert snapshot(root) == before
    assert rootfs.put_file("/f/file", b"two", 0o640)
    assert (root / "f/file").read_bytes() == b"two"
    assert rootfs.put_file("/f/file", b"two", 0o444)
    assert stat.S_IMODE((root / "f/file").stat().st_mode) == 0o444
    assert rootfs.put_file("/f/file", b"", 0o444)
    assert names(root / "f") == ["file"]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_put_file_does_not_mind_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        with Rootfs.open_dir(str(tmp_path)) as rootfs:
            rootfs.put_file("f", b"", 0o666)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666


@pytest.mark.parametrize("there", ["symlink f {outside}/file", "symlink f etc/passwd", "fifo f"])
def test_put_file_replaces_and_never_writes_through(
    tmp_path: Path, outside: Path, there: str
) -> None:
    make_tree(outside, "file file secret")
    before = snapshot(outside)
    lines = [there.format(outside=outside), "file etc/passwd untouched"]
    root = make_tree(tmp_path / "r", *lines)
    with Rootfs.open_dir(str(root)) as rootfs:
        assert rootfs.put_file("f", b"data")
    assert (root / "f").read_bytes() == b"data"
    assert (root / "etc/passwd").read_text() == "untouched"
    assert snapshot(outside) == before


def test_put_file_leaves_a_hard_links_other_name_alone(tmp_path: Path) -> None:
    make_tree(tmp_path, "file host/secret secret", "dir root")
    os.link(tmp_path / "host/secret", tmp_path / "root/f")
    with Rootfs.open_dir(str(tmp_path / "root")) as rootfs:
        rootfs.put_file("f", b"data")
    assert (tmp_path / "host/secret").read_text() == "secret"
    assert (tmp_path / "root/f").read_text() == "data"


def _without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def old_overlay(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return plain(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(posixos, "open", old_overlay)


def test_put_file_where_the_file_system_has_no_unnamed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_tmpfile(monkeypatch)
    make_tree(tmp_path, "file .pyshim-f a killed run's")
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        assert rootfs.put_file("f", b"data", 0o640)
        assert not rootfs.put_file("f", b"data", 0o640)
        assert rootfs.put_file("f", b"more", 0o640)
    assert (tmp_path / "f").read_text() == "more"
    assert names(tmp_path) == ["f"]


@isolated
def test_put_file_without_proc(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "file old x")
    fd = os.open(root, os.O_PATH)
    mntns.pivot_into(mntns.bind(fd, fd))
    with Rootfs.open_dir("/") as rootfs:
        for path in ("new", "old"):
            assert rootfs.put_file(path, b"data")
            assert Path("/", path).read_bytes() == b"data"
    assert sorted(os.listdir("/")) == ["new", "old"]


@pytest.mark.parametrize("tmpfile", [True, False])
def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tmpfile: bool
) -> None:
    if not tmpfile:
        _without_tmpfile(monkeypatch)
    make_tree(tmp_path, "file f old")
    monkeypatch.setattr(posixos, "write", _fail_with(errno.ENOSPC))
    with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(OSError) as caught:
        rootfs.put_file("f", b"data")
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


def _fail_with(code: int) -> Callable[..., int]:
    def fail(*_args: object, **_named: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EBUSY, errno.EIO, errno.ENOSPC])
def test_a_failed_rename_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    make_tree(tmp_path, "file f old")
    monkeypatch.setattr(posixos, "rename", _fail_with(code))
    with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(OSError) as caught:
        ACTS[name](rootfs, "f")
    assert caught.value.errno == code
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize(("name", "call"), [
    pytest.param("put_symlink", "symlink", id="a link"),
    pytest.param("put_file", "link", id="a file"),
    pytest.param("put_file", "open", id="a file that had a name"),
])  # fmt: skip
def test_a_deadline_right_after_a_call_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: str
) -> None:
    """The alarm's handler raises before the call's result is seen."""
    if call == "open":
        _without_tmpfile(monkeypatch)
    make_tree(tmp_path, "file f old")
    real = getattr(posixos, call)

    def done_and_late(*args: Any, **named: Any) -> object:
        result = real(*args, **named)
        if ".pyshim-f" in args:
            raise PyshimError("not done after 9 seconds")
        return result

    monkeypatch.setattr(posixos, call, done_and_late)
    with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(PyshimError, match="not done"):
        ACTS[name](rootfs, "f")
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
@pytest.mark.parametrize("leftover", ["file .pyshim-f x", "symlink .pyshim-f /etc/passwd"])
def test_a_killed_runs_leftover_goes(tmp_path: Path, name: str, leftover: str) -> None:
    make_tree(tmp_path, "file f old", leftover)
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        ACTS[name](rootfs, "f")
    assert names(tmp_path) == ["f"]


@pytest.mark.root
@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
@pytest.mark.parametrize("tmpfile", [True, False])
def test_a_folder_that_keeps_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, tmpfile: bool
) -> None:
    """What is prepared there could not be taken away, nor be renamed."""
    if not tmpfile:
        _without_tmpfile(monkeypatch)
    make_tree(tmp_path, "file f old")
    subprocess.run([need("chattr"), "+a", tmp_path], check=True)
    try:
        with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(PermissionError) as caught:
            ACTS[name](rootfs, "f")
    finally:
        subprocess.run(["chattr", "-a", tmp_path], check=True)
    assert caught.value.strerror == "Operation not permitted"
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("length", [1, 200, 247, 248, 255])
def test_long_names(tmp_path: Path, length: int) -> None:
    name = "n" * length
    make_tree(tmp_path, f"file {name} old")
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        assert rootfs.put_symlink("target", name)
        assert rootfs.put_file(name, b"data")
    assert names(tmp_path) == [name]
    assert len(os.fsencode(dirent.temporary(name))) <= 255


@isolated
def test_a_mounted_file_is_somebody_elses(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "file f mounted here", "file source x")
    with Rootfs.open_dir(str(root)) as rootfs:
        source, target = rootfs.resolve("source"), rootfs.resolve("f")
        mntns.bind(source, target)
        for name in ("put_symlink", "put_file"):
            with pytest.raises(ForeignMountError) as caught:
                ACTS[name](rootfs, "f")
            assert str(caught.value) == "'f' lies on the mount /f"
    assert names(root) == ["f", "source"]


@isolated
@pytest.mark.parametrize("name", [*ACTS, "chmod"])
def test_a_read_only_root_is_the_kernels_error(tmp_path: Path, name: str) -> None:
    acts: dict[str, Act] = {
        **ACTS,
        "chmod": lambda rootfs, path: rootfs.chmod(path, 0o600),
    }
    root = make_tree(tmp_path / "root", "file f x")
    before = snapshot(root)
    fd = os.open(root, os.O_PATH)
    with Rootfs.from_fd(mntns.bind(fd, fd, read_only=True), "root") as rootfs:
        with pytest.raises(OSError) as caught:
            acts[name](rootfs, "f" if name == "chmod" else "new/x")
        assert caught.value.errno == errno.EROFS
        if name == "put_file":
            assert not rootfs.put_file("f", b"x", stat.S_IMODE((root / "f").stat().st_mode))
    assert snapshot(root) == before


@pytest.mark.parametrize("mode", [0o600, 0o4755, 0o2755, 0o1777, 0o7777, 0])
@pytest.mark.parametrize("path", ["plain", "usr/lib", "fifo", "run/../run/../../plain"])
def test_chmod(rootfs: Rootfs, root: Path, path: str, mode: int) -> None:
    place = root / path.rpartition("../")[2]
    place.chmod(0o711)
    assert rootfs.chmod(path, mode)
    assert stat.S_IMODE(place.stat().st_mode) == mode
    assert not rootfs.chmod(path, mode)


@pytest.mark.parametrize("path", ["run", "out", "out-file", "dangling", "loop", "magic-root"])
def test_chmod_refuses_links(rootfs: Rootfs, root: Path, path: str) -> None:
    before = snapshot(root)
    with pytest.raises(UnsafePathError) as caught:
        rootfs.chmod(path, 0o777)
    assert str(caught.value) == f"{path!r} is a symbolic link: its mode is not set"
    assert snapshot(root) == before


@pytest.mark.parametrize("path", ["out/file", "dots-out/file", "../../outside/file"])
def test_chmod_finds_nothing_outside(rootfs: Rootfs, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        rootfs.chmod(path, 0o777)


def test_chmod_refuses_a_file_with_other_names(tmp_path: Path) -> None:
    make_tree(tmp_path, "file host/secret x", "dir root")
    (tmp_path / "host/secret").chmod(0o600)
    os.link(tmp_path / "host/secret", tmp_path / "root/f")
    with Rootfs.open_dir(str(tmp_path / "root")) as rootfs:
        with pytest.raises(UnsafePathError) as caught:
            rootfs.chmod("f", 0o777)
        assert str(caught.value) == "'f' has 2 hard links: its mode is not set"
    assert stat.S_IMODE((tmp_path / "host/secret").stat().st_mode) == 0o600


def _old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "fchmodat2", _fail_with(errno.ENOSYS))


@pytest.mark.parametrize("path", ["plain", "usr/lib", "fifo", "socket"])
def test_chmod_before_linux_6_6(
    rootfs: Rootfs, root: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    _old_kernel(monkeypatch)
    assert rootfs.chmod(path, 0o4711)
    assert stat.S_IMODE((root / path).stat().st_mode) == 0o4711


def test_no_descriptor_is_left_open(rootfs: Rootfs) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    acts: list[Act] = [*ACTS.values(), lambda rootfs, path: rootfs.chmod(path, 0o755)]
    paths = ("a/b", "run/x", "out/x", "fifo/x", "usr/lib", "loop/x", "plain", "/")
    for path in paths:
        for each in acts:
            try:
                each(rootfs, path)
            except (OSError, UnsafePathError):
                continue
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["put_symlink", "put_file"])
@pytest.mark.parametrize(("stolen", "works"), [(1, True), (15, True), (16, False)])
def test_another_hook_takes_the_prepared_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stolen: int, *, works: bool
) -> None:
    """Two containers at one volume: the prepared name is gone when it should be renamed."""
    make_tree(tmp_path, "file f old")
    plain = os.rename
    calls = []

    def steal(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append(source)
        if len(calls) <= stolen:
            os.unlink(source, dir_fd=src_dir_fd)
        plain(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(posixos, "rename", steal)
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        if works:
            ACTS[name](rootfs, "f")
        else:
            with pytest.raises(OSError) as caught:
                ACTS[name](rootfs, "f")
            assert caught.value.strerror == "'f' changes faster than it can be replaced"
    assert names(tmp_path) == ["f"]
