"""A bundle's config.json: read with limits, replaced in one step, never half."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ocishim import jsonio, posixos
from ocishim.errors import DocumentError
from ocishim.oci import bundle as bundle_module
from ocishim.oci.bundle import Bundle

if TYPE_CHECKING:
    from pathlib import Path

OLD = b'{"ociVersion":"1.0.2","n":1.50}'
NEW = {"ociVersion": "1.0.2", "n": jsonio.Number("1.50"), "more": True}
NEW_BYTES = b'{"ociVersion":"1.0.2","n":1.50,"more":true}'


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    return path


def replace(file: Path, spec: object = NEW) -> bool:
    return Bundle(str(file.parent)).replace(spec)  # type: ignore[arg-type]


def test_replaced(file: Path) -> None:
    inode = file.stat().st_ino
    assert replace(file)
    assert file.read_bytes() == NEW_BYTES
    assert file.stat().st_ino != inode
    assert os.listdir(file.parent) == ["config.json"]


def test_nothing_to_do_is_not_written(file: Path) -> None:
    """Not even with the same content: the inode, the times and the blanks stay."""
    file.write_bytes(b' { "b" : 1 ,\n "a" : [ ] } ')
    before = file.stat()
    bundle = Bundle(str(file.parent))
    assert not bundle.replace(jsonio.copy(bundle.spec))
    assert file.stat() == before


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o666, 0o640, 0o4755])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_mode_is_kept(file: Path, mode: int, umask: int) -> None:
    file.chmod(mode)
    old = os.umask(umask)
    try:
        replace(file)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.root
@pytest.mark.parametrize(("owner", "folder_mode"), [
    pytest.param((1000, 1000), 0o755, id="another's file"),
    pytest.param((0, 1000), 0o755, id="another group"),
    pytest.param((0, 0), 0o2755, id="a folder that gives its group"),
    pytest.param((1000, 0), 0o2777, id="both"),
])  # fmt: skip
def test_owner_is_kept(file: Path, owner: tuple[int, int], folder_mode: int) -> None:
    os.chown(file, *owner)
    os.chown(file.parent, 0, 4242)
    file.parent.chmod(folder_mode)
    replace(file)
    assert (file.stat().st_uid, file.stat().st_gid) == owner


def test_a_linked_file_is_replaced_where_it_lies(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").symlink_to(file)
    assert Bundle(str(other)).replace(NEW)
    assert (other / "config.json").is_symlink()
    assert file.read_bytes() == NEW_BYTES


def test_another_file_than_the_bundles(file: Path, tmp_path: Path) -> None:
    """Crun's --config."""
    other = tmp_path / "other.json"
    other.write_bytes(OLD)
    bundle = Bundle(str(file.parent), str(other))
    assert bundle.path == str(file.parent)
    assert bundle.replace(NEW)
    assert (file.read_bytes(), other.read_bytes()) == (OLD, NEW_BYTES)


def test_what_a_killed_create_left_is_removed(file: Path) -> None:
    for pid in (1, 2, 99999999):
        (file.parent / f".config.json.pyshim.{pid}").write_bytes(b"{")
    (file.parent / ".config.json.other").touch()
    replace(file)
    assert sorted(os.listdir(file.parent)) == [".config.json.other", "config.json"]


@pytest.mark.parametrize("bait", ["link", "folder", "FIFO"])
def test_a_scratch_file_of_somebody_else(file: Path, tmp_path: Path, bait: str) -> None:
    """A bundle belongs to the engine; whatever lies there is neither followed nor written."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    scratch = file.parent / f".config.json.pyshim.{os.getpid()}"
    if bait == "link":
        scratch.symlink_to(target)
    elif bait == "folder":
        scratch.mkdir()
    else:
        os.mkfifo(scratch)
    if bait == "folder":
        with pytest.raises(DocumentError, match="cannot be replaced: file exists"):
            replace(file)
        assert file.read_bytes() == OLD
    else:
        assert replace(file)
        assert file.read_bytes() == NEW_BYTES
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "rename"])
def test_a_refusal_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    bundle = Bundle(str(file.parent))

    def refuse(*args: object, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(posixos, call, refuse)
    with pytest.raises(DocumentError) as caught:
        bundle.replace(NEW)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"{file}: cannot be replaced: no space left on device "
        "(the bundle is as it was; its folder must be writable and not full)"
    )
    assert file.read_bytes() == OLD
    assert os.listdir(file.parent) == ["config.json"]


def test_short_writes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(posixos, "write", lambda fd, data: write(fd, data[:3]))
    replace(file)
    monkeypatch.undo()
    assert file.read_bytes() == NEW_BYTES


_WRITER = """
import sys
from ocishim.errors import DocumentError
from ocishim.oci.bundle import Bundle
for turn in range(30):
    try:
        Bundle(sys.argv[1]).replace({"n": int(sys.argv[2]) * 100 + turn, "pad": "x" * 200_000})
    except DocumentError as err:
        if "cannot be replaced: does not exist" not in str(err):
            raise
"""


def test_many_at_once(file: Path) -> None:
    """Two creates on one bundle: a reader sees a whole file, the loser fails clearly."""
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(file.parent), str(number)])
        for number in range(4)
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(len(Bundle(str(file.parent)).spec.get("pad", "")))
    assert [writer.returncode for writer in writers] == [0] * 4
    assert seen <= {0, 200_000}
    assert os.listdir(file.parent) == ["config.json"]


READ = [
    pytest.param(b"[1]", "expected an object, found array", id="array"),
    pytest.param(b'"x"', "expected an object, found string", id="string"),
    pytest.param(b"null", "expected an object, found null", id="null"),
    pytest.param(b"3", "expected an object, found integer", id="integer"),
    pytest.param(b"3.5", "expected an object, found number", id="number"),
    pytest.param(b"true", "expected an object, found boolean", id="boolean"),
    pytest.param(b"", "not valid JSON: the document is empty", id="empty"),
    pytest.param(b'{"a":', "not valid JSON: the document ends too early", id="truncated"),
    pytest.param(b"\0" * 10, "not valid JSON: expected a value, line 1 column 1", id="zeroes"),
]


@pytest.mark.parametrize(("data", "reason"), READ)
def test_not_an_object(file: Path, data: bytes, reason: str) -> None:
    file.write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        Bundle(str(file.parent))
    torn = reason.startswith("not valid JSON")
    hint = "is its disk full" if torn else "look there"
    assert caught.value.message == f"{file}: {reason}"
    assert caught.value.hint.endswith(f"write{'s' * torn} this file: {hint}")


HINT = " (--bundle must name a directory with a config.json)"


@pytest.mark.parametrize(("kind", "message"), [
    pytest.param("missing", "does not exist" + HINT, id="missing"),
    pytest.param("folder", "not a regular file", id="a folder"),
    pytest.param("FIFO", "not a regular file", id="a FIFO"),
    pytest.param("dangling", "does not exist" + HINT, id="a dangling link"),
    pytest.param("loop", "too many levels of symbolic links", id="a link to itself"),
    pytest.param("below a file", "not a directory" + HINT, id="the bundle is a file"),
])  # fmt: skip
def test_no_file(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "config.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind in ("dangling", "loop"):
        path.symlink_to("config.json" if kind == "loop" else "nowhere")
    elif kind == "below a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "config.json"
    with pytest.raises(DocumentError) as caught:
        Bundle(str(path.parent))
    assert str(caught.value) == f"{path}: {message}"


def test_fifty_megabytes(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(50 << 20)
    with pytest.raises(DocumentError) as caught:
        Bundle(str(file.parent))
    assert str(caught.value) == (
        f"{file}: 52428800 bytes, and at most 16777216 are read "
        "(engines write 3 to 60 KiB; is this the right file)"
    )


def test_a_file_that_grows_while_it_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BYTES", 1000)
    monkeypatch.setattr(posixos, "read", lambda _, size: b" " * size)
    with pytest.raises(DocumentError, match="and at most 1000 are read"):
        Bundle(str(file.parent))


def test_the_largest_that_is_read(file: Path) -> None:
    data = b'{"a":"' + b"x" * (bundle_module.MAX_BYTES - 8) + b'"}'
    assert len(data) == bundle_module.MAX_BYTES
    file.write_bytes(data)
    assert len(Bundle(str(file.parent)).spec["a"]) == bundle_module.MAX_BYTES - 8


@pytest.mark.parametrize(("path", "expected"), [
    ("/b", "/b/config.json"), ("/b/", "/b/config.json"), ("/b//", "/b/config.json"), ("/",
        "/config.json"),
])  # fmt: skip
def test_config_path(path: str, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        Bundle(path)
    assert str(caught.value).startswith(expected + ": does not exist")
