"""Images that attack the hooks which run ldconfig; numbers T1... are rows of the attack table.

Whatever the image is: nothing outside of it changes, none of its files is executed, the answer
comes within 8 seconds, no process takes 64 MiB, and a refusal says what was refused.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from ocishim.hooks import arch, libview
from ocishim.hooks.update_ldcache import CUDA_COMPAT_FILE
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.hookcall import PROMPT, call, measured
from tests.isolated import isolated
from tests.trees import make_tree, snapshot

pytestmark = pytest.mark.root

MACHINE = arch.host()
INCLUDE = "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n"
MEND = " (the image or a volume brings that file: mend it there)"
OUTSIDE = (
    "file file of the host",
    "file 00-pyshim.conf of the host",
    "file ld.so.conf /of/the/host",
    "dir dir",
    "dir ldconfig",
    "file ldconfig/aux-cache of the host",
)
HOSTS_LDCONFIG = Path(os.path.realpath("/sbin/ldconfig"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(params=["ldconfig", "none"])
def program(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Who looks through the folders: the host's ldconfig, or pyshim where the host has none."""
    return () if request.param == "ldconfig" else ("--ldconfig-path", "/no/ldconfig")


def attack(tmp_path: Path, *lines: str, args: tuple[str, ...] = ("--folder", "/opt/lib")) -> str:
    """Run update-ldcache on an image of `lines` and return what it says; the rest is asserted.

    `{out}` in a line is a folder of the host.
    """
    outside = make_tree(tmp_path / "outside", *OUTSIDE)
    root = make_tree(tmp_path / "root", *(line.replace("{out}", str(outside)) for line in lines))
    return survey(root, outside, "update-ldcache", *args)


def survey(root: Path, outside: Path, *args: str) -> str:
    """Run a hook; assert what must hold for every image; return its stderr."""
    before, program = snapshot(outside), digest(HOSTS_LDCONFIG)
    done = measured(root, *args)
    assert snapshot(outside) == before
    assert digest(HOSTS_LDCONFIG) == program
    assert not (root / "executed").exists()
    assert done.seconds < PROMPT, done
    assert done.peak_kib < 64 << 10, done.peak_kib
    assert done.status in (0, 1)
    assert "Traceback" not in done.stderr
    failures = [line for line in done.stderr.splitlines() if ": warning: " not in line]
    assert bool(failures) == bool(done.status), done
    return done.stderr.partition(" failed: ")[2].removesuffix("\n")


def _row(what: str, *lines: str, says: str = "") -> object:
    return pytest.param(lines, says, id=what)


NOT_A_FOLDER = "is a symbolic link that leads to no directory in the rootfs"

LINKS = [
    _row("T7 etc to the host", "symlink etc {out}", says=f"'/etc' {NOT_A_FOLDER}"),
    _row("T7 etc up", "symlink etc ../../../../../../../../../etc", says="is refused"),
    _row("T7 etc magic", "symlink etc /proc/1/root/etc", says=f"'/etc' {NOT_A_FOLDER}"),
    _row("T7 etc to itself", "symlink etc etc", says="path '/etc/ld.so.conf' is refused"),
    _row("T7 etc is the root", "symlink etc /"),
    _row("T7 etc in the root", "dir data", "symlink etc /data"),
    _row("T2 conf.d to the host", INCLUDE, "symlink etc/ld.so.conf.d {out}", says=NOT_A_FOLDER),
    _row("T2 conf.d up", INCLUDE, "symlink etc/ld.so.conf.d ../../outside", says=NOT_A_FOLDER),
    _row("T2 conf.d magic", INCLUDE, "symlink etc/ld.so.conf.d /proc/self/cwd", says=NOT_A_FOLDER),
    _row("conf.d a file", INCLUDE, "file etc/ld.so.conf.d x", says="is a regular file, not a dir"),
    _row("conf.d a fifo", INCLUDE, "fifo etc/ld.so.conf.d", says="is a fifo, not a directory"),
    _row("conf.d a socket", INCLUDE, "socket etc/ld.so.conf.d",
        says="is a socket, not a directory"),
    _row("T7 conf to the host", "symlink etc/ld.so.conf {out}/ld.so.conf"),
    _row("T7 conf magic", "symlink etc/ld.so.conf /proc/self/fd/0"),
    _row("T7 our file to the host", INCLUDE, "symlink etc/ld.so.conf.d/00-pyshim.conf {out}/file"),
    _row("our file a directory", INCLUDE, "dir etc/ld.so.conf.d/00-pyshim.conf", says="00-pyshim"),
    _row("our file a fifo", INCLUDE, "fifo etc/ld.so.conf.d/00-pyshim.conf"),
    _row("compat file a fifo", INCLUDE, "fifo etc/ld.so.conf.d/00-pyshim-cuda-compat.conf",
        says="fifo"),
    _row("T7 cache to the host", "symlink etc/ld.so.cache {out}/file"),
    _row("T7 cache up", "symlink etc/ld.so.cache ../../outside/file"),
    _row("cache a fifo", "fifo etc/ld.so.cache"),
    _row("cache a socket", "socket etc/ld.so.cache"),
    _row("cache a device", "dir etc", "char etc/ld.so.cache 1 5"),
    _row("cache a directory", "dir etc/ld.so.cache/x", says="'ld.so.cache' is a directory"),
    _row("cache~ to the host", "symlink etc/ld.so.cache~ {out}/file"),
    _row("cache~ a fifo", "fifo etc/ld.so.cache~"),
    _row("cache~ a device", "dir etc", "block etc/ld.so.cache~ 7 0"),
    _row("cache~ a directory", "dir etc/ld.so.cache~/x"),
    _row("auxiliary cache a fifo", "fifo var/cache/ldconfig/aux-cache"),
    _row("auxiliary cache~ a fifo", "fifo var/cache/ldconfig/aux-cache~"),
    _row("auxiliary cache~ a device", "dir var/cache/ldconfig",
        "block var/cache/ldconfig/aux-cache~ 7 0"),
    _row("auxiliary cache to the host", "symlink var/cache {out}"),
    _row("auxiliary cache of junk",
        "file var/cache/ldconfig/aux-cache glibc-ld.so.auxcache-1.0\xff"),
    _row("T7 proc to the host", "symlink proc {out}"),
    _row("T7 run to the host", "symlink run {out}"),
    _row("T7 tmp to the host", "symlink tmp {out}"),
    _row("T7 dev to the host", "symlink dev {out}"),
    _row("run in the root", "dir var/run", "symlink run /var/run"),
    _row("release file a fifo", "fifo etc/debian_version", "fifo etc/alpine-release"),
    _row("musl file to the host", "file etc/alpine-release 3",
        f"symlink {MACHINE.musl_path_file[1:]} {{out}}/file"),
    _row("musl file a fifo", "file etc/alpine-release 3", f"fifo {MACHINE.musl_path_file[1:]}",
        says="is a fifo"),
    _row("musl file large", "file etc/alpine-release 3",
        f"file {MACHINE.musl_path_file[1:]} " + "/a:" * 30000, says="larger than"),
]  # fmt: skip

FILES = [
    _row("T8a conf a fifo", "fifo etc/ld.so.conf", says="'/etc/ld.so.conf' is a fifo, not a reg"),
    _row("conf a socket", "socket etc/ld.so.conf", says="is a socket, not a regular file"),
    _row("T8b conf a device", "dir etc", "char etc/ld.so.conf 1 5", says="is a character device"),
    _row("T8b conf leads to a device", "dir dev", "char dev/zero 1 5",
        "symlink etc/ld.so.conf /dev/zero", says="is a character device"),
    _row("conf a block device", "dir etc", "block etc/ld.so.conf 7 0", says="is a block device"),
    _row("conf a directory", "dir etc/ld.so.conf"),
    _row("conf huge", "file etc/ld.so.conf " + "/x\n" * 100000, says="is larger than 65536 bytes"),
    _row("conf one long line", "file etc/ld.so.conf /" + "x" * 60000),
    _row("conf of NUL", "file etc/ld.so.conf " + "\0" * 60000),
    _row("conf of many folders", "file etc/ld.so.conf " + "".join(f"/{i}\n" for i in range(9000))),
    _row("include of a fifo", INCLUDE, "fifo etc/ld.so.conf.d/x.conf", says="is a fifo"),
    _row("include of a device", INCLUDE, "dir etc/ld.so.conf.d", "char etc/ld.so.conf.d/x.conf 1 5",
        says="device"),
    _row("include of itself", "file etc/ld.so.conf include ld.so.conf ld.so.conf\n"),
    _row("include of two by two", "file etc/ld.so.conf include /a /b\n",
        "file a include /a /b /a /b\n", "file b include /b /a /b\n"),
    _row("include deep", *(f"file etc/{i} include {i + 1}\n" for i in range(50)),
        "file etc/ld.so.conf include 0\n", says="deeper than 8"),
    _row("include bomb", "file etc/ld.so.conf include d/*\n",
        *(f"file etc/d/{i} include /etc/d/*{i}*\n" for i in range(600)),
        says="includes by patterns that take too long"),
    _row("include through a link to its folder", "file etc/ld.so.conf include l/l/l/ld.so.conf\n",
        "symlink etc/l .", says="deeper than 8"),
    _row("include of the root's everything", "file etc/ld.so.conf include /*/*/*/*\n",
        "symlink a /", "symlink b /", "symlink c /", says="deeper than 8"),
    _row("patterns of stars",
        "file etc/ld.so.conf include " + ("/" + "*a" * 120 + "b ") * 50 + "\n",
        *("file " + "a" * (200 + i) + " x" for i in range(50)), says="take too long"),
    _row("pattern of stars", "file etc/ld.so.conf include /" + "*a" * 2000 + "b\n",
        "file " + "a" * 250 + " x"),
    _row("chain of links", "file etc/real /a\n", *(f"symlink etc/c{i} c{i + 1}" for i in range(45)),
        "symlink etc/c45 real", "symlink etc/ld.so.conf c0", says="is refused"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "says"), LINKS)
def test_links_and_odd_files(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    message = attack(tmp_path, *lines)
    assert says in message
    assert bool(says) == bool(message), message


@pytest.mark.parametrize(("lines", "says"), FILES)
def test_files_that_are_read(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    message = attack(tmp_path, *lines)
    assert says in message
    assert bool(says) == bool(message), message
    assert not says or message.endswith(MEND)


@pytest.mark.parametrize(
    "folder",
    ["/out", "/up", "/opt/magic", "/../../../..", "../outside", "/proc/self/cwd", "/loop", "/root"],
)
def test_folders_that_lead_away(tmp_path: Path, folder: str, program: tuple[str, ...]) -> None:
    lines = (
        "symlink out {out}/dir",
        "symlink up ../outside",
        "symlink opt/magic /proc/1/root",
        "symlink loop loop",
        "symlink root /",
    )
    assert attack(tmp_path, *lines, args=("--folder", folder, *program)) == ""


@pytest.mark.parametrize(
    "name",
    [
        "etc/ld.so.cache",
        "etc/ld.so.cache~",
        "etc/ld.so.conf",
        "etc/ld.so.conf.d/00-pyshim.conf",
        "var/cache/ldconfig/aux-cache~",
        "opt/lib/libhard.so.1",
    ],
)
def test_hard_links_to_files_of_the_host(tmp_path: Path, name: str) -> None:
    outside = make_tree(tmp_path / "outside", *OUTSIDE)
    libs.put(libs.library("libhard.so.1"), outside / "library")
    source = "library" if name.endswith(".so.1") else "file"
    path = tmp_path / "root" / name
    path.parent.mkdir(parents=True)
    os.link(outside / source, path)
    content = (outside / source).read_bytes()
    args = ("update-ldcache", "--folder", "/opt/lib")
    assert measured(tmp_path / "root", *args).status == 0
    assert (outside / source).read_bytes() == content


@pytest.mark.parametrize(
    "name", ["sbin/ldconfig", "sbin/ldconfig.real", "usr/sbin/ldconfig", "bin/sh", "bin/ldconfig"]
)
def test_t5_programs_of_the_image_are_not_run(tmp_path: Path, name: str) -> None:
    lines: tuple[str, ...] = (f"file {name} #!/bin/sh\n>/executed\n",)
    (tmp_path / "root").mkdir()
    for script in (True, False):
        if not script:
            source = '#include <fcntl.h>\nint main(void) { creat("/executed", 0644); return 0; }'
            libs.put(libs.static_program(source), tmp_path / "root" / name).chmod(0o755)
            lines = ()
        assert attack(tmp_path, *lines) == ""


def test_t4_libraries_of_the_image_are_not_run(tmp_path: Path) -> None:
    """A preload list, and libraries whose constructors would rewrite the host's ldconfig."""
    source = """#include <fcntl.h>
    __attribute__((constructor)) void evil(void) {
      creat("/executed", 0644); open("/proc/self/exe", O_WRONLY | O_TRUNC); }"""
    evil = libs._build("evil.so", source, "-shared", "-fPIC", "-Wl,-soname,libevil.so.1")
    root = make_tree(tmp_path / "root", "file etc/ld.so.preload /opt/lib/libevil.so.1\n")
    for name in ("opt/lib/libevil.so.1", "lib/libc.so.6", MACHINE.musl_loader[1:]):
        libs.put(evil, root / name).chmod(0o755)
    libs.put(evil, root / "lib64/ld-linux-x86-64.so.2").chmod(0o755)
    assert attack(tmp_path) == ""


def test_damaged_libraries(tmp_path: Path, program: tuple[str, ...]) -> None:
    whole = libs.library("libdamaged.so.1").read_bytes()
    chance = random.Random(1)  # the same damage every time
    for number in range(300):
        data = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(chance.randrange(12)):
            at = chance.randrange(min(len(data), 4096)) if data else 0
            data[at : at + 1] = bytes([chance.randrange(256)])
        path = tmp_path / f"root/opt/lib/lib{number}.so.1"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    outside = make_tree(tmp_path / "outside", *OUTSIDE)
    args = ("update-ldcache", "--folder", "/opt/lib", *program)
    message = survey(tmp_path / "root", outside, *args)
    # A library may be damaged so that ldconfig itself dies of it; that ends in an error.
    assert not message or (not program and message.startswith("ldconfig: ")), message


@pytest.mark.parametrize("size", [1 << 31, 1 << 40])
def test_enormous_libraries(tmp_path: Path, size: int, program: tuple[str, ...]) -> None:
    path = libs.put(libs.library("libsparse.so.1"), tmp_path / "root/opt/lib/libsparse.so.1")
    os.truncate(path, size)
    message = attack(tmp_path, args=("--folder", "/opt/lib", *program))
    assert not message or (not program and message.startswith("ldconfig: ")), message


def test_a_library_that_grows_by_its_header(tmp_path: Path, program: tuple[str, ...]) -> None:
    data = bytearray(libs.library("libbig.so.1").read_bytes())
    struct.pack_into("<H", data, 56, 0xFFFF)  # e_phnum
    path = tmp_path / "root/opt/lib/libbig.so.1"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    message = attack(tmp_path, args=("--folder", "/opt/lib", *program))
    assert not message or (not program and message.startswith("ldconfig: ")), message


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("fifo opt/lib/libx.so.1", "socket opt/lib/liby.so.1"), id="no files"),
        pytest.param(("dir opt/lib", "char opt/lib/libx.so.1 1 5", "block opt/lib/liby.so.1 7 0"),
            id="devices"),
        pytest.param(
            ("symlink opt/lib/libx.so.1 {out}/file", "symlink opt/lib/liby.so ../../../.."),
            id="links away"),
        pytest.param(
            ("symlink opt/lib/libx.so.1 libx.so.1", "symlink opt/lib/liby.so.1 /proc/self/exe"),
            id="links to nothing"),
        pytest.param(("file opt/lib/lib\nx.so.1 x", "file opt/lib/lib\x1b[31m.so x",
            "file opt/lib/lib%n%s.so.1 x"), id="names"),
        pytest.param(("dir opt/lib/libx.so.1", "dir opt/lib/glibc-hwcaps/x86-64-v3",
            "symlink opt/lib/glibc-hwcaps/x86-64-v2 {out}"), id="folders"),
        pytest.param(tuple(f"dir opt/lib/glibc-hwcaps/{i}" for i in range(2000)),
            id="many hwcaps folders"),
    ],
)  # fmt: skip
def test_library_folders(tmp_path: Path, lines: tuple[str, ...], program: tuple[str, ...]) -> None:
    assert attack(tmp_path, *lines, args=("--folder", "/opt/lib", *program)) == ""


@isolated
def test_100_000_files_in_a_library_folder(tmp_path: Path) -> None:
    """On a tmpfs, so that the files are made and gone quickly; the deadline is the default's."""
    root = make_tree(tmp_path / "root", "dir opt/lib")
    subprocess.run(["mount", "-t", "tmpfs", "none", root / "opt/lib"], check=True)
    first = libs.put(libs.library("libmany.so.1"), root / "opt/lib/libmany000000.so.1")
    for number in range(1, 100_000):
        os.link(first, root / f"opt/lib/libmany{number:06}.so.1")
    done = measured(root, "update-ldcache", "--folder", "/opt/lib")
    assert done.status == 0, done
    assert done.seconds < 9
    assert done.peak_kib < 64 << 10, done.peak_kib


@isolated
def test_100_000_conf_files(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True)
    make_tree(root, INCLUDE, "dir etc/ld.so.conf.d")
    for number in range(100_000):
        os.symlink("x", root / f"etc/ld.so.conf.d/{number}.conf")
    outside = make_tree(tmp_path / "outside", *OUTSIDE)
    message = survey(root, outside, "update-ldcache", "--folder", "/opt/lib")
    assert message == "directory '/etc/ld.so.conf.d' holds more than 10000 names" + MEND


@pytest.mark.parametrize(
    "target", ["../../../../../..", "/proc/1/root/opt", "{out}", "/", "/etc", "/proc/self/fd"]
)
def test_t1_compatibility_folder_that_leads_away(tmp_path: Path, target: str) -> None:
    outside = make_tree(tmp_path / "outside", *OUTSIDE)
    libs.put(libs.compat_library(None), outside / "libcuda.so.999.1")
    link = f"symlink usr/local/cuda/compat {target.format(out=outside)}"
    root = make_tree(tmp_path / "root", INCLUDE, "dir usr/local/cuda", link)
    before = snapshot(outside)
    done = measured(root, "enable-cuda-compat", "--host-driver-version=570.1")
    assert snapshot(outside) == before
    assert done.status == 0
    assert not (root / "etc/ld.so.conf.d").exists()
    assert (done.seconds < PROMPT, done.peak_kib < 64 << 10) == (True, True), done


@pytest.mark.parametrize("line", [
    pytest.param("file etc/ld.so.conf /volume/closed/lib\n", id="a folder below it"),
    pytest.param("symlink opt/libnew.so.1 /volume/closed/lib/libnew.so.1.2", id="a link's target"),
])  # fmt: skip
@pytest.mark.parametrize("user", ["65534:65534:", "0:0::held", "0:0:"])
def test_s2_no_names_below_a_folder_that_the_user_cannot_enter(
    tmp_path: Path, line: str, user: str, program: tuple[str, ...]
) -> None:
    """Everybody may read folder and files, but nobody else than root comes there."""
    root = make_tree(tmp_path / "root", "dir opt", line)
    libs.put(libs.library("libnew.so.1"), root / "volume/closed/lib/libnew.so.1.2")
    (root / "volume/closed").chmod(0o700)
    os.chown(root / "volume/closed", 4242, 4242)
    words = ("update-ldcache", "--folder", "/opt", *program)
    done = call(root, "chain", "--rootfs", str(root), "--user", user, *words)
    assert done.status == 0, done
    cached = b"libnew" in (root / "etc/ld.so.cache").read_bytes()
    assert cached == (user == "0:0:")


@pytest.mark.parametrize("user", ["65534:65534:", "0:0::held", "0:0:"])
@pytest.mark.parametrize("closed", ["volume/closed", "volume/closed/v9"])
def test_s2_no_compatibility_folder_that_the_user_cannot_enter(
    tmp_path: Path, user: str, closed: str
) -> None:
    """Its path, as links below a closed folder resolve it, is told to everybody."""
    root = make_tree(
        tmp_path / "root", INCLUDE, "dir usr/local/cuda",
        "symlink usr/local/cuda/compat /volume/closed/current", "symlink volume/closed/current v9",
    )  # fmt: skip
    tmp_path.chmod(0o755)
    libs.put(libs.compat_library(None), root / "volume/closed/v9/libcuda.so.999.1")
    (root / closed).chmod(0o700)
    os.chown(root / closed, 4242, 4242)
    words = ("enable-cuda-compat", "--host-driver-version=570.1")
    done = call(root, "chain", "--rootfs", str(root), "--user", user, *words)
    conf = root / CUDA_COMPAT_FILE[1:]
    told = "/volume/closed/v9\n" if user == "0:0:" else ""
    assert (done.status, conf.read_text() if conf.exists() else "") == (0, told), done
    denied = (
        "pyshim-hook: warning: enable-cuda-compat: /usr/local/cuda/compat: not for the "
        "container's user to read: no compatibility library used\n"
    )
    assert done.stderr == ("" if user == "0:0:" else denied)


def test_the_names_of_all_folders_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight folders of 100,000 long names took 240 MiB; one that is left out takes no place."""
    monkeypatch.setattr(libview, "_MOST_NAMES", 4)
    root = make_tree(
        tmp_path / "root",
        *(f"file {name} x" for name in ("a/1", "a/2", "b/1", "b/2", "b/3", "c/1")),
    )
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/a", "/b", "/c"], [])
        assert [folder.path for folder in view.folders] == ["/a", "/c"]
        assert [change.text for change in view.outcomes] == [
            "/b: more than 4 names in library folders: its libraries are left out"
        ]
