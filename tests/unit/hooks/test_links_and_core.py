"""What update-ldcache makes of folders: links by SONAME, the image's C library, what leads away."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ocishim.hooks import arch, ldcache, soname
from tests import libs
from tests.hookcall import Done, call
from tests.isolated import isolated
from tests.trees import make_tree, snapshot

pytestmark = pytest.mark.root
INCLUDE = "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n"


def cached(root: Path) -> dict[str, str]:
    command = ["ldconfig", "-p", "-C", str(root / "etc/ld.so.cache")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.strip().partition(" => ") for line in listed.splitlines() if " => " in line]
    return {name.split()[0]: path for name, _, path in reversed(rows)}


def put(root: Path, path: str, soname: str) -> None:
    libs.put(libs.library(soname), root / path)


def update(root: Path, *folders: str, before: tuple[str, ...] = ()) -> Done:
    words = [word for folder in folders for word in ("--folder", folder)]
    done = call(root, "chain", "--rootfs", str(root), *before, "update-ldcache", *words)
    assert done.status == 0, done
    return done


# --- links


@pytest.mark.parametrize(("lines", "link"), [
    pytest.param((), "libx.so.1.2", id="missing"),
    pytest.param(("symlink opt/libx.so.1 libx.so.0.9",), "libx.so.1.2", id="dangles"),
    pytest.param(("symlink opt/libx.so.1 /no/where",), "libx.so.1.2", id="dangles elsewhere"),
    pytest.param(("symlink opt/libx.so.1 ./libx.so.1.2",), "./libx.so.1.2", id="right, otherwise"),
    pytest.param(("symlink opt/libx.so.1 /data/real",), "/data/real", id="right, elsewhere"),
    pytest.param(("symlink opt/libx.so.1 libx.so.1.1",), "libx.so.1.1", id="an older one"),
])  # fmt: skip
def test_a_link(tmp_path: Path, lines: tuple[str, ...], link: str) -> None:
    make_tree(tmp_path, *lines)
    for path in ("opt/libx.so.1.2", "opt/libx.so.1.1", "data/real"):
        put(tmp_path, path, "libx.so.1")
    update(tmp_path, "/opt")
    assert os.readlink(tmp_path / "opt/libx.so.1") == link
    assert cached(tmp_path) == {"libx.so.1": "/opt/libx.so.1"}


@pytest.mark.parametrize(("names", "best"), [
    (["libx.so.1.9", "libx.so.1.10"], "libx.so.1.10"),
    (["libx.so.1.10", "libx.so.1.9.9"], "libx.so.1.10"),
    (["libother.so", "libx-2.so"], "libx-2.so"),
])  # fmt: skip
def test_the_highest_version_is_linked(tmp_path: Path, names: list[str], best: str) -> None:
    for name in names:
        put(tmp_path, f"opt/{name}", "libx.so.1")
    update(tmp_path, "/opt")
    assert os.readlink(tmp_path / "opt/libx.so.1") == best


def test_a_link_that_the_spec_asked_for_stays(tmp_path: Path) -> None:
    """nvidia-docker 1488: the image has a real library of that SONAME with a higher version."""
    put(tmp_path, "opt/libx.so.1.2.3", "libx.so.1")
    put(tmp_path, "opt/libx.so.9", "libx.so.1")
    asked = ("create-symlinks", "--link", "libx.so.1.2.3::/opt/libx.so.1", "--next")
    for _ in range(2):
        update(tmp_path, "/opt", before=asked)
        assert os.readlink(tmp_path / "opt/libx.so.1") == "libx.so.1.2.3"


@pytest.mark.parametrize("folder", ["opt", "usr/lib64"])
def test_the_link_for_dlopen_is_in_the_cache(tmp_path: Path, folder: str) -> None:
    """Toolkit 944: the spec's libcuda.so leads to a link that was not there for ldconfig."""
    put(tmp_path, f"{folder}/libcuda.so.535.1", "libcuda.so.1")
    put(tmp_path, f"{folder}/libother.so.7", "libother.so.7")
    put(tmp_path, f"{folder}/liba.so.1", "liba.so.1")
    asked = ("create-symlinks", "--link", f"libcuda.so.1::/{folder}/libcuda.so", "--next")
    for _ in range(2):
        update(tmp_path, f"/{folder}", before=asked)
        assert cached(tmp_path) == {
            "liba.so.1": f"/{folder}/liba.so.1",
            "libcuda.so": f"/{folder}/libcuda.so",
            "libcuda.so.1": f"/{folder}/libcuda.so.1",
            "libother.so.7": f"/{folder}/libother.so.7",
        }
    data = ldcache.parse((tmp_path / "etc/ld.so.cache").read_bytes())
    keys = [soname.order(entry.name) for entry in data.entries]
    assert keys == sorted(keys, reverse=True)  # the loader halves the list


COMPAT = ("enable-cuda-compat", "--host-driver-version", "535.1", "--next")


@pytest.mark.parametrize(
    ("version", "listed", "path"),
    [
        pytest.param("470.1", "/usr/local/cuda/compat", "/usr/lib64/libcuda.so.1", id="older"),
        pytest.param("470.1", "/usr/local/cuda-11/compat", "/usr/lib64/libcuda.so.1", id="linked"),
        pytest.param("550.1", "/usr/local/cuda/compat", "/usr/local/cuda-11/compat/libcuda.so.1",
                     id="newer: chosen"),
        pytest.param("470.1", "/opt/own", "/opt/own/libcuda.so.1", id="another folder"),
    ],
)  # fmt: skip
def test_what_enable_cuda_compat_refuses_does_not_win(
    tmp_path: Path, version: str, listed: str, path: str
) -> None:
    """Vllm 32373: a driver in a system folder comes after what ld.so.conf lists."""
    make_tree(tmp_path, INCLUDE, f"file etc/ld.so.conf.d/cuda.conf {listed}\n",
              "symlink usr/local/cuda cuda-11")  # fmt: skip
    compat = "opt/own" if listed == "/opt/own" else "usr/local/cuda-11/compat"
    for file in (f"{compat}/libcuda.so.{version}", "usr/lib64/libcuda.so.535.1"):
        put(tmp_path, file, "libcuda.so.1")
    put(tmp_path, f"{compat}/libonly.so.1", "libonly.so.1")
    make_tree(tmp_path, f"symlink {compat}/libcuda.so.1 libcuda.so.{version}")
    done = update(tmp_path, "/usr/lib64", before=COMPAT)
    assert cached(tmp_path)["libcuda.so.1"] == path
    assert "libonly.so.1" in cached(tmp_path)
    told = "libcuda.so.1: enable-cuda-compat decided for the driver's" in done.stderr
    assert told == (path == "/usr/lib64/libcuda.so.1")


@isolated
def test_a_mounted_library_is_linked_before_the_images(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "file opt/libx.so.1.1 ", "symlink opt/libx.so.1 libx.so.2")
    put(root, "opt/libx.so.2", "libx.so.1")
    put(tmp_path, "driver", "libx.so.1")
    subprocess.run(["mount", "--bind", tmp_path / "driver", root / "opt/libx.so.1.1"], check=True)
    update(root, "/opt")
    assert os.readlink(root / "opt/libx.so.1") == "libx.so.1.1"


def test_the_images_folders_are_left_as_they_are(tmp_path: Path) -> None:
    make_tree(tmp_path, "file etc/ld.so.conf /opt/image\n", "symlink opt/image/libold.so.1 gone")
    put(tmp_path, "opt/image/libx.so.1.2", "libx.so.1")
    put(tmp_path, "usr/lib/liby.so.1.2", "liby.so.1")
    before = snapshot(tmp_path / "opt/image")
    update(tmp_path)
    assert snapshot(tmp_path / "opt/image") == before
    assert os.listdir(tmp_path / "usr/lib") == ["liby.so.1.2"]
    assert cached(tmp_path) == {
        "libx.so.1": "/opt/image/libx.so.1.2", "liby.so.1": "/usr/lib/liby.so.1.2"
    }  # fmt: skip


def test_what_leads_out_of_its_folder_is_found(tmp_path: Path) -> None:
    """Debian's alternatives, stow: the folder's link leads to a library that lies elsewhere."""
    make_tree(
        tmp_path, "file etc/ld.so.conf /opt/lib\n", "symlink opt/lib/libblas.so.3 /etc/alternatives/b",
        "symlink etc/alternatives/b /usr/share/blas/libblas.so.3",
        "symlink opt/lib/libup.so.1 ../../usr/share/blas/libup.so.1",
    )  # fmt: skip
    put(tmp_path, "usr/share/blas/libblas.so.3", "libblas.so.3")
    put(tmp_path, "usr/share/blas/libup.so.1", "libup.so.1")
    update(tmp_path)
    assert cached(tmp_path) == {
        "libblas.so.3": "/opt/lib/libblas.so.3", "libup.so.1": "/opt/lib/libup.so.1"
    }  # fmt: skip
    assert os.readlink(tmp_path / "opt/lib/libblas.so.3") == "/etc/alternatives/b"


def test_two_hundred_folders(tmp_path: Path) -> None:
    for number in range(200):
        put(tmp_path, f"opt/{number}/lib{number}.so.1", f"lib{number}.so.1")
    update(tmp_path, *(f"/opt/{number}" for number in range(200)))
    assert cached(tmp_path) == {f"lib{n}.so.1": f"/opt/{n}/lib{n}.so.1" for n in range(200)}


def test_a_folder_that_not_everybody_may_read(tmp_path: Path) -> None:
    put(tmp_path, "opt/libx.so.1", "libx.so.1")
    (tmp_path / "opt").chmod(0o750)
    done = update(tmp_path, "/opt")
    assert done.stderr.endswith(
        "/opt: not everybody may read it (mode 750): its libraries are left out\n"
    )
    assert cached(tmp_path) == {}


# --- the C library

CORE = ["libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "libnss_dns.so.2"]


@pytest.mark.parametrize("soname", CORE)
@pytest.mark.parametrize("hwcaps", ["", "/glibc-hwcaps/x86-64-v2"])
def test_an_images_core_library_stays_its_own(tmp_path: Path, soname: str, hwcaps: str) -> None:
    make_tree(tmp_path, INCLUDE)
    put(tmp_path, f"usr/lib/{soname}", soname)
    put(tmp_path, f"opt/vendor{hwcaps}/{soname}", soname)
    put(tmp_path, "opt/vendor/libgpu.so.1", "libgpu.so.1")
    done = update(tmp_path, "/opt/vendor")
    assert cached(tmp_path) == {
        soname: f"/usr/lib/{soname}", "libgpu.so.1": "/opt/vendor/libgpu.so.1"
    }  # fmt: skip
    assert f"/opt/vendor: {soname}: the image's own come first" in done.stderr
    first = (tmp_path / "etc/ld.so.conf.d/00-pyshim.conf").read_text().splitlines()
    assert first[-1] == "/opt/vendor"
    assert "/usr/lib" in first


@pytest.mark.parametrize("folder", arch.host().multiarch)
@pytest.mark.parametrize("mounted", [False, True])
@isolated
def test_a_debian_image_without_release(tmp_path: Path, folder: str, *, mounted: bool) -> None:
    """Chiselled Ubuntu: its loader looks there unasked; not so where a spec mounts a C library."""
    make_tree(tmp_path, INCLUDE)
    own = tmp_path / folder[1:] / "libc.so.6"
    put(tmp_path, f"{folder[1:]}/libc.so.6", "libc.so.6")
    put(tmp_path, "opt/vendor/libc.so.6", "libc.so.6")
    if mounted:
        subprocess.run(["mount", "--bind", own, own], check=True)
    update(tmp_path, "/opt/vendor")
    where = "/opt/vendor" if mounted else folder
    assert cached(tmp_path) == {"libc.so.6": f"{where}/libc.so.6"}


def test_a_core_library_that_the_image_lacks_is_the_vendors(tmp_path: Path) -> None:
    put(tmp_path, "opt/vendor/libm.so.6", "libm.so.6")
    done = update(tmp_path, "/opt/vendor")
    assert (cached(tmp_path), done.stderr) == ({"libm.so.6": "/opt/vendor/libm.so.6"}, "")


# --- modes


def test_a_umask_does_not_matter(tmp_path: Path) -> None:
    put(tmp_path, "opt/libx.so.1", "libx.so.1")
    words = (
        "create-symlinks",
        "--link",
        "t::/made/by/us",
        "--next",
        "update-ldcache",
        "--folder",
        "/opt",
    )
    under = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    done = call(tmp_path, "chain", "--rootfs", str(tmp_path), *words, under=under)
    assert done.status == 0, done
    modes = {name: oct(stat.S_IMODE((tmp_path / name).stat().st_mode)) for name in (
        "made", "made/by", "etc", "etc/ld.so.conf.d", "etc/ld.so.cache", "etc/ld.so.conf")}  # fmt: skip
    assert set(modes.values()) == {"0o755", "0o644"}, modes
    assert modes["made/by"] == modes["etc/ld.so.conf.d"] == "0o755"
