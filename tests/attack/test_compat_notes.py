"""Compatibility libraries whose own words attack enable-cuda-compat: notes, names, ELF headers."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from tests import libs
from tests.hookcall import PROMPT, Done, measured
from tests.trees import make_tree, snapshot

pytestmark = pytest.mark.root

CONF = "etc/ld.so.conf.d/00-pyshim-cuda-compat.conf"
FOLDER = "usr/local/cuda/compat"


def attack(tmp_path: Path, library: Path | None, name: str = "libcuda.so.999.1") -> Done:
    """Run the hook on an image with one library; what holds for every image is asserted."""
    outside = make_tree(tmp_path / "outside", "file file of the host")
    root = make_tree(tmp_path / "root", f"dir {FOLDER}")
    if library is not None:
        libs.put(library, root / FOLDER / name)
    before = snapshot(outside)
    done = measured(
        root, "enable-cuda-compat", "--host-driver-version=570.1", "--host-cuda-version=12.8"
    )
    assert snapshot(outside) == before
    assert (done.seconds < PROMPT, done.peak_kib < 64 << 10) == (True, True), done
    assert "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 1
    return done


@pytest.mark.parametrize(
    "note",
    [
        pytest.param('{"CUDA version":"%s.1","driver":[570]}' % ("9" * 5000), id="5,000 digits"),
        pytest.param('{"CUDA version":"12.9","driver":[%s]}' % ("9" * 5000),
            id="5,000 digits, a number"),
        pytest.param('{"driver":[1e999,-1,true,null,"570",{}],"CUDA version":[]}', id="odd values"),
        pytest.param("[" * 20_000, id="nested"),
        pytest.param('{"a":' * 10_000, id="nested objects"),
        pytest.param('{"driver":[%s570]}' % ("0," * 15_000), id="30,000 bytes of drivers"),
        pytest.param("\ud800".encode("utf-16-le", "surrogatepass").decode("latin-1"),
            id="not UTF-8"),
        pytest.param('{"CUDA version":"\u0661\u0662.9"}', id="digits that are not ASCII"),
        pytest.param("", id="empty"),
        pytest.param("null", id="null"),
    ],
)  # fmt: skip
def test_notes(tmp_path: Path, note: str) -> None:
    done = attack(tmp_path, libs.compat_library(note.encode("utf-8", "surrogateescape")))
    assert done.status == 0, done


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("libcuda.so." + "9" * 200 + ".1", id="many digits"),
        pytest.param("libcuda.so.1.\n/evil", id="newline and slash"),
        pytest.param("libcuda.so.-1.1", id="negative"),
        pytest.param("libcuda.so...", id="dots"),
        pytest.param("libcuda.so.1e9.1", id="exponent"),
        pytest.param("libcuda.so.\u0663.1", id="digit that is not ASCII"),
    ],
)
def test_names(tmp_path: Path, name: str) -> None:
    done = attack(tmp_path, libs.compat_library(None), name.replace("/", ""))
    assert done.status == 0, done
    conf = tmp_path / "root" / CONF
    assert not conf.exists() or conf.read_text() == f"/{FOLDER}\n"


@pytest.mark.parametrize("folder", ["a\nb", "a#b", "a=b", "a "], ids=["newline", "#", "=", "blank"])
def test_a_folder_that_ld_so_conf_cannot_hold(tmp_path: Path, folder: str) -> None:
    """A link to it: the folder's resolved name would be a line of ld.so.conf, or two."""
    root = make_tree(tmp_path / "root", "dir usr/local/cuda")
    libs.put(libs.compat_library(None), root / folder / "libcuda.so.999.1")
    (root / FOLDER).symlink_to(f"/{folder}")
    done = measured(root, "enable-cuda-compat", "--host-driver-version=570.1")
    assert "cannot stand in ld.so.conf" in done.stderr
    assert not (root / CONF).exists()


def test_damaged_headers(tmp_path: Path) -> None:
    """Forty libraries whose headers lie: sizes, offsets, counts, names."""
    whole = libs.compat_library(b'{"CUDA version":"12.9","driver":[570]}').read_bytes()
    (start,) = struct.unpack_from("<Q", whole, 40)  # e_shoff
    chance = random.Random(4)
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            at = chance.choice(
                (chance.randrange(16, 64), start + chance.randrange(len(whole) - start))
            )
            struct.pack_into("<B", data, at, chance.choice((0, 1, 0x7F, 0x80, 0xFF)))
        damaged = tmp_path / "damaged"
        damaged.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        assert attack(tmp_path, damaged).status == 0
