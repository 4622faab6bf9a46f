"""create-soname-symlinks with the host's real ldconfig."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocishim.errors import UsageError
from ocishim.hooks import create_soname_symlinks
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
