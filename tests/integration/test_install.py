"""An installation that runs: in the root of another machine, entered by chroot(2).

Of the static file (make test-binary). What lies where is tested in tests/unit/admin/test_install.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.binary]

# The machine's own /usr, read-only, with an empty /usr/local.
_MOUNTS = """
cd "$1"
mkdir -p usr etc proc dev run tmp
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t tmpfs tmpfs usr/local
mount -t tmpfs tmpfs tmp
mount -t proc proc proc
for name in lib lib64 bin sbin; do [ ! -e /$name ] || cp -a /$name .; done
touch dev/null
mount --bind /dev/null dev/null
"""


class Machine:
    """The root of another machine, at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def enter(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the machine."""
        return subprocess.run(
            ["chroot", str(self.root), *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={"PATH": "/usr/sbin:/usr/bin"},
        )

    def admin(self, *args: str, file: Path | str = BINARY) -> str:
        """Run `file` as pyshimctl on the machine, from outside."""
        done = subprocess.run(
            [file, "--as", "pyshimctl", *args, "--host-root", str(self.root)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listing(self) -> list[str]:
        """Every name in the folders an installation writes to."""
        folders = [self.root / "usr/local", self.root / "etc", self.root / "run"]
        return sorted(str(path) for folder in folders for path in folder.rglob("*"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine without pyshim."""
    root = tmp_path / "machine"
    root.mkdir()
    subprocess.run(["sh", "-ec", _MOUNTS, "sh", str(root)], check=True)
    try:
        yield Machine(root)
    finally:
        for mount in ("dev/null", "proc", "tmp", "usr/local", "usr"):
            subprocess.run(["umount", "-l", str(root / mount)], check=True)


def bundle(machine: Machine) -> str:
    """Make a bundle that wants nothing of pyshim; its path on the machine."""
    folder = machine.root / "tmp/bundle"
    (folder / "rootfs").mkdir(parents=True)
    spec = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["true"]}}
    (folder / "config.json").write_text(json.dumps(spec))
    return "/tmp/bundle"


def test_programs_run_with_nothing_but_what_was_installed(machine: Machine) -> None:
    need("runc")
    machine.admin("install")
    assert machine.enter("/usr/local/bin/pyshim", "--version").stdout.startswith("runc version ")
    hook = machine.enter("/usr/local/bin/pyshim-hook", "--version")
    assert hook.stdout.startswith("pyshim-hook ")
    version = json.loads(machine.enter("/usr/local/bin/pyshimctl", "version", "--json").stdout)
    assert version["program"] == "/usr/local/bin/pyshim"
    assert version["lowlevel"]["kind"] == "runc"
    for command in ("--help", "config show", "config check", "configure containerd --dry-run"):
        done = machine.enter("/usr/local/bin/pyshimctl", *command.split())
        assert done.returncode == 0, done.stderr


def test_any_user_can_run_it(machine: Machine) -> None:
    """In a user namespace the hook program runs as somebody who owns nothing of it."""
    old = os.umask(0o077)
    try:
        machine.admin("install")
    finally:
        os.umask(old)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for program in ("pyshim-hook", "pyshim", "pyshimctl"):
        done = machine.enter(*nobody, f"/usr/local/bin/{program}", "--version")
        assert done.returncode == 0, done.stderr


def test_it_installs_from_itself(machine: Machine) -> None:
    """An installed copy puts itself elsewhere; the original is not asked."""
    machine.admin("install")
    done = machine.enter("/usr/local/bin/pyshimctl", "install", "--prefix", "/tmp/other")
    assert done.returncode == 0, done.stderr
    assert machine.enter("/tmp/other/bin/pyshim", "--version").returncode == 0
    name = os.readlink(machine.root / "usr/local/lib/pyshim/current")
    copy = machine.root / "tmp/other/lib/pyshim" / name / "bin/pyshim"
    assert copy.read_bytes() == Path(BINARY).read_bytes()


def test_a_damaged_copy_is_told_and_mended(machine: Machine) -> None:
    machine.admin("install")
    name = os.readlink(machine.root / "usr/local/lib/pyshim/current")
    file = machine.root / "usr/local/lib/pyshim" / name / "bin/pyshim"
    with file.open("ab") as copy:
        copy.write(b"more")
    for command in ("install", "install --check"):
        done = machine.enter("/usr/local/bin/pyshimctl", *command.split())
        assert done.returncode == 1
        assert "was changed since it was installed" in done.stderr
    assert f"mend /usr/local/lib/pyshim/{name}/bin/pyshim" in machine.admin("install")
    assert machine.enter("/usr/local/bin/pyshimctl", "install", "--check").returncode == 0


def test_switch_while_containers_start(machine: Machine, tmp_path: Path) -> None:
    """A hundred upgrades, and at least 400 creates meanwhile, beside commands that pass through."""
    machine.admin("install", "--runtime", "/usr/bin/true")
    path = bundle(machine)
    files = []
    for count in range(2):
        files.append(tmp_path / f"pyshim{count}")
        shutil.copy(BINARY, files[-1])
        with files[-1].open("ab") as file:  # another file that does the same
            file.write(bytes(count + 1))
    stop = threading.Event()
    calls: list[tuple[str, int, str]] = []

    def work(*arguments: str) -> None:
        while not stop.is_set() or len(calls) < 400 + calls.count(("state", 0, "")):
            done = machine.enter("/usr/local/bin/pyshim", *arguments)
            calls.append((arguments[0], done.returncode, done.stderr))

    workers = [
        threading.Thread(target=work, args=arguments)
        for arguments in (("create", "--bundle", path, "x"), ("state", "x"))
    ]
    for worker in workers:
        worker.start()
    try:
        for count in range(100):
            machine.admin("install", file=files[count % 2])
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert [call for call in calls if call[1:] != (0, "")] == []
    assert sum(call[0] == "create" for call in calls) >= 400
    assert len(list((machine.root / "usr/local/lib/pyshim").glob("*/bin"))) == 3  # and current


def test_the_clusters_installer(machine: Machine) -> None:
    """`pyshimctl daemonset` on a node: installs, registers, restarts once, and takes it all back."""
    systemctl = machine.root / "usr/local/sbin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text('#!/bin/sh\necho "$@" >>/tmp/restarts\n')
    systemctl.chmod(0o755)
    before = machine.listing()
    environment = {"HOST_ROOT": str(machine.root), "ENGINE": "crio"}
    for action in ("install", "install", "remove"):
        done = subprocess.run(
            [BINARY, "--as", "pyshimctl", "daemonset", action],
            env=environment, check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if action == "install":
            assert machine.enter("/usr/local/bin/pyshim-hook", "--version").returncode == 0
            drop_in = machine.root / "etc/crio/crio.conf.d/99-pyshim.conf"
            assert 'runtime_path = "/usr/local/bin/pyshim"' in drop_in.read_text()
    assert (machine.root / "tmp/restarts").read_text() == "restart crio\n" * 2
    left = [path for path in machine.listing() if path not in before and "etc/crio" not in path]
    assert left == []


def test_uninstall_of_what_was_used_leaves_no_trace(machine: Machine) -> None:
    before = machine.listing()
    machine.admin("install", "--runtime", "/usr/bin/true")
    (machine.root / "run/pyshim").mkdir(mode=0o700)
    done = machine.enter("/usr/local/bin/pyshim", "create", "--bundle", bundle(machine), "x")
    assert done.returncode == 0, done.stderr
    assert os.listdir(machine.root / "run/pyshim")
    done = machine.enter("/usr/local/bin/pyshimctl", "uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.listing() == before
