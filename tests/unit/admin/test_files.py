"""Edits of files on a machine's tree: all or none, links inside the tree, no litter."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin.editing.files import Edit, apply_all, read, replace
from ocishim.admin.host import Host
from ocishim.errors import ConfigError


def listing(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_when_one_fails_those_made_are_undone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "file").write_text("")
    host = Host(str(tmp_path))
    edits = [
        Edit(host, "/a", "old", "new"),
        Edit(host, "/b", None, "made"),
        Edit(host, "/file/c", None, "impossible"),
    ]
    with pytest.raises(ConfigError, match=r"^/file/c: cannot be written: "):
        apply_all(edits)
    assert listing(tmp_path) == {"a": "old", "file": ""}


def test_a_write_that_fails_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    host = Host(str(tmp_path))
    with pytest.raises(ConfigError, match=r"^/folder: cannot be written: Is a directory"):
        Edit(host, "/folder", None, "text").apply()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("link", [
    pytest.param(os.symlink, id="a symbolic link"),
    pytest.param(os.link, id="a hard link"),
])  # fmt: skip
@pytest.mark.parametrize("before", [None, "old"])
def test_what_lies_in_the_temporary_files_place_is_not_written(
    tmp_path: Path, link: Callable[[Path, Path], None], before: str | None
) -> None:
    """In a folder of another user, who knows how it will be called."""
    victim, folder = tmp_path / "victim", tmp_path / "eve"
    victim.write_text("root's")
    victim.chmod(0o600)
    folder.mkdir()
    if before:
        (folder / "x.yaml").write_text(before)
        (folder / "x.yaml").chmod(0o4644)
    link(victim, folder / f".x.yaml.{os.getpid()}")
    replace(str(folder / "x.yaml"), b"new")
    assert (victim.read_text(), victim.stat().st_mode) == ("root's", 0o100600)
    assert listing(folder) == {"x.yaml": "new"}
    assert (folder / "x.yaml").stat().st_mode == 0o100644


@pytest.mark.parametrize(
    ("target", "path", "real"),
    [
        pytest.param("/etc/real", "/link", "etc/real", id="absolute link"),
        pytest.param("../../../etc/real", "/link", "etc/real", id="link above the root"),
        pytest.param("/etc", "/link/real", "etc/real", id="link to a folder"),
        pytest.param("/etc/new", "/link", "etc/new", id="link to nothing"),
        pytest.param("/etc/real", "/etc/../link", "etc/real", id="dots"),
    ],
)
def test_links_are_followed_inside_the_tree(
    tmp_path: Path, target: str, path: str, real: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/real").write_text("")
    (tmp_path / "link").symlink_to(target)
    host = Host(str(tmp_path))
    assert host.real(path) == str(tmp_path / real)
    assert host.inside(host.real(path)) == f"/{real}"


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match=r"^/a: too many symbolic links$"):
        Host(str(tmp_path)).real("/a")


def test_this_machine_is_a_tree_like_any_other() -> None:
    host = Host()
    assert (host.real("/"), host.real("/proc/self/../self/../version")) == ("/", "/proc/version")
    assert not host.elsewhere


def test_text_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"ab\xff")
    with pytest.raises(ConfigError, match=r"^/x: not UTF-8 text at byte 2$"):
        read(Host(str(tmp_path)), "/x")


def test_diff_of_a_file_without_a_last_newline(tmp_path: Path) -> None:
    diff = Edit(Host(str(tmp_path)), "/x", "a", "a\nb\n").diff()
    assert diff == ("--- /x\n+++ /x\n@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n")


def test_a_program_may_print_anything(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nprintf 'a\\377b'\n")
    program.chmod(0o755)
    assert Host().run(str(program)).stdout == "a\\xffb"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError) as caught:
        read(Host(str(tmp_path)), "/fifo")
    assert caught.value.message == "/fifo: cannot be read: Not a regular file"
