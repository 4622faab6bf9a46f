"""Rootfs while another process swaps names below it: any outcome inside the root, none outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.errors import UnsafePathError
from ocishim.linux import syscalls
from ocishim.rootfs import dirent
from ocishim.rootfs.rootfs import Rootfs
from tests.swapper import Swapper, exchange
from tests.trees import make_tree, snapshot

SWAPS = 10_000
_LIMIT = 30.0  # seconds; 10,000 swaps take 0.1 s on an idle machine


def _race(first: Path, second: Path, act: Callable[[], object]) -> set[str]:
    """Call `act` while `first` and `second` are swapped SWAPS times; the outcomes by kind."""
    outcomes = set()
    end = time.monotonic() + _LIMIT
    with Swapper(first, second) as swapper:
        while swapper.swaps < SWAPS and time.monotonic() < end:
            try:
                act()
                outcomes.add("done")
            except (UnsafePathError, OSError) as error:
                outcomes.add(type(error).__name__)
        assert swapper.swaps >= SWAPS
    return outcomes


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "outside", "file file secret", "dir dir")


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param("symlink evil {outside}", id="absolute link"),
        pytest.param("symlink evil ../../../../../../../../../../{outside}", id="dots"),
        pytest.param("symlink evil /proc/self/cwd", id="magic link"),
        pytest.param("fifo evil", id="fifo"),
        pytest.param("file evil text", id="file"),
    ],
)
@pytest.mark.parametrize("act", ["put_symlink", "put_file", "mkdir_all", "chmod"])
def test_a_directory_swapped_with_a_way_out(
    tmp_path: Path, outside: Path, act: str, evil: str
) -> None:
    root = make_tree(tmp_path / "root", "dir good", evil.format(outside=outside))
    before = snapshot(outside)
    count = 0

    def attack() -> None:
        nonlocal count
        count += 1
        name = f"good/n{count % 7}"
        if act == "put_symlink":
            rootfs.put_symlink(f"t{count}", name)
        elif act == "put_file":
            rootfs.put_file(name, b"%d" % count)
        elif act == "mkdir_all":
            os.close(rootfs.mkdir_all(f"good/d{count % 50}/e"))
        else:
            rootfs.chmod("good/file" if count % 2 else "good", 0o700 | count & 0o77)

    with Rootfs.open_dir(str(root)) as rootfs:
        outcomes = _race(root / "good", root / "evil", attack)
    assert snapshot(outside) == before
    allowed = {"done", "UnsafePathError", "FileNotFoundError", "NotADirectoryError"}
    assert outcomes <= allowed
    assert not [name for name in os.listdir(root) if name.startswith(".pyshim")]


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param("symlink evil {outside}/file", id="link out"),
        pytest.param("symlink evil ../outside/file", id="dots out"),
        pytest.param("fifo evil", id="fifo"),
        pytest.param("socket evil", id="socket"),
        pytest.param("dir evil", id="directory"),
        pytest.param("symlink evil /proc/self/fd/0", id="magic link"),
    ],
)
def test_a_file_swapped_while_it_is_read(tmp_path: Path, outside: Path, evil: str) -> None:
    root = make_tree(tmp_path / "root", "file good fine", evil.format(outside=outside))
    read = set()
    with Rootfs.open_dir(str(root)) as rootfs:
        outcomes = _race(root / "good", root / "evil", lambda: read.add(rootfs.read("good")))
    assert read == {b"fine"}
    assert outcomes <= {"done", "UnsafePathError", "FileNotFoundError"}


@pytest.mark.parametrize("evil", ["fifo evil", "file evil text", "symlink evil good"])
def test_a_fifo_swapped_in_is_never_opened(tmp_path: Path, evil: str) -> None:
    """What was looked at is what is read, whatever has its name by then."""
    root = make_tree(tmp_path / "root", "file good fine", evil)
    (root / "good").chmod(0o644)
    parent = os.open(root, os.O_PATH)

    def swapped(handle: int) -> syscalls.Statx:
        status = syscalls.statx(handle)
        exchange("good", "evil", parent)
        return status

    assert dirent.has_content(parent, "good", b"fine", 0o644, swapped)
    os.close(parent)
    assert (root / "evil").read_text() == "fine", "the names were swapped"


def test_two_hooks_at_one_link_both_succeed(tmp_path: Path) -> None:
    """Containers that share a volume: one link wins, whole, and no litter stays."""
    root = make_tree(tmp_path / "root", "dir d")
    pids = []
    for text in ("one", "two"):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with Rootfs.open_dir(str(root)) as rootfs:
                    for _ in range(2000):
                        rootfs.put_symlink(text, "d/link")
                        rootfs.put_file("d/file", text.encode() * 1000)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert os.readlink(root / "d/link") in ("one", "two")
    assert (root / "d/file").read_text() in ("one" * 1000, "two" * 1000)
    assert sorted(os.listdir(root / "d")) == ["file", "link"]


def test_a_directory_moved_out_of_the_root_meanwhile(tmp_path: Path, outside: Path) -> None:
    """What was resolved in the root and then moved out: openat2 answers EXDEV for `..`."""
    root = make_tree(tmp_path / "root", "dir good/a/b", "file f inside")
    make_tree(outside, "dir swap/a/b", "file f secret")
    seen = set()

    def climb() -> None:
        seen.add(rootfs.read("good/a/b/../../../f"))

    with Rootfs.open_dir(str(root)) as rootfs:
        outcomes = _race(root / "good/a", outside / "swap/a", climb)
    assert seen <= {b"inside"}
    assert outcomes <= {"done", "UnsafePathError", "FileNotFoundError", "BlockingIOError"}
