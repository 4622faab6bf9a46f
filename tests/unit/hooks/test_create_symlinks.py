"""create-symlinks: its flags, and its links in ordinary, empty, read-only and hostile trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocishim.errors import HookError, PyshimError, UnsafePathError, UsageError
from ocishim.hooks import create_symlinks
from ocishim.linux import mntns, syscalls
from ocishim.rootfs.rootfs import Rootfs
from tests.isolated import isolated
from tests.swapper import Swapper
from tests.trees import hostile_tree, make_tree, names, snapshot


def _links(*texts: str) -> list[create_symlinks.Link]:
    return create_symlinks.parse([word for text in texts for word in ("--link", text)])


def _apply(root: Path, *texts: str) -> list[str]:
    with Rootfs.open_dir(str(root)) as rootfs:
        changes = create_symlinks.apply(rootfs, _links(*texts))
    return [("warning: " if change.warning else "") + change.describe() for change in changes]


@pytest.mark.parametrize(
    ("args", "links"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["--link", "a::/b"], [("a", "/b")], id="one"),
        pytest.param(["--link=a::/b", "-link", "c::d"], [("a", "/b"), ("c", "d")], id="spellings"),
        pytest.param(["--link", "a::b", "--link", "a::b"], [("a", "b")], id="the same twice"),
        pytest.param(["--link", "a::b", "--link", "c::b"], [("a", "b"), ("c", "b")], id="order"),
        pytest.param(["--link", "a,b::/c,d"], [("a,b", "/c,d")], id="comma"),
        pytest.param(["--link", "a=b::c=d"], [("a=b", "c=d")], id="equals sign"),
        pytest.param(["--link", "a:b::c:d"], [("a:b", "c:d")], id="single colons"),
        pytest.param(["--link", "a\nb::c\nd"], [("a\nb", "c\nd")], id="newline"),
        pytest.param(["--link", "--x::-y"], [("--x", "-y")], id="dashes"),
        pytest.param(["--link", "a::b/"], [("a", "b/")], id="trailing slash"),
    ],
)
def test_flags(args: list[str], links: list[tuple[str, str]]) -> None:
    assert [(link.target, link.path) for link in create_symlinks.parse(args)] == links


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--link", "a"], "--link 'a' is not TARGET::LINK"),
        (["--link", "a::b::c"], "--link 'a::b::c' is not TARGET::LINK"),
        (["--link", "a:::b::"], "--link 'a:::b::' is not TARGET::LINK"),
        (["--link", ""], "--link '' is not TARGET::LINK"),
        (["--link", "::b"], "--link '::b' has no target"),
        (["--link", "a::"], "--link 'a::' names no link in the rootfs"),
        (["--link", "a::/"], "--link 'a::/' names no link in the rootfs"),
        (["--link", "a::x/.."], "--link 'a::x/..' names no link in the rootfs"),
        (["--link", "a::."], "--link 'a::.' names no link in the rootfs"),
        (["--link", "a\0::b"], "--link 'a\\x00::b' holds a NUL byte"),
        (["--link"], "flag '--link' needs a value"),
        (["--links", "a::b"], "unknown flag '--links'"),
        (["---link", "a::b"], "unknown flag '---link'"),
        (["a::b"], "unexpected argument 'a::b'"),
        ([""], "unexpected argument ''"),
        (["--"], "unknown flag '--'"),
    ],
)
def test_bad_flags(args: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_symlinks.parse(args)
    assert str(caught.value) == message


def test_links_in_an_ordinary_tree(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path / "root", "file usr/lib/libcuda.so.570 x", "file etc/old x", "symlink run /var/run",
        "dir var/run",
    )  # fmt: skip
    done = _apply(
        root, "libcuda.so.570::/usr/lib/libcuda.so.1", "../up::etc/old", "/abs::run/x", "t::new/d/l"
    )
    assert done == [
        "/usr/lib/libcuda.so.1 -> libcuda.so.570: linked",
        "etc/old -> ../up: linked",
        "run/x -> /abs: linked",
        "new/d/l -> t: linked",
    ]
    assert (root / "usr/lib/libcuda.so.1").read_text() == "x"
    assert os.readlink(root / "etc/old") == "../up"
    assert os.readlink(root / "var/run/x") == "/abs"
    assert os.readlink(root / "new/d/l") == "t"


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    assert _apply(root, "a::b/c", "d::e")
    before = snapshot(root)
    assert _apply(root, "a::b/c", "d::e") == []
    assert snapshot(root) == before


def test_an_empty_tree(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    assert _apply(root) == []
    assert _apply(root, "a::/usr/lib/x86_64-linux-gnu/gbm/l") == [
        "/usr/lib/x86_64-linux-gnu/gbm/l -> a: linked"
    ]
    assert (root / "usr/lib/x86_64-linux-gnu/gbm").stat().st_mode & 0o7777 == 0o755


def test_a_trailing_slash_names_the_link_itself(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    _apply(root, "y::/l/ts/")
    assert names(root) == ["l", "l/ts"]


def test_a_later_link_of_the_same_place_wins(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    assert _apply(root, "a::l", "b::l") == ["l -> a: linked", "l -> b: linked"]
    assert os.readlink(root / "l") == "b"


def test_every_link_is_parsed_before_the_first_is_made(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    with pytest.raises(UsageError):
        _apply(root, "a::l", "wrong")
    assert names(root) == []


def test_a_directory_in_the_way(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir d")
    with pytest.raises(HookError) as caught:
        _apply(root, "a::first", "t::/d")
    assert str(caught.value) == "/d -> t: 'd' is a directory"
    assert names(root) == ["d", "first"]


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("out/x", "'/out' is a symbolic link that leads to no directory in the rootfs"),
        ("out/link", "'/out' is a symbolic link that leads to no directory in the rootfs"),
        ("dots-out/x", "'/dots-out' is a symbolic link that leads to no directory in the rootfs"),
        ("dangling/x", "'/dangling' is a symbolic link that leads to no directory in the rootfs"),
        ("fifo/x", "'/fifo' is a fifo, not a directory"),
        ("loop-a/x", "path 'loop-a' is refused: a magic link, or too many links"),
    ],
)
def test_a_hostile_tree(tmp_path: Path, link: str, reason: str) -> None:
    outside = tmp_path / "outside"
    root = hostile_tree(tmp_path / "root", outside)
    before, root_before = snapshot(outside), snapshot(root)
    with pytest.raises(UnsafePathError) as caught:
        _apply(root, f"target::{link}")
    assert str(caught.value) == reason
    assert snapshot(outside) == before
    assert snapshot(root) == root_before


def test_a_link_at_the_last_name_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = hostile_tree(tmp_path / "root", outside)
    before = snapshot(outside)
    _apply(root, "t::out", "t::out-file", "t::dots-out", "t::magic-root", "t::loop")
    for name in ("out", "out-file", "dots-out", "magic-root", "loop"):
        assert os.readlink(root / name) == "t"
    assert snapshot(outside) == before


@isolated
def test_a_read_only_root_is_an_error(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "symlink there t")
    fd = os.open(root, os.O_PATH)
    with Rootfs.from_fd(mntns.bind(fd, fd, read_only=True), "root") as rootfs:
        assert create_symlinks.apply(rootfs, _links("t::there")) == []
        with pytest.raises(HookError) as caught:
            create_symlinks.apply(rootfs, _links("t::there", "t::new"))
    assert str(caught.value) == "new -> t: Read-only file system"


LIES = "lies on the mount /etc/nvidia"


@isolated
@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_a_volume_costs_only_its_links(tmp_path: Path, *, read_only: bool) -> None:
    """Kubernetes mounts a ConfigMap over /etc/nvidia: the container must start all the same.

    crun from 1.26 makes it read-only after the hooks; a writable one is somebody else's as well.
    """
    root = make_tree(tmp_path / "root", "dir etc/nvidia", "dir etc/made")
    volume = make_tree(tmp_path / "volume", "file config x")
    before = snapshot(volume)
    with Rootfs.open_dir(str(root)) as rootfs:
        source = os.open(volume, os.O_PATH)
        mntns.bind(source, rootfs.resolve("etc/nvidia"), read_only=read_only)
        changes = create_symlinks.apply(
            rootfs, _links("t::/etc/made/a", "t::/etc/nvidia/b", "t::/etc/nvidia/d/e", "t::/c")
        )
    assert [(change.warning, change.describe()) for change in changes] == [
        (False, "/etc/made/a -> t: linked"),
        (True, f"/etc/nvidia/b -> t: '/etc/nvidia/b' {LIES}: link left out"),
        (True, f"/etc/nvidia/d/e -> t: '/etc/nvidia/d' {LIES}: link left out"),
        (False, "/c -> t: linked"),
    ]
    assert snapshot(volume) == before


@isolated
def test_a_mounted_file_stays(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "file lib/l x", "file source mounted")
    with Rootfs.open_dir(str(root)) as rootfs:
        mntns.bind(rootfs.resolve("source"), rootfs.resolve("lib/l"))
        changes = create_symlinks.apply(rootfs, _links("t::/lib/l", "t::/lib/other"))
    assert [change.describe() for change in changes] == [
        "/lib/l -> t: '/lib/l' lies on the mount /lib/l: link left out",
        "/lib/other -> t: linked",
    ]
    assert [change.warning for change in changes] == [True, False]
    assert (root / "lib/l").read_text() == "mounted"


@isolated
def test_a_full_file_system_is_an_error(tmp_path: Path) -> None:
    syscalls.mount("none", str(tmp_path), "tmpfs", 0, "nr_inodes=2")
    with pytest.raises(HookError) as caught:
        _apply(tmp_path, "a::l", "b::m")
    assert str(caught.value) == "m -> b: No space left on device"
    assert os.readlink(tmp_path / "l") == "a"


def test_a_racer_gets_nothing_outside(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "file f x")
    before = snapshot(outside)
    root = make_tree(tmp_path / "root", "dir lib/real", f"symlink lib/evil {outside}")
    with Swapper(root / "lib/real", root / "lib/evil") as swapper:
        while swapper.swaps < 10_000:
            try:
                _apply(root, "a::lib/real/x", "b::lib/real/x", "c::lib/evil/y/z")
            except (PyshimError, OSError):
                continue
    assert snapshot(outside) == before


def test_three_hundred_links(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    assert len(_apply(root, *(f"lib{i}.so.1::/usr/lib/lib{i}.so" for i in range(300)))) == 300
    assert len(os.listdir(root / "usr/lib")) == 300


@pytest.mark.root
@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("link", ["/mnt/in/l", "/mnt/l", "/to/in/l"])
@isolated
def test_a_folder_of_somebody_elses_that_may_not_be_entered(
    tmp_path: Path, link: str, *, read_only: bool
) -> None:
    """A container's root that is another user, and a folder of the user's: toolbox, keep-id."""
    root = make_tree(tmp_path / "root", "dir mnt", "dir opt", "symlink to mnt")
    secret = make_tree(tmp_path / "secret", "dir in")
    secret.chmod(0o700)
    os.chown(root / "opt", 4321, 4321)
    source = os.open(secret, os.O_PATH)
    with Rootfs.open_dir(str(root)) as rootfs:
        mntns.bind(source, rootfs.resolve("mnt"), read_only=read_only)
        os.setresuid(4321, 4321, 4321)
        changes = create_symlinks.apply(rootfs, _links(f"a::{link}", "b::/opt/b"))
        assert [change.warning for change in changes] == [True, False]
        assert changes[0].text.startswith(f"{link} -> a: ")
        assert changes[0].text.endswith(": link left out")


@pytest.mark.root
@isolated
def test_a_folder_of_the_images_that_may_not_be_entered_is_an_error(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir mnt/in")
    (root / "mnt").chmod(0o700)
    with Rootfs.open_dir(str(root)) as rootfs:
        os.setresuid(4321, 4321, 4321)
        with pytest.raises(HookError, match=r"^/mnt/in/l -> a: "):
            create_symlinks.apply(rootfs, _links("a::/mnt/in/l"))
