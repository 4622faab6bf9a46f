"""chmod: its flags, and modes in ordinary, empty, read-only and hostile trees."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ocishim.errors import HookError, UsageError
from ocishim.hooks import chmod
from ocishim.linux import mntns, syscalls
from ocishim.rootfs.rootfs import Rootfs
from tests.isolated import isolated
from tests.swapper import Swapper
from tests.trees import hostile_tree, make_tree, snapshot


def _apply(root: Path, mode: str, *paths: str) -> list[str]:
    request = chmod.parse(["--mode", mode, *(word for path in paths for word in ("--path", path))])
    with Rootfs.open_dir(str(root)) as rootfs:
        changes = chmod.apply(rootfs, request)
    return [("warning: " if change.warning else "") + change.describe() for change in changes]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("args", "mode", "paths"),
    [
        pytest.param(["--mode", "755"], 0o755, [], id="no path"),
        pytest.param(["--mode=0755", "-path", "/a"], 0o755, ["/a"], id="spellings"),
        pytest.param(["--mode", "4755", "--path", "a"], 0o4755, ["a"], id="setuid"),
        pytest.param(["--path", "b", "--mode", "7", "--path", "a"], 7, ["b", "a"], id="order"),
        pytest.param(["--mode", "1", "--path", "a", "--path", "a"], 1, ["a"], id="the same twice"),
        pytest.param(["--mode", "1", "--mode", "2", "--path", "a,b"], 2, ["a,b"], id="comma"),
        pytest.param(["--mode", "0", "--path", "a"], 0, ["a"], id="no bits"),
    ],
)
def test_flags(args: list[str], mode: int, paths: list[str]) -> None:
    request = chmod.parse(args)
    assert (request.mode, request.paths) == (mode, paths)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--path", "/a"], "flag '--mode' is missing"),
        (["--mode", "", "--path", "/a"], "flag '--mode' is empty"),
        (["--mode", "rwx"], "--mode 'rwx' is not an octal number up to 7777"),
        (["--mode", "888"], "--mode '888' is not an octal number up to 7777"),
        (["--mode", "10000"], "--mode '10000' is not an octal number up to 7777"),
        (["--mode", "-1"], "--mode '-1' is not an octal number up to 7777"),
        (["--mode", "0o755"], "--mode '0o755' is not an octal number up to 7777"),
        (["--mode", "755", "--path", ""], "--path '' is not a path"),
        (["--mode", "755", "--path", "a\0"], "--path 'a\\x00' is not a path"),
        (["--mode"], "flag '--mode' needs a value"),
        (["--mode", "755", "/a"], "unexpected argument '/a'"),
    ],
)
def test_bad_flags(args: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        chmod.parse(args)
    assert str(caught.value) == message


def test_an_ordinary_tree(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path / "root", "dir dev/dri 700", "file f x", "dir var/run", "symlink run var/run"
    )
    make_tree(root, "file var/run/s x")
    (root / "f").chmod(0o755)
    assert _apply(root, "755", "/dev/dri", "f", "/run/s", "/missing", "f/x/y") == [
        "/dev/dri: mode 0o755 set",
        "/run/s: mode 0o755 set",
    ]
    assert [_mode(root / name) for name in ("dev/dri", "f", "var/run/s")] == [0o755] * 3


@pytest.mark.parametrize("mode", ["4755", "2755", "1777", "7777", "0"])
def test_all_bits_are_set_as_asked(tmp_path: Path, mode: str) -> None:
    root = make_tree(tmp_path / "root", "file f x", "dir d")
    _apply(root, mode, "f", "d")
    assert (_mode(root / "f"), _mode(root / "d")) == (int(mode, 8), int(mode, 8))
    (root / "d").chmod(0o755)


def test_an_empty_tree(tmp_path: Path) -> None:
    assert _apply(make_tree(tmp_path / "root"), "755", "/dev/dri", "a/b") == []


def test_a_hostile_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = hostile_tree(tmp_path / "root", outside)
    before = snapshot(outside)
    with pytest.raises(HookError) as caught:
        _apply(root, "777", "out", "plain", "../../outside/file", "loop/x", "out/file", "dots-out")
    assert str(caught.value) == (
        "'out' is a symbolic link: its mode is not set; "
        "path 'loop/x' is refused: a magic link, or too many links; "
        "'dots-out' is a symbolic link: its mode is not set"
    )
    assert _mode(root / "plain") == 0o777  # the others are set all the same
    assert snapshot(outside) == before


def test_a_hard_link_to_a_file_of_the_host(tmp_path: Path) -> None:
    make_tree(tmp_path, "file host/secret x", "dir root")
    (tmp_path / "host/secret").chmod(0o600)
    os.link(tmp_path / "host/secret", tmp_path / "root/f")
    with pytest.raises(HookError, match="'f' has 2 hard links: its mode is not set"):
        _apply(tmp_path / "root", "777", "f")
    assert _mode(tmp_path / "host/secret") == 0o600


def test_a_mode_that_may_not_be_set_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    root = make_tree(tmp_path / "root", "file f x")
    monkeypatch.setattr(syscalls, "fchmodat2", refuse)
    assert _apply(root, "777", "f") == ["warning: f: Operation not permitted: mode left as it is"]


@isolated
@pytest.mark.parametrize("where", ["root", "volume"])
def test_read_only(tmp_path: Path, where: str) -> None:
    root = make_tree(tmp_path / "root", "file v/f x", "file g x")
    (root / "v/f").chmod(0o600)
    (root / "g").chmod(0o600)
    request = chmod.parse(["--mode", "644", "--path", "v/f", "--path", "g"])
    with Rootfs.open_dir(str(root)) as rootfs:
        target = rootfs.resolve("/" if where == "root" else "v")
        mount = mntns.bind(target, target, read_only=True)
        if where == "root":
            with Rootfs.from_fd(mount, "root") as bound, pytest.raises(HookError) as caught:
                chmod.apply(bound, request)
            assert str(caught.value) == "v/f: Read-only file system; g: Read-only file system"
        else:
            changes = chmod.apply(rootfs, request)
            assert [change.warning for change in changes] == [True, False]
    assert _mode(root / "v/f") == 0o600


def test_a_racer_changes_nothing_outside(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "file f x", "dir d")
    before = snapshot(outside)
    root = make_tree(tmp_path / "root", "dir d/real", f"symlink d/evil {outside}/d")
    modes = ("700", "711")
    with Swapper(root / "d/real", root / "d/evil") as swapper:
        while swapper.swaps < 10_000:
            try:
                for mode in modes:
                    _apply(root, mode, "d/real", "d/evil")
            except HookError as error:
                assert str(error).endswith("is a symbolic link: its mode is not set")  # noqa: PT017
    assert snapshot(outside) == before
