"""create-soname-symlinks with the host's real ldconfig."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocishim.errors import HookError, UsageError
from ocishim.hooks import create_soname_symlinks, elf, libview, soname, update_ldcache
from ocishim.hooks.outcome import Outcome
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.hookcall import call
from tests.trees import make_tree, names

pytestmark = pytest.mark.root
NAME = create_soname_symlinks.NAME


def test_links_are_made_and_no_cache(tmp_path: Path) -> None:
    libs.put(libs.library("liba.so.1"), tmp_path / "opt/liba.so.1.2.3")
    libs.put(libs.library("libb.so.2"), tmp_path / "usr/lib/libb.so.2.0")
    done = call(tmp_path, NAME, "--folder", "/opt", "--folder", "usr/lib")
    assert (done.status, done.stderr) == (0, ""), done
    assert os.readlink(tmp_path / "opt/liba.so.1") == "liba.so.1.2.3"
    assert os.readlink(tmp_path / "usr/lib/libb.so.2") == "libb.so.2.0"
    assert not (tmp_path / "etc").exists()


def test_a_stale_link_is_put_right(tmp_path: Path) -> None:
    libs.put(libs.library("liba.so.1"), tmp_path / "opt/liba.so.1.3")
    make_tree(tmp_path, "symlink opt/liba.so.1 liba.so.1.2")
    assert call(tmp_path, NAME, "--folder", "/opt").status == 0
    assert os.readlink(tmp_path / "opt/liba.so.1") == "liba.so.1.3"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="folder missing"),
        pytest.param(["dir opt"], id="folder empty"),
        pytest.param(["symlink opt /nowhere"], id="folder a dangling link"),
        pytest.param(["fifo opt"], id="folder a fifo"),
        pytest.param(["fifo opt/liba.so.1", "socket opt/libb.so.1"], id="no files in it"),
        pytest.param(["file opt/liba.so.1 text", "file opt/libb.so.1 "], id="no libraries in it"),
    ],
)
def test_nothing_to_link(tmp_path: Path, lines: list[str]) -> None:
    make_tree(tmp_path, *lines)
    before = names(tmp_path)
    assert call(tmp_path, NAME, "--folder", "/opt").status == 0
    assert names(tmp_path) == before


def test_a_link_out_of_the_root_stays_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    libs.put(libs.library("liba.so.1"), outside / "liba.so.1.2")
    root = make_tree(tmp_path / "root", f"symlink opt {outside}", "symlink up ../../../../outside")
    assert call(root, NAME, "--folder", "/opt", "--folder", "/up").status == 0
    assert names(outside) == ["liba.so.1.2"]


def test_no_folder_is_nothing_to_do(tmp_path: Path) -> None:
    assert call(tmp_path / "no such root", NAME).status == 1
    assert call(tmp_path, NAME, "--ldconfig-path", "/no/such/program").status == 0


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="unknown flag '--link'"):
        create_soname_symlinks.parse(["--link", "a::b"])


def test_the_folder_that_was_read_is_written(tmp_path: Path) -> None:
    """A second container owns the volume that the folder's path leads through, and swaps it."""
    library = libs.put(libs.library("libc.so.6"), tmp_path / "held/lib/libevil.so.6")
    make_tree(tmp_path, "file usr/libc.so.6 of the image", "symlink opt /held")
    with Rootfs.open_dir(str(tmp_path)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt/lib"], ["/opt/lib"])
        (tmp_path / "held").rename(tmp_path / "away")
        make_tree(tmp_path, "symlink held/lib /usr")
        folder = view.folders[0]
        made, _ = soname.link(rootfs, folder, ["libc.so.6"], soname.Sonames(rootfs, folder))
    assert made == [Outcome("/opt/lib/libc.so.6 -> libevil.so.6: linked")]
    assert (tmp_path / "usr/libc.so.6").read_text() == "of the image"
    assert os.readlink(tmp_path / "away/lib/libc.so.6") == library.name


def test_a_full_disk_names_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """symlinkat(2) fails with the name of the target alone: which folder has no room."""

    def full(_rootfs: Rootfs, _parent: int, _name: str, target: str, _path: str) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    libs.put(libs.library("liba.so.1"), tmp_path / "opt/liba.so.1.2")
    monkeypatch.setattr(Rootfs, "put_symlink_at", full)
    for hook in (create_soname_symlinks, update_ldcache):
        with Rootfs.open_dir(str(tmp_path)) as rootfs, pytest.raises(HookError) as caught:
            hook.apply(rootfs, hook.parse(["--folder", "/opt"]))
        assert str(caught.value) == "/opt/liba.so.1 -> liba.so.1.2: No space left on device"


def test_a_library_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a folder that the image lists: it is not in the cache, and nobody knew why."""

    def broken(_read: elf.Read) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    make_tree(tmp_path, "file etc/ld.so.conf /opt\n")
    libs.put(libs.library("liba.so.1"), tmp_path / "opt/liba.so.1.2")
    monkeypatch.setattr(elf, "soname", broken)
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        outcomes = update_ldcache.apply(rootfs, update_ldcache.parse([]))
    text = "/opt: cannot be read, and so left out: liba.so.1.2 (Input/output error)"
    assert [one.describe() for one in outcomes if one.warning] == [text]
