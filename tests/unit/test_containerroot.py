"""containerroot: the root hooks see, in a mount namespace that ends with a child process."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocishim import jsonio
from ocishim.errors import DocumentError, HookError, UnsafePathError
from ocishim.executor import containerroot
from ocishim.linux import mntns
from ocishim.rootfs.rootfs import Rootfs

pytestmark = pytest.mark.root


def in_root(
    tree: Path,
    mounts: list[Any],
    look: Callable[[Rootfs, list[str]], Any],
    devices: list[Any] | None = None,
    owner: tuple[int, int] = (0, 0),
) -> Any:
    """look(root, notes) in a child that built the root; its exception is raised here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            mntns.private()
            notes: list[str] = []
            builder = containerroot.Builder(str(tree), str(tree.parent), owner, notes.append)
            spec = {"mounts": mounts, "linux": {"devices": devices or []}}
            with builder.build(spec) as root:
                os.fchdir(root.fd)
                answer = look(root, notes)
        except BaseException as error:  # noqa: BLE001
            answer = error
        os.write(writer, pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pickle.loads(pipe.read())
    os.waitpid(pid, 0)
    if isinstance(answer, BaseException):
        raise answer
    return answer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "rootfs"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/here").write_text("image")
    return folder


def bind(source: Path | str, destination: str, *options: str) -> dict[str, Any]:
    return {
        "source": str(source),
        "destination": destination,
        "type": "bind",
        "options": list(options),
    }


def read(path: str) -> Callable[[Rootfs, list[str]], Any]:
    return lambda _root, _notes: Path(path).read_text()


def test_file_over_a_file(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    assert (
        in_root(tree, [bind(tmp_path / "file", "/etc/here", "rbind")], read("etc/here")) == "host"
    )
    assert (tree / "etc/here").read_text() == "image"


def test_mount_points_are_made_like_their_source(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    in_root(
        tree, [bind(tmp_path / "file", "/a/b/file"), bind(tmp_path, "/c/folder")], lambda *_: None
    )
    assert (tree / "a/b/file").is_file()
    assert (tree / "c/folder").is_dir()


def test_a_relative_source_is_the_bundles(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bundle")
    assert in_root(tree, [bind("file", "/etc/here")], read("etc/here")) == "bundle"


def test_later_mounts_lie_on_earlier_ones(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "file").write_text("two")
    mounts = [bind(tmp_path / "one", "/mnt"), bind(tmp_path / "file", "/mnt/file")]
    assert in_root(tree, mounts, read("mnt/file")) == "two"
    assert (tmp_path / "one/file").exists(), "the mount point is in the volume, as with runc"
    assert not (tree / "mnt/file").exists()


@pytest.fixture(params=["Linux 5.12", "Linux 5.6"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return nothing: the kernel there is, then one without mount_setattr."""
    if request.param == "Linux 5.6":
        monkeypatch.setattr(mntns, "restrict", lambda *_, **__: False)


@pytest.mark.parametrize(("options", "flags"), [
    (["rbind"], 0),
    (["rbind", "ro"], os.ST_RDONLY),
    (["bind", "ro", "nosuid", "nodev", "noexec"],
     os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC),
    (["rbind", "rro"], os.ST_RDONLY),
])  # fmt: skip
@pytest.mark.usefixtures("kernel")
def test_options(tree: Path, tmp_path: Path, options: list[str], flags: int) -> None:
    wanted = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
    found = in_root(tree, [bind(tmp_path, "/mnt", *options)], lambda *_: os.statvfs("mnt").f_flag)
    assert found & wanted == flags


def test_tmpfs_is_ours_and_empty(tree: Path) -> None:
    def look(*_: object) -> list[str]:
        Path("etc/made").touch()
        return os.listdir("etc")

    assert in_root(tree, [{"destination": "/etc", "type": "tmpfs"}], look) == ["made"]
    assert os.listdir(tree / "etc") == ["here"]


def test_devices_are_made_on_tmpfs_alone(tree: Path) -> None:
    devices = [
        {"path": "/dev/acme0", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/sub/acme1", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/etc/acme2", "type": "c", "major": 1, "minor": 3},
    ]

    def look(*_: object) -> tuple[bool, int, list[str]]:
        status = os.stat("dev/acme0")
        return stat.S_ISCHR(status.st_mode), status.st_rdev, sorted(os.listdir("dev"))

    found = in_root(tree, [{"destination": "/dev", "type": "tmpfs"}], look, devices)
    assert found == (True, os.makedev(1, 3), ["acme0", "sub"])
    assert os.listdir(tree / "etc") == ["here"]


def test_devices_are_not_made_in_a_volume(tree: Path, tmp_path: Path) -> None:
    """The volume is mounted on the tmpfs, so that only its own number tells them apart."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounts = [{"destination": "/dev", "type": "tmpfs"}, bind(volume, "/dev/sub", "rbind")]
    device = {"path": "/dev/sub/acme0", "type": "c", "major": 1, "minor": 3}
    in_root(tree, mounts, lambda *_: None, [device])
    assert os.listdir(volume) == []


def test_what_lies_in_proc_is_left_out_and_told(tree: Path, tmp_path: Path) -> None:
    mounts = [
        {"destination": "/proc", "type": "proc"}, bind(tmp_path, "/proc/driver/acme"),
        {"destination": "/proc/fs", "type": "tmpfs"},
    ]  # fmt: skip
    assert in_root(tree, mounts, lambda _root, notes: notes) == [
        "hooks do not see the mount /proc/driver/acme",
        "hooks do not see the mount /proc/fs",
    ]
    assert not (tree / "proc").exists()


def test_links_stay_in_the_root(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "opt").symlink_to(f"../../../../../../..{outside}")
    (tmp_path / "file").write_text("host")
    in_root(tree, [bind(tmp_path / "file", "/opt/file")], lambda *_: None)
    assert (tree / f".{outside}/file").exists()
    (tree / "opt").unlink()
    (tree / "opt").symlink_to("/etc")
    in_root(tree, [bind(tmp_path / "file", "/opt/file")], lambda *_: None)
    assert (tree / "etc/file").exists()
    assert os.listdir(outside) == []


@pytest.mark.parametrize(
    ("links", "destination", "place"),
    [
        pytest.param({"etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf"},
                     "/etc/resolv.conf", "run/systemd/resolve/stub-resolv.conf", id="resolved's"),
        pytest.param({"etc/localtime": "../usr/share/zoneinfo/UTC"}, "/etc/localtime",
                     "usr/share/zoneinfo/UTC", id="relative"),
        pytest.param({"a": "b", "b": "c/d"}, "/a", "c/d", id="a link to a link"),
        pytest.param({"data": "/no/where"}, "/data/x/y", "no/where/x/y", id="a folder"),
        pytest.param({"up": "../../../../../made"}, "/up", "made", id="above the root"),
        pytest.param({"x": "gone/../y"}, "/x", "y", id="back from what is missing"),
        pytest.param({"proc1": "/proc/1/root/made"}, "/proc1", "proc/1/root/made", id="procfs"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_directory", [True, False], ids=["folder", "file"])
def test_a_dangling_link_leads_somewhere_in_the_root(
    tree: Path, tmp_path: Path, links: dict[str, str], destination: str, place: str, *,
    is_directory: bool,
) -> None:  # fmt: skip
    """Runc 5090, moby 17944; as runc, crun and gVisor make it."""
    for name, target in links.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).symlink_to(target)
    source = tmp_path / "source"
    (source.mkdir if is_directory else source.touch)()
    there = in_root(tree, [bind(source, destination)], lambda root, _: root.lstat(place).st_ino)
    assert there == source.stat().st_ino
    assert all((tree / name).is_symlink() for name in links)
    made = tree / place
    assert made.is_dir() if is_directory else (made.is_file() and made.read_bytes() == b"")


def test_links_without_end_are_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "grow").symlink_to("grow/x/..")
    (tmp_path / "file").touch()
    with pytest.raises(UnsafePathError, match="'/grow' is refused"):
        in_root(tree, [bind(tmp_path / "file", "/grow")], lambda *_: None)


@pytest.mark.parametrize("destination", ["/dev", "/dev/shm"])
def test_a_dangling_link_at_dev_is_refused(tree: Path, tmp_path: Path, destination: str) -> None:
    """Runc makes its links below /dev by the path on the host."""
    (tree / "dev").symlink_to("/gone")
    with pytest.raises(UnsafePathError, match=f"'{destination}' is refused: a link there leads"):
        in_root(tree, [bind(tmp_path, destination)], lambda *_: None)
    assert not (tree / "gone").exists()


def test_a_missing_source_is_named(tree: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        in_root(tree, [bind("/etc", "/mnt"), bind("/no/such", "/mnt")], lambda *_: None)
    assert caught.value.message == (
        "config.json: 'mounts[1].source' /no/such: No such file or directory"
    )


@pytest.mark.parametrize(("mount", "message"), [
    pytest.param({"source": "/a\0b"}, "config.json: 'mounts[0].source' /a\0b: a NUL is in the path",
        id="NUL"),
    pytest.param({"options": 5},
        "config.json: expected array, found integer in 'mounts[0].options'", id="options"),
    pytest.param({"options": "rbind"},
        "config.json: expected array, found string in 'mounts[0].options'", id="one option"),
])  # fmt: skip
def test_a_mount_that_is_none(tree: Path, mount: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        in_root(tree, [{**bind("/", "/m"), **mount}], read("m"))
    assert caught.value.message == message


@pytest.mark.parametrize("change", [
    {"major": -1}, {"major": 4096}, {"minor": 1 << 20}, {"minor": 1 << 63}, {"major": "1"},
    {"major": jsonio.Number("1.5")}, {"fileMode": "x"}, {"fileMode": -1}, {"fileMode": 1 << 40},
    {"path": "/dev/a\0b"}, {"path": 5}, {"type": 5},
], ids=str)  # fmt: skip
def test_a_device_that_is_none(tree: Path, change: dict[str, Any]) -> None:
    """The low-level runtime refuses it; the hooks get the others."""
    tmpfs = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
    good = {
        "path": "/dev/good",
        "type": "c",
        "major": 4095,
        "minor": (1 << 20) - 1,
        "fileMode": 0o20640,
    }

    def look(_root: Rootfs, _notes: list[str]) -> tuple[list[str], int]:
        return os.listdir("dev"), os.stat("dev/good").st_mode

    found = in_root(tree, [tmpfs], look, [{**good, "path": "/dev/bad", **change}, good])
    assert found == (["good"], stat.S_IFCHR | 0o640)


def test_a_place_that_cannot_be_made(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HookError, match=r"'mounts\[0\]' at /etc cannot be mounted for the hooks"):
        in_root(tree, [bind(tmp_path / "file", "/etc")], lambda *_: None)


def test_mount_points_belong_to_the_containers_root(tree: Path, tmp_path: Path) -> None:
    os.chown(tree, 200000, 200000)
    in_root(tree, [bind(tmp_path, "/mnt/sub")], lambda *_: None, owner=(200000, 200000))
    assert (tree / "mnt/sub").stat().st_uid == 200000
    assert (tree / "mnt").stat().st_gid == 200000
