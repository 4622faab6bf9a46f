"""What hooks may reach: the container's own, and nothing of a volume's, the kernel's or the host's.

Rows S2 to S5 of the attacks that worked on commit 140db5c, each seen to work there. Everywhere:
runc, crun as Debian 12 has it, the newest crun (which makes mounts read-only after the hooks
only), and pyshim's own executor.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.hooks import arch
from tests import libs
from tests.attack.fuse import served
from tests.conftest import missing, need
from tests.isolated import isolated
from tests.trees import make_tree, snapshot
from tools.lab import newest_crun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

NOBODY = {"uid": 65534, "gid": 65534}
MUSL = arch.host().musl_path_file
ALPINE = "file etc/alpine-release 3.20.0\n"
INCLUDE = "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n"


@pytest.fixture(params=["runc", "crun", "newest crun", "shim"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """Each way of running hooks in turn."""
    name = "runc" if request.param == "shim" else request.param
    if name == "newest crun":
        program = newest_crun.program(tmp_path / "newest")
        if program is None:
            missing("the newest crun cannot be fetched")
        assert program is not None
        return program
    need(name)
    return lowlevels[name]


@pytest.fixture(autouse=True)
def _executor(request: pytest.FixtureRequest, node: Node) -> None:
    if request.node.callspec.params["lowlevel"] == "shim":
        node.shim.configure({"hooks.executor": "shim"})


def hook(*args: str) -> dict[str, Any]:
    return {"path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", *args], "env": ["A=1"]}


def volume(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source),
            "options": ["rbind", *options]}  # fmt: skip


def container(
    node: Node, busybox: Path, script: str, hooks: list[dict[str, Any]], *lines: str,
    mounts: Sequence[dict[str, Any]] = (), user: dict[str, Any] | None = None,
) -> Bundle:  # fmt: skip
    bundle = node.bundle(busybox, script, hooks={"createContainer": hooks})
    bundle.rootfs.chmod(0o755)
    make_tree(bundle.rootfs, *lines)
    spec = bundle.spec
    spec["mounts"] += mounts
    spec["process"]["user"] = user or {"uid": 0, "gid": 0}
    bundle.write(spec)
    return bundle


def started(node: Node, bundle: Bundle) -> Result:
    result = node.run(bundle)
    assert result.returncode == 0, result
    return result


CACHE = hook("update-ldcache", "--folder", "/opt/lib")


# --- S2: what is read


@pytest.mark.parametrize("target", [
    pytest.param("/proc/keys", id="root's keyrings"),
    pytest.param("/proc/1/mountinfo", id="the runtime's mounts"),
    pytest.param("/proc/self/mountinfo", id="the hook's mounts"),
    pytest.param("/proc/iomem", id="addresses"),
    pytest.param("/sys/kernel/notes", id="sysfs"),
    pytest.param("/volume/secret", id="root's file in a volume"),
    pytest.param("/volume/open", id="a file in a volume"),
    pytest.param("/root/secret", id="root's file of the image"),
    pytest.param("/closed/open", id="a file in root's folder of the image"),
])  # fmt: skip
def test_s2_text_is_not_copied(node: Node, busybox: Path, target: str) -> None:
    """Musl's path file as a link: its text came back in a file that everybody may read."""
    held = make_tree(node.folder / "volume", "file secret SECRET\n", "file open SECRET\n")
    bundle = container(
        node, busybox, f"cat {MUSL} 2>/dev/null; true", [CACHE],
        ALPINE, f"symlink {MUSL[1:]} {target}", "file root/secret SECRET\n",
        "file closed/open SECRET\n", mounts=[volume(held, "/volume", "ro")], user=NOBODY,
    )  # fmt: skip
    for path in (held / "secret", bundle.rootfs / "root/secret"):
        path.chmod(0o400)
    (bundle.rootfs / "closed").chmod(0o700)
    started(node, bundle)
    path = bundle.rootfs / MUSL[1:]
    text = "" if path.is_symlink() else path.read_text()
    assert text in ("", "/lib\n/usr/local/lib\n/usr/lib\n/opt/lib\n")


@pytest.mark.parametrize(("lines", "refused"), [
    pytest.param(["symlink etc/ld.so.conf /proc/kmsg"], "'/etc/ld.so.conf' lies on proc",
        id="kmsg"),
    pytest.param(["symlink etc/ld.so.conf /proc/1/environ"], "'/etc/ld.so.conf' lies on proc",
        id="environ"),
    pytest.param(["symlink etc/ld.so.conf /sys/kernel/notes"], "'/etc/ld.so.conf' lies on sysfs",
        id="sysfs"),
    pytest.param([INCLUDE, "symlink etc/ld.so.conf.d/x.conf /proc/kmsg"],
                 "'/etc/ld.so.conf.d/x.conf' lies on proc", id="included"),
    pytest.param(["file etc/ld.so.conf include /proc/kms*\n"], "'/proc' lies on proc",
        id="a pattern in proc"),
    pytest.param([INCLUDE, "symlink etc/ld.so.conf.d/00-pyshim-cuda-compat.conf /proc/kmsg"],
                 "cuda-compat.conf' lies on proc", id="of enable-cuda-compat"),
])  # fmt: skip
def test_s2_no_kernel_file_is_a_conf(
    node: Node, busybox: Path, lines: list[str], refused: str
) -> None:
    """Reading /proc/kmsg takes messages from the host's system log."""
    bundle = container(node, busybox, "echo started", [CACHE], *lines)
    result = node.run(bundle)
    said = result.stderr + (node.shim.log.read_text() if node.shim.log.exists() else "")
    if result.returncode:
        assert refused in said
        assert "(the image or a volume brings that file: mend it there)" in said
    else:  # pyshim's own executor has no /proc: the links lead nowhere
        assert "shim" in node.shim.config.read_text()


def test_s2_what_the_user_may_read_is_read(node: Node, busybox: Path) -> None:
    bundle = container(
        node, busybox, "true", [CACHE], ALPINE, f"file {MUSL[1:]} /own\n", user=NOBODY
    )
    started(node, bundle)
    assert (bundle.rootfs / MUSL[1:]).read_text() == "/own\n/opt/lib\n"


# --- S3: where links lead


@pytest.mark.parametrize("soname", ["../../data/current", "../data/x", "/data/current", "..", "."])
def test_s3_a_soname_that_leads_away(node: Node, busybox: Path, soname: str) -> None:
    held = make_tree(node.folder / "data", "symlink current release-1", "symlink x y")
    held.chmod(0o700)
    bundle = container(
        node, busybox, "true", [CACHE, hook("create-soname-symlinks", "--folder", "/opt/lib")],
        "file etc/ld.so.conf /opt/lib\n/opt/image/lib\n", "dir opt/image/lib",
        mounts=[volume(held, "/data", "rw")],
    )  # fmt: skip
    for folder in ("opt/lib", "opt/image/lib"):
        libs.put(libs.library(soname), bundle.rootfs / folder / "libevil.so.1")
    before = snapshot(held)
    started(node, bundle)
    assert snapshot(held) == before
    assert os.listdir(bundle.rootfs / "opt/image/lib") == ["libevil.so.1"]
    assert b"data" not in (bundle.rootfs / "etc/ld.so.cache").read_bytes()


@pytest.mark.parametrize("wanted", [True, False], ids=["the request's", "the image's"])
def test_s3_nothing_in_a_folder_of_a_volume_changes(
    node: Node, busybox: Path, *, wanted: bool
) -> None:
    """Ldconfig removes links that dangle, which those of Debian's alternatives do from inside."""
    held = make_tree(node.folder / "held", "symlink libblas.so.3 /etc/alternatives/libblas.so.3")
    libs.put(libs.library("libnew.so.1"), held / "libnew.so.1.2")
    bundle = container(
        node, busybox, "true",
        [hook("update-ldcache", *(("--folder", "/held") if wanted else ()))],
        "file etc/ld.so.conf /held\n", mounts=[volume(held, "/held", "rw")],
    )  # fmt: skip
    before = snapshot(held)
    started(node, bundle)
    assert snapshot(held) == before
    listed = _cached(bundle.rootfs)
    assert listed["libnew.so.1"] == "/held/libnew.so.1.2", "found without its link"


def _cached(root: Path) -> dict[str, str]:
    command = ["ldconfig", "-p", "-C", str(root / "etc/ld.so.cache")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.strip().partition(" => ") for line in listed.splitlines() if " => " in line]
    return {name.split()[0]: path for name, _, path in reversed(rows)}


@pytest.mark.parametrize("line", [
    "symlink etc/ld.so.conf.d /data", "symlink var/cache/ldconfig /data", "symlink etc /data",
])  # fmt: skip
def test_s3_our_files_do_not_go_to_a_volume(node: Node, busybox: Path, line: str) -> None:
    held = make_tree(
        node.folder / "data", "file aux-cache of others", "file 00-pyshim.conf of others",
        "file ld.so.cache of others", "file ld.so.conf include /etc/ld.so.conf.d/*.conf\n",
    )  # fmt: skip
    bundle = container(node, busybox, "true", [CACHE], mounts=[volume(held, "/data", "rw")])
    name = line.split(" ")[1]
    subprocess.run(["rm", "-rf", str(bundle.rootfs / name)], check=True)
    make_tree(bundle.rootfs, line, *([] if name == "etc" else [INCLUDE]))
    before = snapshot(held)
    node.run(bundle)
    assert snapshot(held) == before


@pytest.fixture
def another(tmp_path: Path) -> Iterator[str]:
    """/proc/PID/root of a process of the host's that root of the container may enter: it can less."""
    process = subprocess.Popen(
        ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "sleep", "600"]
    )
    yield f"/proc/{process.pid}/root{tmp_path}/held"
    process.kill()
    process.wait()


@pytest.mark.parametrize(("lines", "asked"), [
    pytest.param(["file etc/ld.so.conf {way}\n"], CACHE, id="a line of ld.so.conf"),
    pytest.param([INCLUDE, "symlink etc/ld.so.conf.d {way}"], CACHE, id="ld.so.conf.d"),
    pytest.param(["file etc/ld.so.conf include {way}/*.conf\n"], CACHE, id="an include"),
    pytest.param(["symlink etc/ld.so.conf {way}/a.conf"], CACHE, id="ld.so.conf"),
    pytest.param([ALPINE, f"symlink {MUSL[1:]} {{way}}/a.conf"], CACHE, id="musl's file"),
    pytest.param(["symlink etc/ld.so.cache {way}/ld.so.cache"], CACHE, id="the cache"),
    pytest.param(["symlink opt/lib {way}"], CACHE, id="the request's folder"),
    pytest.param(["symlink opt/lib/libheld.so.1 {way}/libheld.so.1.2"], CACHE, id="a library"),
    pytest.param([], hook("update-ldcache", "--folder", "{way}"), id="a folder of the spec's"),
    pytest.param([], hook("create-symlinks", "--link", "t::{way}/link"), id="a link"),
    pytest.param(["symlink way {way}"], hook("create-symlinks", "--link", "t::/way/d/link"),
        id="a link's folder"),
    pytest.param(["symlink way {way}"], hook("chmod", "--mode", "777", "--path", "/way/a.conf"),
        id="chmod"),
    pytest.param(["symlink opt/lib {way}"], hook("create-soname-symlinks", "--folder", "/opt/lib"),
        id="links by SONAME"),
    pytest.param(["symlink etc/nvidia {way}"], hook("update-application-profile"),
        id="the profile"),
    pytest.param(["symlink usr/local/cuda {way}"],
        hook("enable-cuda-compat", "--host-driver-version", "500.1"), id="cuda-compat"),
])  # fmt: skip
def test_s3_another_process_root(
    node: Node, busybox: Path, another: str, lines: list[str], asked: dict[str, Any]
) -> None:
    """With the host's PID namespace: nothing of the host is read for the image, or written."""
    held = make_tree(node.folder / "held", "file a.conf /SECRET\n", "file ld.so.cache x", "dir d")
    libs.put(libs.library("libheld.so.1"), held / "libheld.so.1.2")
    libs.put(libs.compat_library(None), held / "compat/libcuda.so.999.1")
    asked = {**asked, "args": [word.format(way=another) for word in asked["args"]]}
    bundle = container(
        node, busybox, "true", [asked], *(line.format(way=another) for line in lines)
    )
    spec = bundle.spec
    spaces = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [space for space in spaces if space["type"] != "pid"]
    bundle.write(spec)
    before = snapshot(held)
    node.run(bundle)  # an image may make its own start fail
    assert snapshot(held) == before
    files = [path for path in (bundle.rootfs / "etc").rglob("*") if not path.is_symlink()]
    written = b"".join(path.read_bytes() for path in files if path.is_file())
    assert b"SECRET" not in written
    assert b"libheld" not in written


# --- S9: a volume whose file system is a program's


@pytest.mark.parametrize(("lie", "said"), [
    pytest.param("none", "", id="it says the truth"),
    pytest.param("missing", "cannot be opened by its descriptor", id="ENOENT at open"),
    pytest.param("inode", "changed while it was opened", id="another inode"),
    pytest.param("device", "is a character device, not a regular file", id="a device"),
    pytest.param("asleep", "", id="it does not answer"),
])  # fmt: skip
@isolated
def test_s9_a_fuse_volume(node: Node, busybox: Path, lie: str, said: str) -> None:
    with node.shim.config.open("a") as file:
        file.write("hooks.timeout = 5\n")
    (held := node.folder / "volume").mkdir()
    with served(held, lie):
        bundle = container(
            node, busybox, "echo started", [CACHE], "symlink etc/ld.so.conf /volume/conf",
            mounts=[volume(held, "/volume", "ro")],
        )  # fmt: skip
        began = time.monotonic()
        result = node.run(bundle)
        assert time.monotonic() - began < 30, "5 s, and what the machine is busy with"
    assert (result.returncode == 0) is (lie != "asleep"), result
    assert said in result.stderr + (node.shim.log.read_text() if node.shim.log.exists() else "")


# --- S4: what is written

HOOKS = [
    pytest.param(CACHE, id="update-ldcache"),
    pytest.param(hook("create-symlinks", "--link", "t::/etc/made/link"), id="create-symlinks"),
    pytest.param(hook("chmod", "--mode", "777", "--path", "/etc/shadow"), id="chmod"),
    pytest.param(hook("enable-cuda-compat", "--host-driver-version", "500.1"), id="cuda-compat"),
    pytest.param(hook("update-application-profile"), id="profile"),
    pytest.param(hook("create-soname-symlinks", "--folder", "/etc/lib"), id="soname"),
]


@pytest.mark.parametrize("option", ["ro", "rw"])
@pytest.mark.parametrize("asked", HOOKS)
def test_s4_the_hosts_etc_is_a_volume(
    node: Node, busybox: Path, option: str, asked: dict[str, Any]
) -> None:
    """`-v /etc:/etc:ro`: crun from 1.26 makes it read-only after the hooks only."""
    etc = make_tree(
        node.folder / "etc", "file ld.so.cache of the host", "file shadow x", "dir made",
        INCLUDE.replace("etc/", ""), "file ld.so.conf.d/00-pyshim.conf of the host",
    )  # fmt: skip
    libs.put(libs.library("libhost.so.1"), etc / "lib/libhost.so.1.2")
    bundle = container(node, busybox, "echo started", [asked], mounts=[volume(etc, "/etc", option)])
    libs.put(libs.compat_library(None), bundle.rootfs / "usr/local/cuda/compat/libcuda.so.999.1")
    spec = bundle.spec
    device = {"path": "/dev/nvidia0", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}
    spec["linux"].setdefault("devices", []).append(device)
    bundle.write(spec)
    before = snapshot(etc)
    assert started(node, bundle).stdout == "started\n"
    assert snapshot(etc) == before
    warned = [line for line in node.shim.log.read_text().splitlines() if "warning" in line]
    if "update-application-profile" not in asked["args"] or "shim" not in str(node.shim.config):
        assert any("lies on the mount /etc" in line for line in warned), warned


@pytest.mark.parametrize("option", ["ro", "rw"])
@pytest.mark.parametrize("name", ["ld.so.conf.d", "ld.so.cache", "ld.so.conf"])
def test_s4_a_part_of_etc_is_a_volume(node: Node, busybox: Path, name: str, option: str) -> None:
    """A ConfigMap at /etc/ld.so.conf.d, a file bound at /etc/ld.so.cache: it starts, and is told."""
    held = make_tree(
        node.folder / "held", "file ld.so.cache of the host", "file ld.so.conf.d/a.conf /a\n",
        "file ld.so.conf /b\n",
    )  # fmt: skip
    bundle = container(
        node, busybox, "echo started", [CACHE], INCLUDE,
        mounts=[volume(held / name, f"/etc/{name}", option)],
    )  # fmt: skip
    libs.put(libs.library("liba.so.1"), bundle.rootfs / "opt/lib/liba.so.1.2")
    before = snapshot(held)
    assert started(node, bundle).stdout == "started\n"
    assert snapshot(held) == before
    said = node.shim.log.read_text() if node.shim.log.exists() else ""
    assert (f"lies on the mount /etc/{name}" in said) is (name != "ld.so.conf"), said
    assert (bundle.rootfs / "opt/lib/liba.so.1").is_symlink()


def test_s4_the_other_changes_are_made(node: Node, busybox: Path) -> None:
    held = make_tree(node.folder / "held", "dir d")
    asked = hook("create-symlinks", "--link", "t::/held/d/a", "--link", "t::/opt/b")
    bundle = container(
        node, busybox, "readlink /opt/b", [asked], mounts=[volume(held, "/held", "rw")]
    )
    assert started(node, bundle).stdout == "t\n"
    assert os.listdir(held / "d") == []
    said = node.shim.log.read_text()
    assert "'/held/d/a' lies on the mount /held: link left out" in said


@pytest.mark.parametrize("option", ["ro", "rw"])
def test_s4_a_file_that_is_mounted_is_a_links_target_only(
    node: Node, busybox: Path, option: str
) -> None:
    library = libs.put(libs.library("libcuda.so.1"), node.folder / "driver/libcuda.so.570.1")
    before = snapshot(library.parent)
    bundle = container(
        node, busybox, "readlink /opt/lib/libcuda.so.1",
        [CACHE, hook("chmod", "--mode", "777", "--path", "/opt/lib/libcuda.so.570.1")],
        mounts=[volume(library, "/opt/lib/libcuda.so.570.1", option)],
    )  # fmt: skip
    assert started(node, bundle).stdout == "libcuda.so.570.1\n"
    assert snapshot(library.parent) == before
    assert _cached(bundle.rootfs)["libcuda.so.1"] == "/opt/lib/libcuda.so.1"


def test_a_tmpfs_of_the_containers_is_its_own(node: Node, busybox: Path) -> None:
    """/dev/dri/by-path; pyshim's own executor has a tmpfs of its own there, gone afterwards."""
    asked = hook("create-symlinks", "--link", "../card0::/dev/dri/by-path/x")
    bundle = container(node, busybox, "readlink /dev/dri/by-path/x || echo none", [asked])
    result = started(node, bundle)
    assert "lies on the mount" not in (node.shim.log.read_text() if node.shim.log.exists() else "")
    assert result.stdout in ("../card0\n", "none\n")


def test_a_tmpfs_of_the_hosts_is_not(node: Node, busybox: Path) -> None:
    """A volume that covers the container's own tmpfs is one too: /run of the host, an emptyDir."""
    held = node.folder / "held"
    held.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", held], check=True)
    try:
        bundle = container(
            node, busybox, "true", [hook("create-symlinks", "--link", "t::/run/x/l")],
            mounts=[
                {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                volume(held, "/run", "rw"),
            ],
        )  # fmt: skip
        started(node, bundle)
        assert os.listdir(held) == []
        assert "lies on the mount /run" in node.shim.log.read_text()
    finally:
        subprocess.run(["umount", held], check=True)


# --- S5: a taken-over ldconfig

STAND_IN = """#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
  if (open("/proc/sys/vm/swappiness", O_WRONLY) >= 0) return 3;
  if (open("/proc/keys", O_RDONLY) >= 0) return 4;
  if (open("/volume/secret", O_RDONLY) >= 0) return 5;
  if (creat("/opt/lib/written", 0644) >= 0 || creat("/0/written", 0644) >= 0) return 6;
  if (!chmod("/opt/lib/program", 04755) || !chmod("/0/program", 04755)) return 7;
  if (!getuid()) return 8;
  return 42; }"""


def test_s5_a_stand_in_for_ldconfig_reaches_nothing(node: Node, busybox: Path) -> None:
    held = make_tree(node.folder / "volume", "file secret SECRET\n")
    program = str(libs.static_program(STAND_IN))
    asked = hook("update-ldcache", "--folder", "/opt/lib", "--ldconfig-path", program)
    bundle = container(
        node, busybox, "true", [asked], "file opt/lib/program x",
        mounts=[volume(held, "/volume", "ro")],
    )  # fmt: skip
    result = node.run(bundle)
    assert result.returncode
    assert "exit status 42" in result.stderr + node.shim.log.read_text()


def test_state_is_json(node: Node, busybox: Path) -> None:
    """The chain that pyshim writes tells the hooks who the container runs as, and where tmpfs are."""
    bundle = container(node, busybox, "true", [CACHE], user={**NOBODY, "additionalGids": [44]})
    started(node, bundle)
    hooks = json.loads((bundle.path / "config.json").read_bytes())["hooks"]
    (made,) = hooks.get("createContainer") or hooks["pyshimCreateContainer"]
    assert made["args"][made["args"].index("--user") + 1] == "65534:65534:44"
    assert "/dev" in made["args"][made["args"].index("--tmpfs") + 1].split(":")
