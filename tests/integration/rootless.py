"""An ordinary user of the tests' own, and the engines they run: Podman, buildah, Docker.

/etc is an overlay for them, so that the node's users and subordinate ids stay as they are.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import missing, need
from tools.lab.runtime import Result
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from tools.lab.shim import Shim

USER = 4321
# $1: an empty folder; $2: the user's id; $3: their home; $4: libraries; $5: CDI specs for Podman
# itself; then the command.
_AS_USER = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/up,workdir=$1/work" /etc
echo "pyshim-test:x:$2:$2::$3:/bin/sh" >>/etc/passwd
echo "pyshim-test:x:$2:" >>/etc/group
echo pyshim-test:500000:65536 >/etc/subuid
echo pyshim-test:500000:65536 >/etc/subgid
mkdir -p /etc/cdi
cp "$5"/* /etc/cdi
mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || true
[ ! -d "$4" ] || mount --bind "$4" /mnt
shift 5
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups "$@"
"""
_CONF = """\
[engine]
runtime_supports_nocgroup = ["pyshim"]
runtime_supports_json = ["pyshim"]
[engine.runtimes]
pyshim = ["{program}"]
"""
_WRAPPER = """\
#!/bin/sh
export PYSHIM_CONFIG={config} XDG_RUNTIME_DIR={run}
exec {program} "$@"
"""


def static_runc() -> Path:
    """A runc of at least 1.2, which has mapped mounts and needs no library."""
    program = REPOSITORY / "build/runc/runc"
    if not program.exists():
        missing("there is no static runc; tools/runc.sh build/runc builds it")
    return program


class Rootless:
    """An ordinary user, whose engines' runtime is `shim`; all their files are in `folder`."""

    def __init__(self, folder: Path, shim: Shim) -> None:
        self.folder = folder
        self.shim = shim
        self.run_dir = Path(tempfile.mkdtemp(prefix="pyshim-run-"))  # Podman wants a short one
        self.libraries = Path("/nowhere")
        self.etc = folder / "etc"
        self.etc.mkdir(parents=True)
        for path in (folder, self.run_dir):
            os.chown(path, USER, USER)
        folder.chmod(0o755)
        for parent in folder.parents[:-2]:
            parent.chmod(parent.stat().st_mode | 0o111)
        self.runtime = folder / "pyshim"
        self.runtime.write_text(
            _WRAPPER.format(config=shim.config, run=self.run_dir, program=shim.program)
        )
        self.runtime.chmod(0o755)
        self.conf = folder / "containers.conf"
        self.conf.write_text(_CONF.format(program=self.runtime))

    @staticmethod
    def is_there(*programs: str) -> None:
        """Skip (in CI: fail) where a program is missing."""
        for program in ("newuidmap", "setpriv", *programs):
            need(program)

    def podman(self, *argv: str) -> Result:
        """Call podman as the user."""
        own = ("--storage-driver=overlay", "--events-backend=none", "--cgroup-manager=cgroupfs")
        result = self.call("podman", *own, *argv)
        self._forget_namespaces()
        return result

    def call(self, *argv: str) -> Result:
        """Call a program as the user."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "CONTAINERS_CONF": str(self.conf),
            "USER_ID": str(USER),
        }
        done = subprocess.run(
            ["unshare", "-m", "sh", "-ec", _AS_USER, "sh", str(self.etc), str(USER), str(self.folder),
             str(self.libraries), str(self.shim.spec_dir), *argv],
            env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def import_image(self, tree: Path) -> None:
        """Make an image called `rootfs` of `tree`."""
        archive = self.folder / "tree.tar"
        subprocess.run(["tar", "-C", str(tree), "-cf", str(archive), "."], check=True)
        done = self.podman("import", "--quiet", str(archive), "rootfs")
        assert done.returncode == 0, done

    def run(self, script: str, *options: str) -> Result:
        """Run the shell `script` in a new container of that image."""
        return self.podman(
            "run", "--rm", "--network=none", "--runtime=pyshim", "--security-opt=seccomp=unconfined",
            "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", *options,
            "rootfs", "/bin/sh", "-c", script,
        )  # fmt: skip

    def forget(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.run_dir)

    def _forget_namespaces(self) -> None:
        """End the process that keeps them for the next command, which has other mounts."""
        for file in self.run_dir.rglob("pause.pid"):
            os.kill(int(file.read_text()), signal.SIGKILL)
            file.unlink()
