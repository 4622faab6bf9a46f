"""update-ldcache on a host without ldconfig, beside the same with the host's: one cache."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.hooks import arch, cachewriter, ldcache, ldconfig, libview, sandbox
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.hookcall import Done, call
from tests.isolated import isolated
from tests.trees import make_tree

pytestmark = pytest.mark.root

MACHINE = arch.host()
NO = "/no/ldconfig"
TOLD = (
    "pyshim-hook: warning: update-ldcache: the host has no ldconfig '/no/ldconfig': "
    "pyshim makes /etc/ld.so.cache itself\n"
)
Make = Callable[[Path], object]


def update(root: Path, *folders: str, path: str = NO, under: tuple[str, ...] = ()) -> Done:
    words = [f"--folder={folder}" for folder in folders]
    done = call(root, "update-ldcache", "--ldconfig-path", path, *words, under=under)
    assert done.status == 0, done
    return done


def rows(root: Path) -> list[tuple[bytes, int, bytes]]:
    """Name, flags and path of each entry, in order, without those of glibc-hwcaps folders."""
    cache = ldcache.parse((root / "etc/ld.so.cache").read_bytes())
    found = [(entry.name, entry.flags, entry.path) for entry in cache.entries]
    return [row for row in found if b"glibc-hwcaps" not in row[2]]


def put(root: Path, path: str, soname: str = "") -> Path:
    return libs.put(libs.library(soname or Path(path).name), root / path)


def put_32_bit(root: Path, path: str) -> None:
    name = Path(path).name
    libs.put(libs._build("lib.so", "", "-m32", "-shared", "-nostdlib", f"-Wl,-soname,{name}"), root / path)  # fmt: skip


def both(tmp_path: Path, make: Make, *folders: str) -> list[tuple[bytes, int, bytes]]:
    """The cache that the host's ldconfig led to, which ours is."""
    found = []
    for name, path in (("ldconfig", "/sbin/ldconfig"), ("pyshim", NO)):
        root = tmp_path / name
        root.mkdir()
        make(root)
        update(root, *folders, path=path)
        found.append(rows(root))
    assert found[1] == found[0]
    return found[1]


def plain(root: Path) -> None:
    for path in ("opt/liba.so.1", "opt/libb.so.2", "usr/lib/libc.so.3", "opt2/liba.so.1"):
        put(root, path)


def versions(root: Path) -> None:
    for name in ("libx.so.1.9", "libx.so.1.10", "libx.so.1.2"):
        put(root, f"opt/{name}", "libx.so.1")


def development(root: Path) -> None:
    put(root, "opt/libx.so.1.2", "libx.so.1")
    make_tree(root, "symlink opt/libx.so.1 libx.so.1.2", "symlink opt/libx.so libx.so.1")
    make_tree(root, "symlink opt/liby.so libx.so.1.2", "symlink opt/libx.so.0 libx.so.1.2")


def away(root: Path) -> None:
    put(root, "usr/share/x/real", "libz.so.3")
    make_tree(
        root, "symlink opt/libz.so.3 /usr/share/x/real", "symlink opt/libw.so /usr/share/x/real"
    )


def scripts(root: Path) -> None:
    make_tree(
        root, "file opt/libc.so GROUP ( libc.so.6 )", "file opt/libe.so.1 ", "fifo opt/libf.so.1"
    )
    libs.put(libs.static_program("int main(void) { return 0; }"), root / "opt/libprogram.so.1")
    put(root, "opt/plugin.so")
    put(root, "opt/libreal.so.1")


def foreign(root: Path) -> None:
    for number in (8, 21, 40 if MACHINE.elf_machine == 62 else 62, 243):
        libs.foreign(put(root, "away/x", "libx.so.1"), number, root / f"away/{number}")
        libs.put(root / f"away/{number}", root / f"opt/libx{number}.so.1")


def slash(root: Path) -> None:
    put(root, "opt/libevil.so.1", "../../data/libevil.so.1")
    put(root, "opt/liba.so.1", "/etc/liba.so.1")
    put(root, "opt/libgood.so.1")


def nameless(root: Path) -> None:
    target = root / "opt/libn.so.1.5"
    libs.put(libs._build("lib.so", "int x;", "-shared", "-fPIC", "-nostdlib"), target)
    make_tree(root, "symlink opt/libn.so.1 libn.so.1.5")


def cut(root: Path) -> None:
    """After the header, the segments, the names."""
    whole = libs.library("libcut.so.1").read_bytes()
    at = whole.index(b"libcut.so.1\0")
    for number, end in enumerate((10, 63, 64, 200, 500, 0x1000, at, at + 5, len(whole) // 2)):
        (root / "opt").mkdir(exist_ok=True)
        (root / f"opt/libcut{number}.so.1").write_bytes(whole[:end])


def closed(root: Path) -> None:
    put(root, "opt/libsecret.so.1").chmod(0o600)
    put(root, "opt/libopen.so.1")


def bits(root: Path) -> None:
    put_32_bit(root, "opt/lib32/libx.so.1")
    put(root, "opt/libx.so.1")


@pytest.mark.parametrize(("make", "names"), [
    pytest.param(plain, "libc.so.3 libb.so.2 liba.so.1 liba.so.1", id="plain"),
    pytest.param(versions, "libx.so.1", id="versions of one SONAME"),
    pytest.param(development, "libx.so.1 libx.so", id="links for ld"),
    pytest.param(away, "libz.so.3", id="links that lead elsewhere"),
    pytest.param(scripts, "libreal.so.1", id="what is no library"),
    pytest.param(foreign, "", id="other machines'"),
    pytest.param(slash, "libgood.so.1", id="a slash in the SONAME"),
    pytest.param(nameless, "libn.so.1.5 libn.so.1", id="no SONAME"),
    pytest.param(cut, "", id="cut off"),
    pytest.param(closed, "libopen.so.1", id="not for everybody"),
])  # fmt: skip
def test_as_ldconfig(tmp_path: Path, make: Make, names: str) -> None:
    found = both(tmp_path, make, "/opt", "/opt2")
    assert [name.decode() for name, _, _ in found] == names.split()


@pytest.mark.skipif(MACHINE.elf_machine != 62, reason="i386 is beside x86-64 only")
def test_32_bit_libraries(tmp_path: Path) -> None:
    """The host's ldconfig may know i386 by FLAG_ELF alone (before glibc 2.37 without libc.so.6)."""
    bits(tmp_path)
    update(tmp_path, "/opt/lib32", "/opt")
    assert rows(tmp_path) == [
        (b"libx.so.1", 0x303, b"/opt/libx.so.1"), (b"libx.so.1", 0x003, b"/opt/lib32/libx.so.1")
    ]  # fmt: skip


def test_the_machines_own_libraries(tmp_path: Path) -> None:
    """What Debian has in its folder, copied as it is: files and links."""
    folder = f"/usr/lib/{MACHINE.triplet}"

    def copy(root: Path) -> None:
        make_tree(root, "file etc/debian_version 12")
        (root / folder[1:]).mkdir(parents=True)
        for name in filter(libview.is_library, os.listdir(folder)):
            source = Path(folder, name)
            if source.is_symlink() or source.stat().st_size < 1 << 20:
                shutil.copy2(source, root / folder[1:] / name, follow_symlinks=False)

    assert len(both(tmp_path, copy)) > 100


# Names that sort in another way by number, by sign or by length; all as long as the template.
ODD = [
    b"libpyshim0000010.so.1", b"libpyshim0000009.so.1", b"libpyshim9.so.1.00001",
    b"libpyshim10.so.1.0001", b"libpyshim-a.so.100000", b"libpyshim_a.so.100000",
    b"libpyshimA.so.1000000", b"libpyshim99999999999", b"libpyshim2147483648.so",
    b"libpyshim4294967297.so", b"libpyshim2.so.0000001", b"libpyshim+.so.1000000",
    b"libpyshim.so.1.1.1.1.", b"libpyshim.so.1.1.1.10", b"libpyshim\xc3\xa9.so.10000",
    b"libpyshim\x7f.so.1000000", b"libpyshim~.so.1000000", b"libpyshim.so.1-1.1111",
]  # fmt: skip


def test_the_order_is_the_loaders(tmp_path: Path) -> None:
    template = b"libpyshimTTTTTTTTTTT.so.1111"

    def make(root: Path) -> None:
        data = libs.library(template.decode()).read_bytes()
        (root / "opt").mkdir()
        for number, name in enumerate(ODD):
            padded = name.ljust(len(template), b"\0")
            (root / f"opt/lib{number}.so").write_bytes(data.replace(template, padded))

    found = both(tmp_path, make, "/opt")
    assert {name for name, _, _ in found} == {name for name in ODD if b".so" in name}


def test_the_images_loader_finds_each_library(tmp_path: Path) -> None:
    """By the cache alone, through its binary search, among 200 others."""
    root = libs.root_with_loader(tmp_path / "root", libs.user_of("libcuda.so.1"))
    libs.libraries(root / "opt/many", 200)
    put(root, "opt/many/libcudart.so.12", "libcudart.so.12")
    libs.put(libs.library("libcuda.so.1", "the driver's"), root / "opt/vendor/libcuda.so.570.86")
    program = ["chroot", str(root), "/bin/program"]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 127
    assert update(root, "/opt/vendor", "/opt/many").stderr == TOLD
    (root / "etc/ld.so.conf").unlink()
    assert subprocess.run(program, capture_output=True, check=True).stdout == b"the driver's\n"
    assert os.readlink(root / "opt/vendor/libcuda.so.1") == "libcuda.so.570.86"


def test_ldconfig_reads_it(tmp_path: Path) -> None:
    plain(tmp_path)
    update(tmp_path, "/opt", "/opt2")
    command = ["ldconfig", "-p", "-C", str(tmp_path / "etc/ld.so.cache")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kind = "x86-64" if MACHINE.elf_machine == 62 else "AArch64"
    assert [line.strip() for line in text.splitlines()[1:5]] == [
        f"libc.so.3 (libc6,{kind}) => /usr/lib/libc.so.3",
        f"libb.so.2 (libc6,{kind}) => /opt/libb.so.2",
        f"liba.so.1 (libc6,{kind}) => /opt/liba.so.1",
        f"liba.so.1 (libc6,{kind}) => /opt2/liba.so.1",
    ]


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    plain(tmp_path)
    update(tmp_path, "/opt")
    before = (tmp_path / "etc/ld.so.cache").stat()
    update(tmp_path, "/opt")
    after = (tmp_path / "etc/ld.so.cache").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_images_core_library_stays_its_own(tmp_path: Path) -> None:
    def make(root: Path) -> None:
        put(root, "usr/lib/libc.so.6")
        put(root, "opt/libc.so.6")
        put(root, "opt/libm.so.6")

    found = both(tmp_path, make, "/opt")
    assert [path for _, _, path in found] == [b"/opt/libm.so.6", b"/usr/lib/libc.so.6"]


@isolated
def test_a_library_that_is_mounted(tmp_path: Path) -> None:
    def make(root: Path) -> None:
        make_tree(root, "file opt/libcuda.so.570 ")
        put(tmp_path, "driver", "libcuda.so.1")
        subprocess.run(["mount", "--bind", tmp_path / "driver", root / "opt/libcuda.so.570"], check=True)  # fmt: skip

    assert [row[2] for row in both(tmp_path, make, "/opt")] == [b"/opt/libcuda.so.1"]


def test_glibc_hwcaps_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "opt/libx.so.1")
    put(tmp_path, "opt/glibc-hwcaps/x86-64-v2/libx.so.1")
    update(tmp_path, "/opt")
    data = (tmp_path / "etc/ld.so.cache").read_bytes()
    assert [entry.path for entry in ldcache.parse(data).entries] == [b"/opt/libx.so.1"]


def test_an_image_without_libraries(tmp_path: Path) -> None:
    update(tmp_path, "/opt")
    assert rows(tmp_path) == []


# --- what cannot be read


@pytest.mark.parametrize(("path", "told"), [
    pytest.param("/sbin/ldconfig", "ldconfig could not read, and so left out: /opt/libb.so.1",
        id="ldconfig"),
    pytest.param(NO, "/opt: cannot be read, and so left out: libb.so.1 (not everybody may read it)",
        id="pyshim"),
])  # fmt: skip
def test_a_library_for_its_owner_alone(tmp_path: Path, path: str, told: str) -> None:
    for name in ("liba.so.1", "libb.so.1", "libc.so.1"):
        put(tmp_path, f"opt/{name}")
    (tmp_path / "opt/libb.so.1").chmod(0o600)
    done = update(tmp_path, "/opt", path=path)
    assert done.stderr.replace(TOLD, "") == f"pyshim-hook: warning: update-ldcache: {told}\n"
    assert [row[0] for row in rows(tmp_path)] == [b"libc.so.1", b"liba.so.1"]


@pytest.mark.parametrize(("code", "told"), [
    (errno.EIO, ["/opt: cannot be read, and so left out: libb.so.1 (Input/output error)"]),
    (errno.EMFILE, ["/opt: cannot be read, and so left out: libb.so.1 (Too many open files)"]),
    (errno.ENOENT, []),
])  # fmt: skip
def test_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: list[str]
) -> None:
    for name in ("liba.so.1", "libb.so.1"):
        put(tmp_path, f"opt/{name}")
    read_at = libview.read_at

    def fails(folder: libview.Folder, rootfs: Rootfs, name: str) -> int:
        if name == "libb.so.1":
            raise OSError(code, os.strerror(code))
        return read_at(folder, rootfs, name)

    monkeypatch.setattr(libview, "read_at", fails)
    with Rootfs.open_dir(str(tmp_path)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt"], [])
        cache = ldcache.parse(cachewriter.write(rootfs, view))
        assert [change.text for change in view.outcomes] == told
    assert [entry.path for entry in cache.entries] == [b"/0/liba.so.1"]


@pytest.mark.parametrize(("line", "unread"), [
    ("Input file /0/liba.so.1 not found.", ["/opt/liba.so.1"]),
    ("Cannot mmap file /0/liba.so.1.", ["/opt/liba.so.1"]),
    ("Cannot fstat file /0/liba.so.1.", ["/opt/liba.so.1"]),
    ("Cannot lstat /0/liba.so.1: Input/output error", ["/opt/liba.so.1"]),
    ("Cannot lstat /0/liba.so.1: No such file or directory", []),
    ("Input file /1/liba.so.1 not found.", []),
    ("Input file /0/libz.so.1 not found.", []),
    ("Input file /x/liba.so.1 not found.", []),
    ("File /0/liba.so.1 is empty, not checked.", []),
    ("", []),
])  # fmt: skip
def test_what_ldconfig_says_of_it(tmp_path: Path, line: str, unread: list[str]) -> None:
    put(tmp_path, "opt/liba.so.1")
    with Rootfs.open_dir(str(tmp_path)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt"], [])
        result = sandbox.Result(0, f"ldconfig: {line}\n\n".encode(), timed_out=False)
        assert ldconfig._unread(result, view.folders) == unread


FAULTS = """#include <fcntl.h>
#include <sys/mman.h>
int main(void) {
    int fd = open("/out/empty", O_RDWR | O_CREAT, 0600);
    return *(volatile char *)mmap(0, 1, PROT_READ, MAP_SHARED, fd, 0);
}"""


def test_a_library_that_became_shorter_meanwhile(tmp_path: Path) -> None:
    """SIGBUS is what ldconfig gets then: no fault of it, nor a reason to have no container."""
    put(tmp_path, "opt/liba.so.1")
    done = update(tmp_path, "/opt", path=str(libs.static_program(FAULTS)))
    assert done.stderr == (
        "pyshim-hook: warning: update-ldcache: a library became shorter, or its disk failed, as "
        "ldconfig read it: pyshim makes /etc/ld.so.cache itself\n"
    )
    assert [row[2] for row in rows(tmp_path)] == [b"/opt/liba.so.1"]


# --- how many


def test_thousands_of_libraries(tmp_path: Path) -> None:
    sonames = libs.libraries(tmp_path / "opt", 3000)
    for name in sonames:
        (tmp_path / f"opt/{name}.0").rename(tmp_path / f"opt/{name}")
    update(tmp_path, "/opt")
    assert [name.decode() for name, _, _ in rows(tmp_path)] == sorted(sonames, reverse=True)


def test_more_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachewriter, "MOST", 3)
    libs.libraries(tmp_path / "a", 2)
    libs.libraries(tmp_path / "b", 2)
    put(tmp_path, "c/libc.so.1")
    with Rootfs.open_dir(str(tmp_path)) as rootfs, libview.View(rootfs) as view:
        view.add(["/a", "/b", "/c"], [])
        cache = ldcache.parse(cachewriter.write(rootfs, view))
        told = [(change.text, change.warning) for change in view.outcomes]
    assert sorted(entry.path for entry in cache.entries) == [
        b"/0/libpyshim000000.so.1", b"/0/libpyshim000001.so.1", b"/1/libpyshim000000.so.1"
    ]  # fmt: skip
    assert told == [
        ("/b: more than 3 libraries, the rest is left out", True),
        ("/c: more than 3 libraries, the rest is left out", True),
    ]


# --- which hosts


@pytest.mark.parametrize("path", [
    pytest.param("/sbin/ldconfig", id="the default"),
    pytest.param("/sbin/ldconfig.real", id="Debian's"),
    pytest.param("/usr/sbin/ldconfig", id="elsewhere"),
    pytest.param("/dev/null/ldconfig", id="below a file"),
])  # fmt: skip
def test_a_host_without(tmp_path: Path, path: str) -> None:
    put(tmp_path, "root/opt/libx.so.1")
    (tmp_path / "empty").mkdir()
    script = 'for folder in $(readlink -f /sbin /usr/sbin | sort -u); do mount --bind "$0" $folder; done; exec "$@"'
    under = ("unshare", "-m", "sh", "-c", script, str(tmp_path / "empty"))
    done = update(tmp_path / "root", "/opt", path=path, under=under)
    assert done.stderr == TOLD.replace(NO, path)
    assert [row[2] for row in rows(tmp_path / "root")] == [b"/opt/libx.so.1"]


def test_a_link_to_nothing_is_no_ldconfig(tmp_path: Path) -> None:
    make_tree(tmp_path, "symlink ldconfig gone", "dir root")
    done = update(tmp_path / "root", path=f"{tmp_path}/ldconfig")
    assert done.stderr == TOLD.replace(NO, f"{tmp_path}/ldconfig")
