"""update-ldcache with the host's real ldconfig and real libraries; proven by cache and loader."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ocishim.errors import UsageError
from ocishim.hooks import arch, update_ldcache
from tests import libs
from tests.hookcall import Done, call
from tests.isolated import isolated
from tests.trees import make_tree, names, snapshot

pytestmark = pytest.mark.root

MACHINE = arch.host()
CONF = "/etc/ld.so.conf"
OURS = "etc/ld.so.conf.d/00-pyshim.conf"
INCLUDE = "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n"


def cached(root: Path) -> dict[str, str]:
    """SONAME -> first path in the cache, which is the one the loader takes."""
    command = ["ldconfig", "-p", "-C", str(root / "etc/ld.so.cache")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow:
            found.setdefault(name.split()[0], path)
    return found


def update(root: Path, *folders: str) -> Done:
    words = [word for folder in folders for word in ("--folder", folder)]
    done = call(root, "update-ldcache", *words)
    assert (done.status, done.stderr) == (0, ""), done
    return done


def put(root: Path, path: str, soname: str = "libpyshim.so.1", says: str = "") -> None:
    libs.put(libs.library(soname, says or path), root / path)


# arguments


@pytest.mark.parametrize(
    ("args", "folders", "path"),
    [
        ([], [], "/sbin/ldconfig"),
        (["--folder", "/a", "--folder=/b", "-folder", "/a"], ["/a", "/b"], "/sbin/ldconfig"),
        (["--folder", "a/b/"], ["/a/b"], "/sbin/ldconfig"),
        (["--folder", "/a,/b"], ["/a,/b"], "/sbin/ldconfig"),
        (["--ldconfig-path", "/usr/bin/ldconfig"], [], "/usr/bin/ldconfig"),
    ],
)
def test_arguments(args: list[str], folders: list[str], path: str) -> None:
    request = update_ldcache.parse(args)
    assert (request.folders, request.ldconfig_path) == (folders, path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--folder", "/a\n/b"], "--folder '/a\\n/b' is not a path that ld.so.conf can hold"),
        (["--folder", "/a\0b"], "--folder '/a\\x00b' is not a path that ld.so.conf can hold"),
        (["--folder", "/a#b"], "--folder '/a#b' is not a path that ld.so.conf can hold"),
        (["--folder", ""], "--folder '' is not a path that ld.so.conf can hold"),
        (["--folder", " /a"], "--folder ' /a' is not a path that ld.so.conf can hold"),
        (["--folder"], "flag '--folder' needs a value"),
        (["--ldconfig-path", "ldconfig"], "--ldconfig-path 'ldconfig' is not an absolute path"),
        (["--no-pivot"], "unknown flag '--no-pivot'"),
        (["/a"], "unexpected argument '/a'"),
    ],
)
def test_bad_arguments(args: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        update_ldcache.parse(args)
    assert caught.value.message == message


def test_requests_merge() -> None:
    parts: tuple[list[str], ...] = (
        ["--folder=/a"],
        ["--folder=/b", "--folder=/a", "--ldconfig-path=/x"],
        [],
    )
    merged = update_ldcache.merge([update_ldcache.parse(args) for args in parts])
    assert (merged.folders, merged.ldconfig_path) == (["/a", "/b"], "/x")


# the ordinary


def test_the_images_loader_finds_the_library(tmp_path: Path) -> None:
    root = libs.root_with_loader(tmp_path / "root", libs.user_of("libcuda.so.1"))
    put(root, "opt/vendor/libcuda.so.570.86", "libcuda.so.1", says="the driver's")
    program = ["chroot", str(root), "/bin/program"]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 127
    update(root, "/opt/vendor")
    assert subprocess.run(program, capture_output=True, check=True).stdout == b"the driver's\n"
    assert os.readlink(root / "opt/vendor/libcuda.so.1") == "libcuda.so.570.86"


def test_an_empty_image(tmp_path: Path) -> None:
    update(tmp_path)
    assert names(tmp_path) == ["etc", "etc/ld.so.cache", "etc/ld.so.conf"]
    assert (tmp_path / "etc/ld.so.conf").read_text() == "include /etc/ld.so.conf.d/*.conf\n"


def test_what_is_written(tmp_path: Path) -> None:
    put(tmp_path, "opt/a/liba.so.1", "liba.so.1")
    put(tmp_path, "opt/b,c d/libb.so.1", "libb.so.1")
    update(tmp_path, "/opt/a", "/opt/b,c d")
    assert (tmp_path / OURS).read_text() == "/opt/a\n/opt/b,c d\n"
    assert oct((tmp_path / OURS).stat().st_mode) == "0o100644"
    assert oct((tmp_path / "etc/ld.so.cache").stat().st_mode) == "0o100644"
    assert cached(tmp_path) == {
        "liba.so.1": "/opt/a/liba.so.1",
        "libb.so.1": "/opt/b,c d/libb.so.1",
    }


def test_a_second_start_leaves_nothing_new(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, "dir var/cache")
    put(tmp_path, "opt/a/liba.so.1.2", "liba.so.1")
    update(tmp_path, "/opt/a")
    before, cache = snapshot(tmp_path), cached(tmp_path)
    update(tmp_path, "/opt/a")
    after = snapshot(tmp_path)
    changing = {".", "etc", "etc/ld.so.cache", "var/cache/ldconfig", "var/cache/ldconfig/aux-cache"}
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    assert (after.keys(), cached(tmp_path)) == (before.keys(), cache)


def test_folders_follow_the_request(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE)
    update(tmp_path, "/opt/a")
    update(tmp_path, "/opt/b")
    assert (tmp_path / OURS).read_text() == "/opt/b\n"
    update(tmp_path)
    assert (tmp_path / OURS).read_text() == ""


def test_the_folders_are_told(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE)
    for words, told in ((["--folder=/opt/a", "--folder=/b"], "/opt/a, /b"), ([], "no folder")):
        done = call(tmp_path, "--debug", "update-ldcache", *words)
        assert f"pyshim-hook: debug: update-ldcache: /{OURS}: {told}\n" in done.stderr


def test_known_folders_are_not_written(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, "file etc/ld.so.conf.d/cuda.conf /usr/local/cuda/lib64/\n")
    update(tmp_path, "/usr/local/cuda/lib64", "/usr/lib", "/opt/a")
    assert (tmp_path / OURS).read_text() == "/opt/a\n"


def test_ours_come_before_the_images(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, "file etc/ld.so.conf.d/a.conf /opt/image\n")
    for folder in ("opt/image", "opt/driver", "usr/lib"):
        put(tmp_path, f"{folder}/libpyshim.so.1")
    update(tmp_path, "/opt/driver")
    assert cached(tmp_path) == {"libpyshim.so.1": "/opt/driver/libpyshim.so.1"}


def test_cuda_compatibility_comes_first(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, f"file {update_ldcache.CUDA_COMPAT_FILE[1:]} /opt/compat\n")
    for folder in ("opt/compat", "opt/driver"):
        put(tmp_path, f"{folder}/libpyshim.so.1")
    update(tmp_path, "/opt/driver")
    assert cached(tmp_path) == {"libpyshim.so.1": "/opt/compat/libpyshim.so.1"}


def test_without_proc_nothing_is_made(tmp_path: Path) -> None:
    """An empty cache was, without a word: folders are known to the mount table by /proc alone."""
    put(tmp_path, "opt/driver/libdriver.so.1", "libdriver.so.1")
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc; exec "$0" "$@"']
    done = call(tmp_path, "update-ldcache", "--folder", "/opt/driver", under=hidden)
    assert done.status == 1
    assert done.stderr.endswith("/opt/driver: cannot be looked through: there is no /proc\n")
    assert not (tmp_path / "etc/ld.so.cache").exists()


# images that are different


@pytest.mark.parametrize("first", ["/opt/image\n", "/opt/image\ninclude /no/such/*.conf\n"])
def test_a_conf_without_our_folder_is_served_unchanged(tmp_path: Path, first: str) -> None:
    make_tree(tmp_path, f"file etc/ld.so.conf {first}")
    make_tree(tmp_path, f"file {update_ldcache.CUDA_COMPAT_FILE[1:]} /opt/compat\n")
    put(tmp_path, "opt/image/libimage.so.1", "libimage.so.1")
    put(tmp_path, "opt/driver/libdriver.so.1", "libdriver.so.1")
    put(tmp_path, "opt/compat/libcompat.so.1", "libcompat.so.1")
    update(tmp_path, "/opt/driver")
    assert (tmp_path / "etc/ld.so.conf").read_text() == first
    assert set(cached(tmp_path)) == {"libimage.so.1", "libdriver.so.1", "libcompat.so.1"}


@pytest.mark.parametrize(
    ("release", "folders"),
    [
        pytest.param(
            ["file etc/debian_version 12"], MACHINE.system_folders(debian=True), id="Debian"
        ),
        pytest.param([], MACHINE.system_folders(debian=False), id="others"),
    ],
)
def test_the_distributions_folders_are_searched(
    tmp_path: Path, release: list[str], folders: tuple[str, ...]
) -> None:
    make_tree(tmp_path, "dir etc", *release)
    for number, folder in enumerate(folders):
        put(tmp_path, f"{folder[1:]}/lib{number}.so.1", f"lib{number}.so.1")
    update(tmp_path)
    expected = {f"lib{number}.so.1": f"{f}/lib{number}.so.1" for number, f in enumerate(folders)}
    assert cached(tmp_path).items() >= expected.items()


def test_system_folders_come_last(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, "file etc/ld.so.conf.d/x.conf /opt/image\n")
    for folder in ("opt/image", "usr/lib", "usr/lib64"):
        put(tmp_path, f"{folder}/libpyshim.so.1")
    update(tmp_path)
    assert cached(tmp_path) == {"libpyshim.so.1": "/opt/image/libpyshim.so.1"}


def test_links_inside_the_root(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        "dir real/etc",
        "symlink etc /real/etc",
        "dir usr/lib64",
        "symlink lib64 usr/lib64",
        "symlink opt/vendor ../data",
        "dir data",
    )
    put(tmp_path, "data/libv.so.1", "libv.so.1")
    update(tmp_path, "/opt/vendor")
    assert (tmp_path / "real/etc/ld.so.cache").is_file()
    command = ["ldconfig", "-p", "-C", str(tmp_path / "real/etc/ld.so.cache")]
    assert (
        b"/opt/vendor/libv.so.1" in subprocess.run(command, capture_output=True, check=True).stdout
    )


def test_the_cache_replaces_a_link(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "file cache of the host")
    root = make_tree(tmp_path / "root", f"symlink etc/ld.so.cache {outside}/cache")
    update(root)
    assert not (root / "etc/ld.so.cache").is_symlink()
    assert (outside / "cache").read_text() == "of the host"


def test_musl_gets_its_own_file_too(tmp_path: Path) -> None:
    make_tree(tmp_path, "file etc/alpine-release 3.20.0\n")
    update(tmp_path, "/opt/a", "/usr/lib")
    path = tmp_path / MACHINE.musl_path_file[1:]
    assert path.read_text() == "/lib\n/usr/local/lib\n/usr/lib\n/opt/a\n"
    update(tmp_path, "/opt/a", "/usr/lib")
    assert path.read_text() == "/lib\n/usr/local/lib\n/usr/lib\n/opt/a\n"


def test_300_libraries(tmp_path: Path) -> None:
    sonames = libs.libraries(tmp_path / "opt/a", 300)
    update(tmp_path, "/opt/a")
    assert cached(tmp_path) == {name: f"/opt/a/{name}" for name in sonames}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    update(tmp_path, "/no/such/folder")
    assert cached(tmp_path) == {}


# when it cannot work


def failure(root: Path, *args: str) -> str:
    done = call(root, "update-ldcache", *args)
    assert done.status == 1, done
    prefix = "pyshim-hook: createContainer hook update-ldcache failed: "
    assert done.stderr.startswith(prefix), done
    return done.stderr.removeprefix(prefix).removesuffix("\n")


@isolated
def test_a_read_only_root(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", INCLUDE)
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    assert "Read-only file system" in failure(root, "--folder", "/opt/a")
    assert failure(root) == "/etc/ld.so.cache: Read-only file system"
    assert names(root) == ["etc", "etc/ld.so.conf"]


def test_an_etc_that_is_a_file(tmp_path: Path) -> None:
    make_tree(tmp_path, "file etc text")
    assert failure(tmp_path, "--folder", "/a") == "'/etc' is a regular file, not a directory"


def test_a_conf_folder_that_is_a_file(tmp_path: Path) -> None:
    make_tree(tmp_path, INCLUDE, "file etc/ld.so.conf.d text")
    message = "'/etc/ld.so.conf.d' is a regular file, not a directory"
    assert failure(tmp_path, "--folder", "/a") == message


def test_a_cache_that_is_a_directory(tmp_path: Path) -> None:
    make_tree(tmp_path, "dir etc/ld.so.cache")
    assert failure(tmp_path) == "/etc/ld.so.cache: 'ld.so.cache' is a directory"
    assert names(tmp_path) == ["etc", "etc/ld.so.cache", "etc/ld.so.conf"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda p: p.mkdir(), "not a regular file", id="folder"),
        pytest.param(
            lambda p: p.write_text("#!/bin/sh\n" * 20),
            "not a 64-bit little-endian ELF file",
            id="script",
        ),
        pytest.param(
            lambda p: libs.foreign(libs.static_program("int main(void){return 0;}"), 21, p),
            f"an ELF file for machine 21, not {MACHINE.elf_machine}",
            id="of another architecture",
        ),
        pytest.param(
            lambda p: libs.put(Path("/bin/true"), p),
            "dynamically linked: its loader would come from the image",
            id="dynamic",
        ),
    ],
)
def test_ldconfigs_that_are_refused(tmp_path: Path, make: object, reason: str) -> None:
    program, root = tmp_path / "ldconfig", tmp_path / "root"
    root.mkdir()
    make(program)  # type: ignore[operator]
    message = failure(root, "--ldconfig-path", str(program))
    assert message.startswith(f"ldconfig '{program}' of the host: {reason}")


def test_ldconfig_real_is_preferred(tmp_path: Path) -> None:
    wrapper = tmp_path / "ldconfig"
    wrapper.write_text("#!/bin/sh\nexec ldconfig.real\n")
    path = "/sbin/ldconfig.real" if os.path.exists("/sbin/ldconfig.real") else "/sbin/ldconfig"
    libs.put(Path(path), tmp_path / "ldconfig.real")
    root = make_tree(tmp_path / "root", INCLUDE)
    done = call(root, "update-ldcache", "--ldconfig-path", str(wrapper))
    assert done.status == 0, done
    assert (root / "etc/ld.so.cache").is_file()
