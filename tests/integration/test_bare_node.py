"""A node that has nothing: the static file, a low-level runtime, and the kernel (make test-binary).

The root is entered by pivot_root(2); a shell, a C library or a Python outside of it cannot be
reached. runc is a static one (tools/runc.sh); where it could not run itself, without /proc or within
few descriptors, a program of ten lines is the low-level runtime and prints what it was called with.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import libs
from tests.integration.conftest import TOKEN
from tests.integration.rootless import static_runc
from tools.lab import cgroups
from tools.lab.bundle import Bundle, make_spec
from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.root, pytest.mark.binary]

# enter ROOT PROGRAM ARGUMENT...: the working directory's mount becomes the root of all.
ENTER = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  if (argc < 2 || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
    return perror("enter"), 99;
  execv(argv[1], argv + 1);
  return perror(argv[1]), 98;
}"""

# In place of a low-level runtime that would need /proc, or more than it is left.
RAN = r"""
#include <stdio.h>
int main(int argc, char **argv) {
  for (int at = 1; at < argc; at++) printf("%s ", argv[at]);
  return puts("ran"), 0;
}"""

SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/demo",
    "devices": [{"name": "0", "containerEdits": {
        "deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/null"}],
        "env": ["ACME=zero"],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                   "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "libacme.so.1::/lib/libacme.so"]}],
    }}],
}  # fmt: skip
ASKS = {"cdi.k8s.io/x": "acme.com/demo=0"}
WITH_PROC = "mount -t proc proc proc"


class Node:
    """The root of a machine, below `root`; `bin` is the folder of pyshim's programs there."""

    def __init__(self, root: Path, bin_: str = "/bin") -> None:
        self.root = root
        self.bin = bin_
        for name in ("dev", "etc/cdi", "etc/pyshim", "proc", "run", "sys", "tmp", "bundle/rootfs"):
            (root / name).mkdir(parents=True)
        (root / "etc/cdi/acme.json").write_text(json.dumps(SPEC))
        self.put(Path(BINARY), f"{bin_}/pyshim")
        for name in ("pyshim-hook", "pyshimctl"):
            os.symlink("pyshim", f"{root}{bin_}/{name}")

    def put(self, file: Path, path: str) -> None:
        target = Path(f"{self.root}{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)

    def runtime(self, program: Path) -> None:
        """Let the node's low-level runtime be `program`."""
        self.put(program, "/bin/runc")
        (self.root / "etc/pyshim/config.toml").write_text('runtimes = ["/bin/runc"]\n')

    def bundle(self, *args: str, rootfs: Path | None = None) -> Bundle:
        """Make /bundle, which asks for the device; its rootfs is a copy of `rootfs`."""
        bundle = Bundle(self.root / "bundle")
        if rootfs:
            shutil.copytree(rootfs, bundle.rootfs, symlinks=True, dirs_exist_ok=True)
        spec = make_spec(args, annotations=ASKS, linux={
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "cgroupsPath": f"/{TOKEN}-bare/c",
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
        })  # fmt: skip
        del spec["hostname"]
        bundle.config.write_text(json.dumps(spec))
        return bundle

    def enter(
        self, *argv: str, mounts: str = WITH_PROC, before: str = ":",
        env: Mapping[str, str] | None = None, stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program of the node in namespaces of its own; nothing else can be reached."""
        script = (
            'cd "$1"; mount --bind . .; cd "$1"; mount --rbind /dev dev; mount --rbind /sys sys;'
            f' mount -t tmpfs tmpfs run; {mounts}; {before}; shift; exec env "$@"'
        )
        own = [f"{name}={value}" for name, value in (env or {}).items()]
        enter = str(libs.static_program(ENTER))
        words = ["sh", "-euc", script, "sh", str(self.root), *own, enter, *argv]
        return subprocess.run(
            ["unshare", "-m", "-p", "-f", "--propagation", "private", "--kill-child", *words],
            input=stdin, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def create(self, **how: Any) -> None:
        """`create` the bundle by a stand-in for the runtime, and run the hook that pyshim left."""
        done = self.enter(f"{self.bin}/pyshim", "create", "--bundle", "/bundle", "c", **how)
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            "create --bundle /bundle c ran\n",
            "",
        )
        config = json.loads((self.root / "bundle/config.json").read_text())
        assert "ACME=zero" in config["process"]["env"]
        hook = config["hooks"]["createContainer"][0]
        state = {
            "ociVersion": "1.0.2",
            "id": "c",
            "status": "creating",
            "pid": 1,
            "bundle": "/bundle",
        }
        done = self.enter(hook["path"], *hook["args"][1:], stdin=json.dumps(state), **how)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert os.readlink(self.root / "bundle/rootfs/lib/libacme.so") == "libacme.so.1"


@pytest.fixture(scope="session")
def runc() -> Path:
    """A runc that needs no library."""
    return static_runc()


@pytest.fixture
def group() -> Iterator[None]:
    """The control group that the container's lies in."""
    yield
    cgroups.remove(f"{TOKEN}-bare")


SCRIPT = [
    "sh",
    "-c",
    "readlink /lib/libacme.so; echo $ACME; echo x >/dev/acme0 && ls -l /dev/acme0",
]


def runs(node: Node, runc: Path, busybox: Path, **how: Any) -> None:
    """A container of the node has its device, by a real runc."""
    node.runtime(runc)
    node.bundle(*SCRIPT, rootfs=busybox)
    done = node.enter(
        f"{node.bin}/pyshim", "--root", "/run/runc", "run", "--bundle", "/bundle", "c", **how
    )
    assert (done.returncode, done.stderr) == (0, "")
    link, variable, device = done.stdout.splitlines()
    assert (link, variable, device[0], device.split()[-1]) == (
        "libacme.so.1",
        "zero",
        "c",
        "/dev/acme0",
    )


@pytest.mark.usefixtures("group")
def test_nothing_but_the_file_and_runc(tmp_path: Path, runc: Path, busybox: Path) -> None:
    node = Node(tmp_path / "node")
    runs(node, runc, busybox)
    assert sorted(path.name for path in (node.root / "bin").iterdir()) == [
        "pyshim", "pyshim-hook", "pyshimctl", "runc"
    ]  # fmt: skip


@pytest.mark.usefixtures("group")
def test_the_file_alone(tmp_path: Path, runc: Path, busybox: Path) -> None:
    """Copied by hand, and nobody made the links."""
    node = Node(tmp_path / "node")
    for name in ("pyshim-hook", "pyshimctl"):
        (node.root / "bin" / name).unlink()
    runs(node, runc, busybox)


@pytest.mark.usefixtures("group")
def test_musl_instead_of_glibc(tmp_path: Path, runc: Path, busybox: Path) -> None:
    """As on Alpine: a shell, a C library, but not glibc; and a person's commands."""
    node = Node(tmp_path / "node", "/usr/local/bin")
    shutil.copytree(busybox, node.root, symlinks=True, dirs_exist_ok=True)
    node.put(libs.static_program(RAN), "/lib/ld-musl-x86_64.so.1")
    runs(node, runc, busybox)
    for line, statuses in (
        ("doctor --json", (0, 3, 4)),  # no system log, for one
        ("cdi list", (0,)),
        ("config check", (0,)),
        ("version", (0,)),
    ):
        done = node.enter("/usr/local/bin/pyshimctl", *line.split())
        assert "Traceback" not in done.stderr
        assert done.returncode in statuses, (line, done.stdout, done.stderr)


@pytest.mark.usefixtures("group")
def test_a_read_only_usr(tmp_path: Path, runc: Path, busybox: Path) -> None:
    """As on Flatcar: /usr cannot be written, so that pyshim goes to /opt."""
    node = Node(tmp_path / "node", "/tmp/download")
    (node.root / "usr").mkdir()
    (node.root / "opt").mkdir()
    mounts = f"{WITH_PROC}; mount -t tmpfs -o ro tmpfs usr"
    node.runtime(runc)
    refused = node.enter("/tmp/download/pyshimctl", "install", mounts=mounts)
    assert refused.returncode == 1
    assert "/usr/local" in refused.stderr
    assert "ead-only file system" in refused.stderr
    done = node.enter(
        "/tmp/download/pyshimctl", "install", "--prefix", "/opt/pyshim", mounts=mounts
    )
    assert (done.returncode, done.stderr) == (0, "")
    node.bin = "/opt/pyshim/bin"
    runs(node, runc, busybox, mounts=mounts)
    done = node.enter(
        "/opt/pyshim/bin/pyshimctl", "uninstall", "--prefix", "/opt/pyshim", mounts=mounts
    )
    assert done.returncode == 0, done.stderr
    assert not (node.root / "opt/pyshim").exists()


LIMITS = [
    pytest.param({"mounts": ":"}, id="no proc"),
    pytest.param({"mounts": f"{WITH_PROC}; mount -t tmpfs -o noexec tmpfs tmp"}, id="noexec tmp"),
    pytest.param({"before": "ulimit -v 32768"}, id="32 MiB of addresses"),
    pytest.param({"before": "ulimit -n 6"}, id="three descriptors left"),
    pytest.param({"before": "exec </dev/null >&1; ulimit -s 256"}, id="a small stack"),
    pytest.param({"env": {"LANG": "C"}}, id="LANG=C"),
    pytest.param({"env": {"LANG": "de_DE.ISO-8859-1", "LC_ALL": "xx"}},
        id="locales that are not there"),
    pytest.param({"env": {"PYTHONHOME": "/x", "PYTHONPATH": "/y", "PYTHONMALLOC": "debug"}},
        id="Python's variables"),
    pytest.param({"env": {"LD_LIBRARY_PATH": "/x", "LD_PRELOAD": "/x.so",
        "GLIBC_TUNABLES": "glibc.malloc.check=3", "MALLOC_PERTURB_": "7"}},
        id="the loader's variables"),
]  # fmt: skip


@pytest.mark.parametrize("how", LIMITS)
def test_a_create_and_its_hook(tmp_path: Path, how: dict[str, Any]) -> None:
    node = Node(tmp_path / "node")
    node.runtime(libs.static_program(RAN))
    node.bundle("true")
    node.create(**how)


def test_32_mib_of_memory(tmp_path: Path) -> None:
    """What the kernel counts, pages of the file included (memory.limit_in_bytes, memory.max)."""
    node = Node(tmp_path / "node")
    node.runtime(libs.static_program(RAN))
    node.bundle("true")
    folders = cgroups.make(f"{TOKEN}-small")
    try:
        limits = [
            folder / name
            for folder in folders
            for name in ("memory.limit_in_bytes", "memory.max")
            if (folder / name).exists()
        ]
        assert limits
        for limit in limits:
            limit.write_text(str(32 << 20))
        node.create(before=f"echo $$ >{limits[0].parent}/cgroup.procs")
    finally:
        cgroups.remove(f"{TOKEN}-small")


def test_too_little_memory(tmp_path: Path) -> None:
    """Where the kernel starts the file at all, a create is made or ends with the reason."""
    node = Node(tmp_path / "node")
    node.runtime(libs.static_program(RAN))
    told = set()
    for kib in range(18400, 23600, 130):
        node.bundle("true")
        done = node.enter(
            f"{node.bin}/pyshim", "create", "--bundle", "/bundle", "c", before=f"ulimit -v {kib}"
        )
        if done.returncode == 1:
            told.add(done.stderr)
        else:  # killed by the kernel or ended by libc before its first line, or all was well
            assert done.returncode in (-signal.SIGSEGV, 127, 0), (kib, done.stderr)
    words = "out of memory\n"
    assert told
    assert told <= {f"pyshim: {words}", f"pyshim: create: {words}"}


@pytest.mark.parametrize("folder", [
    pytest.param("/opt/with a blank/bin", id="blanks"),
    pytest.param("/opt/" + "deep" * 60 + "/bin", id="a long path"),
    pytest.param("/opt/n\new'\"$/bin", id="what a shell would read"),
])  # fmt: skip
def test_any_path(tmp_path: Path, folder: str) -> None:
    node = Node(tmp_path / "node", folder)
    node.runtime(libs.static_program(RAN))
    node.bundle("true")
    node.create()


def test_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    """What passes through does, a create without hooks, too; a hook cannot be named in JSON."""
    node = Node(tmp_path / "node", "/opt/\udcff/bin")
    node.runtime(libs.static_program(RAN))
    pyshim = f"{node.bin}/pyshim"
    assert node.enter(pyshim, "state", "c").stdout == "state c ran\n"
    bundle = node.bundle("true")
    before = bundle.config.read_bytes()
    done = node.enter(pyshim, "create", "--bundle", "/bundle", "c")
    assert (done.returncode, done.stdout, bundle.config.read_bytes()) == (1, "", before)
    assert done.stderr == (
        "pyshim: /opt/\\xff/bin/pyshim-hook is not UTF-8, and config.json can name nothing else to a"
        " hook (install pyshim, and let the engine keep its bundles, where the path is UTF-8)\n"
    )
    (node.root / "etc/cdi/acme.json").unlink()
    bundle.config.write_text(json.dumps(make_spec(["true"])))
    done = node.enter(pyshim, "create", "--bundle", "/bundle", "c")
    assert (done.returncode, done.stderr) == (0, "")
