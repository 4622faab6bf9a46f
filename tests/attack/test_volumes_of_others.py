"""What another container, or whoever owns a volume, puts there while an image reads from it.

None of it keeps the container from starting, or takes the places that the image's own files have: a
warning says what is left out. The same in the image itself is refused: its author can mend it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.hooks import ldcache, ldconf, libview
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.attack.test_gone_meanwhile import Robbed
from tests.hookcall import Done, call
from tests.isolated import isolated
from tests.trees import make_tree

pytestmark = pytest.mark.root

CONF = "file etc/ld.so.conf include /volume/*.conf\n/opt/image\n"
Make = Callable[[Path], object]


def _write(*files: tuple[str, str]) -> Make:
    def make(folder: Path) -> None:
        for name, text in files:
            (folder / name).write_text(text)

    return make


def _empty_folders(folder: Path) -> None:
    """Each of 2,500 lines looks into 1,000 folders: 9 s before, and never done."""
    for number in range(1000):
        (folder / f"e{number}").mkdir()
    (folder / "a.conf").write_text("include /volume/e*/z*\n" * 2500)


CONFS: dict[str, tuple[Make, str]] = {
    "a fifo": (lambda folder: os.mkfifo(folder / "a.conf"), "is a fifo, not a regular file"),
    "a device": (
        lambda folder: os.mknod(folder / "a.conf", 0o20666, os.makedev(1, 5)),
        "is a character device, not a regular file",
    ),
    "a link to itself": (
        lambda folder: os.symlink("a.conf", folder / "a.conf"),
        "is refused: a magic link, or too many links",
    ),
    "large": (_write(("a.conf", "/x\n" * 40_000)), "is larger than 65536 bytes"),
    "many files": (
        _write(*((f"{number}.conf", "/x\n") for number in range(300))),
        "includes more than 256 files",
    ),
    "more paths": (
        _write(*((f"{number}.conf", "") for number in range(1100))),
        "matches more than 1024 paths",
    ),
    "deep": (
        _write(
            ("a.conf", "include 0\n"), *((f"{n}", f"include /volume/{n + 1}\n") for n in range(9))
        ),
        "or deeper than 8 levels",
    ),
    "long": (
        _write(*((f"{n}.conf", f"/{n}{'a' * 3000}\n" * 1 + f"/{n}b{'a' * 3000}\n") for n in range(60))),
        "names folders of more than 262144 bytes",
    ),
    "stars": (
        _write(
            ("a.conf", "include /volume/*a*b*c*d*\n" * 500),
            *((f"{'x' * 200}{number}", "") for number in range(400)),
        ),
        "includes by patterns that take too long",
    ),
    "empty folders": (_empty_folders, "includes by patterns that take too long"),
}  # fmt: skip


def image(tmp_path: Path, *lines: str) -> tuple[Path, Path]:
    """Return an image with a library of its own, and a volume mounted in it."""
    root = make_tree(tmp_path / "root", "dir volume", "dir opt/lib", *lines)
    libs.put(libs.library("libown.so.1"), root / "opt/image/libown.so.1")
    volume = make_tree(tmp_path / "volume")
    subprocess.run(["mount", "--bind", volume, root / "volume"], check=True)
    tmp_path.chmod(0o755)
    return root, volume


def update(root: Path) -> Done:
    return call(root, "chain", "--rootfs", str(root), "--timeout", "20",
                "update-ldcache", "--folder", "/opt/lib")  # fmt: skip


def listed(root: Path) -> dict[str, str]:
    entries = ldcache.parse((root / "etc/ld.so.cache").read_bytes()).entries
    return {os.fsdecode(entry.name): os.fsdecode(entry.path) for entry in entries}


@isolated
@pytest.mark.parametrize("what", CONFS)
def test_a_conf_of_a_volume(tmp_path: Path, what: str) -> None:
    make, says = CONFS[what]
    root, volume = image(tmp_path, CONF)
    make(volume)
    done = update(root)
    assert done.status == 0, done
    told = [line for line in done.stderr.splitlines() if says in line]
    assert told, done
    assert told[0].endswith(", on the mount /volume: what it names is left out")
    assert len(done.stderr.splitlines()) < 100
    assert listed(root)["libown.so.1"] == "/opt/image/libown.so.1"


@pytest.mark.parametrize("what", CONFS)
def test_a_conf_of_the_image(tmp_path: Path, what: str) -> None:
    make, says = CONFS[what]
    root = make_tree(tmp_path / "root", CONF, "dir volume")
    make(root / "volume")
    done = update(root)
    assert done.status == 1
    assert says in done.stderr
    assert done.stderr.endswith("(the image or a volume brings that file: mend it there)\n")


@isolated
def test_the_images_own_files_have_their_places(tmp_path: Path) -> None:
    """All that a volume's files may have is taken before the image's own are read."""
    root, volume = image(
        tmp_path, "file etc/ld.so.conf include /volume/*.conf\ninclude /etc/ld.so.conf.d/*\n",
        *(f"file etc/ld.so.conf.d/{number} /opt/image\n" for number in range(200)),
    )  # fmt: skip
    for number in range(300):
        (volume / f"{number}.conf").write_text(f"/volume/{number}\n")
        (volume / str(number)).mkdir()
    assert update(root).status == 0
    assert listed(root)["libown.so.1"] == "/opt/image/libown.so.1"


@isolated
def test_a_lease_on_a_compatibility_library(tmp_path: Path) -> None:
    root, volume = image(tmp_path, "symlink usr/local/cuda /volume")
    path = libs.put(libs.compat_library(None), volume / "compat/libcuda.so.999.1")
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel asks the holder to give it up
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        done = call(root, "enable-cuda-compat", "--host-driver-version=570.1")
    assert done.status == 0, done
    assert done.stderr == (
        "pyshim-hook: warning: enable-cuda-compat: /usr/local/cuda/compat: Resource temporarily "
        "unavailable: no compatibility library used\n"
    )


def put_slow(path: Path) -> None:
    """A library of 4 MiB: 60,000 segments, of which each has glibc look through 3 MB of holes."""
    segments, hole, page = 60_000, 3_000_000, 4096
    dynamic_at = -(-(64 + 56 * (segments + 2)) // page) * page
    size = dynamic_at + page
    dynamic = struct.pack("<6Q", 5, dynamic_at + 64, 14, 1, 0, 0)
    data = b"\x7fELF\x02\x01\x01" + bytes(9)
    data += struct.pack(
        "<HHIQQQIHHHHHH", 3, (os.uname().machine == "x86_64" and 62) or 183, 1, 0, 64, 0, 0, 64, 56,
        segments + 2, 0, 0, 0,
    )  # fmt: skip
    data += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, page)
    data += struct.pack("<IIQQQQQQ", 0x6474E553, 4, size, 0, 0, hole, hole, 8) * segments
    data += struct.pack("<IIQ5Q", 2, 4, dynamic_at, dynamic_at, 0, len(dynamic), len(dynamic), 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.ljust(dynamic_at, b"\0") + dynamic.ljust(64, b"\0") + b"\0libslow.so.1\0")
    os.truncate(path, size + hole)


@isolated
@pytest.mark.parametrize("way", ["a folder", "a link"])
def test_a_library_that_ldconfig_is_never_done_with(tmp_path: Path, way: str) -> None:
    line = "/volume\n/opt/image\n" if way == "a folder" else "/opt/image\n"
    root, volume = image(tmp_path, f"file etc/ld.so.conf {line}")
    put_slow(volume / "libslow.so.1")
    if way == "a link":
        os.symlink("/volume/libslow.so.1", root / "opt/lib/libslow.so.1")
    done = call(root, "chain", "--rootfs", str(root), "--timeout", "10",
                "update-ldcache", "--folder", "/opt/lib")  # fmt: skip
    assert done.status == 0, done
    assert "was killed: pyshim makes /etc/ld.so.cache itself" in done.stderr
    assert listed(root)["libown.so.1"] == "/opt/image/libown.so.1"


@isolated
def test_libraries_of_a_volume_take_no_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libview, "_MOST_NAMES", 4)
    monkeypatch.setattr(libview, "_MOST_LIBRARIES_OF_OTHERS", 3)
    monkeypatch.setattr(libview, "_MOST_COVERS", 1)
    root, volume = image(tmp_path)
    for folder in ("a", "b", "c", "d"):
        (volume / folder).mkdir()
    libs.put(libs.library("libown.so.1"), root / "elsewhere/libown.so.1")
    os.symlink("/elsewhere/libown.so.1", root / "opt/image/liblinked.so.1")
    os.symlink("/elsewhere/libown.so.1", volume / "a/liba.so")
    for name in ("b/1", "b/2", "b/3", "c/libc.so", "c/libd.so", "c/libe.so", "d/4"):
        (volume / name).write_text("")
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/volume/a", "/volume/b", "/volume/c", "/volume/d", "/opt/image"], [])
        assert [folder.path for folder in view.folders] == ["/volume/a", "/volume/b", "/opt/image"]
        assert [bool(folder.covers) for folder in view.folders] == [False, False, True]
        said = [change.text for change in view.outcomes]
    assert said[0] == "/volume/c: more than 4 names in library folders: its libraries are left out"


@isolated
def test_many_libraries_of_a_volume(tmp_path: Path) -> None:
    """Glibc's ldconfig compares each with half of the others: 40 s for 40,000."""
    root, volume = image(tmp_path, "file etc/ld.so.conf /volume\n/opt/image\n")
    libs.libraries(volume, 4097)
    done = update(root)
    assert done.status == 0
    assert "/volume: more than 4096 libraries on volumes: its libraries are left out" in done.stderr
    assert "libpyshim000000.so.1" not in listed(root)
    assert listed(root)["libown.so.1"] == "/opt/image/libown.so.1"


@isolated
@pytest.mark.parametrize("way", ["etc/debian_version", "etc/ld.so.conf", "etc/alpine-release"])
def test_nobody_is_told_what_is_there(tmp_path: Path, way: str) -> None:
    """A link below a folder that the container's user cannot enter: there or not looks the same."""
    found = []
    for there in (True, False):
        root, volume = image(tmp_path / str(there), f"symlink {way} /volume/closed/x")
        make_tree(volume, "dir closed", *(["file closed/x "] if there else []))
        (volume / "closed").chmod(0o700)
        tmp_path.chmod(0o755)
        words = ("chain", "--rootfs", str(root), "--user", "65534:65534:", "update-ldcache")
        done = call(root, *words, "--folder", "/opt/lib")
        assert done.status == 0, done
        files = {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted((root / "etc").rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        found.append((done.stderr, files, os.path.lexists(root / way)))
    assert found[0] == found[1]


@isolated
@pytest.mark.parametrize("how", ["a fifo", "more names than there may be"])
def test_taken_away_while_it_is_judged(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each path that the hook resolves: also that which tells whose it is."""
    monkeypatch.setattr(ldconf, "_MOST_NAMES", 2)
    root, volume = image(tmp_path, "file etc/ld.so.conf include /volume/sub/*.conf\n")
    for step in range(1, 60):
        (volume / "sub").mkdir()
        names = ["a.conf"] if how == "a fifo" else ["a.conf", "b.conf", "c.conf"]
        for name in names:
            os.mkfifo(volume / "sub" / name)
        with Robbed.open_dir(str(root)) as rootfs:
            rootfs.step, rootfs.folder = step, str(volume / "sub")
            ldconf.load(rootfs)
            done = rootfs.step > 0
        shutil.rmtree(volume / ("sub" if done else "sub.away"))
        if done:
            return
    pytest.fail("more steps than there can be")
