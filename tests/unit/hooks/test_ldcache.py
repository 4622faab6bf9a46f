"""The cache's format: what glibc's ldconfig writes and reads, and what is refused."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from ocishim.errors import DocumentError
from ocishim.hooks import ldcache
from tests import libs
from tests.conftest import need

X86_64 = 0x303  # FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
HWCAP = 1 << 62


def made(tmp_path: Path, *paths: str) -> bytes:
    """A cache of the host's ldconfig with libraries at `paths`."""
    folders = []
    for path in paths:
        libs.put(libs.library(Path(path).name), tmp_path / path)
        folders.append(str((tmp_path / path).parent).partition("/glibc-hwcaps")[0])
    command = [need("ldconfig"), "-X", "-i", "-f", "/", "-c", "new", "-C", str(tmp_path / "cache")]
    subprocess.run([*command, *dict.fromkeys(folders)], check=True)
    return (tmp_path / "cache").read_bytes()


def listed(path: Path) -> list[str]:
    command = [need("ldconfig"), "-p", "-C", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in text.splitlines() if " => " in line]


def test_what_is_read_is_written(tmp_path: Path) -> None:
    data = made(tmp_path, "a/liba.so.1", "b/libb.so.2", "b/glibc-hwcaps/x86-64-v2/libb.so.2")
    cache = ldcache.parse(data)
    (tmp_path / "again").write_bytes(ldcache.build(cache))
    assert listed(tmp_path / "again") == listed(tmp_path / "cache")
    mine = [entry for entry in cache.entries if entry.path.startswith(bytes(tmp_path))]
    assert len(mine) == 3  # ldconfig adds the folders of its own distribution
    assert list(cache.hwcaps) == [b"x86-64-v2"]
    assert [bool(entry.hwcap & HWCAP) for entry in mine] == [True, False, False]


def test_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(ldcache.build(ldcache.Cache([])))
    assert listed(tmp_path / "cache") == []


def test_a_name_that_is_not_its_paths_end(tmp_path: Path) -> None:
    entry = ldcache.Entry(b"liba.so.1", b"/opt/liba.so.1.2", X86_64, 0, 0)
    (tmp_path / "cache").write_bytes(ldcache.build(ldcache.Cache([entry])))
    (line,) = listed(tmp_path / "cache")
    assert line.startswith("liba.so.1 (")
    assert line.endswith(" => /opt/liba.so.1.2")


def _damaged(at: int, form: str, *values: int) -> bytes:
    entry = ldcache.Entry(b"liba.so.1", b"/0/liba.so.1", X86_64, 0, HWCAP)
    data = bytearray(ldcache.build(ldcache.Cache([entry], [b"x86-64-v2"])))
    struct.pack_into(form, data, at, *values)
    return bytes(data)


# 100,000 entries may all have the same megabytes for a name: what is read would fill the memory.
LONG = ldcache.build(ldcache.Cache([ldcache.Entry(b"x", b"/" * 4096 + b"x", 1, 0, 0)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a library cache of glibc", id="empty"),
        pytest.param(b"ld.so-1.7.0" + bytes(99), "not a library cache of glibc", id="old format"),
        pytest.param(_damaged(20, "=I", 1 << 30), "library cache: 1073741824 entries in 124 bytes",
            id="entries"),
        pytest.param(_damaged(52, "=I", 1 << 31),
            "library cache: a string lies outside of the file", id="name"),
        pytest.param(_damaged(56, "=I", 1 << 31),
            "library cache: a string lies outside of the file", id="path"),
        pytest.param(LONG, "library cache: a string has more than 4095 bytes", id="a long path"),
        pytest.param(_damaged(32, "=I", 131),
            "library cache: the extension lies outside of the file", id="extension"),
        pytest.param(_damaged(32, "=I", 48), "library cache: unknown extension", id="no extension"),
        pytest.param(_damaged(32, "=I", 0),
            "library cache: an entry without its glibc-hwcaps folder", id="hwcap"),
        pytest.param(_damaged(64, "=Q", HWCAP + 1),
            "library cache: an entry without its glibc-hwcaps folder", id="index"),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        ldcache.parse(data)
    assert caught.value.message == message
