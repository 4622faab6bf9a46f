"""Edits of files on a machine's tree: all or none, links inside the tree, no litter."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocishim.admin.cli import main
from ocishim.admin.editing.files import Edit, apply_all, content, read, replace, text
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


@pytest.mark.root
@pytest.mark.parametrize("umask", [0, 0o077])
def test_folders_are_for_all_to_read_and_for_one_to_write(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        replace(str(tmp_path / "run/cdi/x.yaml"), b"new")
    finally:
        os.umask(before)
    made = [tmp_path / "run", tmp_path / "run/cdi", tmp_path / "run/cdi/x.yaml"]
    assert [oct(path.stat().st_mode & 0o777) for path in made] == ["0o755", "0o755", "0o644"]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        replace(str(tmp_path / "x.yaml"), b"new")
    assert caught.value.filename == str(tmp_path / "x.yaml")
    assert os.listdir(tmp_path) == []


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


def test_a_root_without_dev_null_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "devnull", "/no/null")
    with pytest.raises(ConfigError) as caught:
        Host().run("/bin/sh")
    assert caught.value.message == "/bin/sh cannot be run: /no/null: does not exist"


def test_what_can_be_no_path_is_not_there(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    for path in ("/a\0b", "/a\0b/c", "/\ud800"):
        assert (host.has(path), host.is_file(path), host.is_program(path)) == (False,) * 3
        assert (read(host, path), text(host, path)) == (None, "")


SPECIAL: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "nothing": str,
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path: Path, kind: str) -> None:
    SPECIAL[kind](tmp_path / "x")
    before = len(os.listdir("/proc/self/fd"))
    opening: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", lambda *args: opening.append(args))
        with pytest.raises(OSError, match=r"/x'$"):
            content(str(tmp_path / "x"))
    assert opening == []
    assert text(Host("/"), str(tmp_path / "x")) == ""
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_became_no_file_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x")
    told = os.stat(__file__)
    monkeypatch.setattr(os, "stat", lambda _path: told)
    with pytest.raises(OSError, match=r"Not a regular file: .*/x'$"):
        content(str(tmp_path / "x"))


def test_a_file_without_an_end_is_not_read_for_ever(tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match=r"File too large: .*/x'$"):
        content(str(tmp_path / "x"))
    assert len(text(Host(str(tmp_path)), "/x")) == 1 << 20


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError) as caught:
        read(Host(str(tmp_path)), "/fifo")
    assert caught.value.message == "/fifo: cannot be read: Not a regular file"


SPEC = "cdiVersion: 0.6.0\nkind: a.com/b\ndevices: [{name: x, containerEdits: {env: [A=1]}}]\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["cdi", "generate", "--from"], 'kind = "a.com/b"\ndevice = [{name = "x", env = ["A=1"]}]'),
        (["cdi", "validate"], SPEC),
        (["cdi", "transform", "root", "--from", "/a", "--to", "/b", "--input"], SPEC),
        (["config", "check"], 'runtimes = ["runc"]\n'),
    ],
)
def test_a_pipe_that_a_person_names_is_read(words: list[str], text: str) -> None:
    """As of a shell's `<(command)`, whose command is slow."""
    reader, writer = os.pipe()

    def write() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(text.encode())

    slow = threading.Timer(0.2, write)
    slow.start()
    try:
        result = CliRunner().invoke(main, [*words, f"/dev/fd/{reader}"])
    finally:
        slow.join()
        os.close(reader)
    assert (result.exit_code, bool(result.stdout)) == (0, True), result.output
