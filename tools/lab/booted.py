"""A Debian with systemd as its process 1, in namespaces of its own: what packages do to services.

The machine it runs on is out of its reach: /proc/sys and /sys are read-only there, devices are the
harmless ones, the network is its own and down. What it writes goes to a tmpfs over the folder of
tools/debootstrap.sh.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.lab import cgroups
from tools.lab.spaces import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]

# $1: the bare root, $2: where it is to be, $3: what becomes /srv/tools.
_BOOT = """
mount -t tmpfs -o mode=755 booted "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" booted "$2/root"
cd "$2/root"
mount -t proc proc proc
for path in sys sysrq-trigger irq bus; do
    [ ! -e proc/$path ] || mount --bind proc/$path proc/$path
    [ ! -e proc/$path ] || mount -o remount,bind,ro proc/$path
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<EOF
$node
EOF
    mknod -m 666 "dev/$name" c "$major" "$minor" # own ones: what happens to them stays here
done
mkdir dev/pts dev/shm srv/tools .host
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$3" srv/tools
mount -o remount,bind,ro srv/tools
pivot_root . .host
umount -l .host
rmdir .host
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""


class Booted(Machine):
    """A running machine; boot() makes it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program there as root."""
        return subprocess.run(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )  # fmt: skip

    def wait(self) -> None:
        """Wait until systemd has started what it starts."""
        deadline = time.monotonic() + 60
        # `degraded`: a unit failed, which is no surprise where so much is forbidden.
        while self.run("systemctl", "is-system-running").stdout not in ("running\n", "degraded\n"):
            assert time.monotonic() < deadline, "systemd does not come up"
            time.sleep(0.2)


@contextlib.contextmanager
def boot(bare: Path, mount_point: Path, tools: Path, token: str) -> Iterator[Booted]:
    """Boot a copy of the bare root `bare`; `tools` is its /srv/tools, `token` names its cgroup."""
    group = _unified() / token
    group.mkdir()
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork",
         "--kill-child", "--propagation", "private",
         "sh", "-euc", _BOOT, "boot", str(bare), str(mount_point), str(tools)],
        preexec_fn=lambda: (group / "cgroup.procs").write_text("0"),  # noqa: PLW1509
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    machine = Booted(process)
    try:
        machine.wait()
        yield machine
    finally:
        machine.end()
        cgroups.remove(token)


def make_bare(folder: Path, *ready: str) -> bool:
    """Make the bare root for boot() in `folder`, with containerd; False where that cannot be.

    `ready` names packages that can be installed there without a network.
    """
    script = REPOSITORY / "tools/debootstrap.sh"
    packages = "systemd,systemd-sysv,containerd"
    done = subprocess.run(
        [script, "bookworm", str(folder), packages, *ready], check=False, timeout=900
    )
    return done.returncode == 0


def _unified() -> Path:
    """Return where cgroup v2 is mounted: everywhere with systemd, alone or beside v1."""
    return next(
        path
        for path in (cgroups.ROOT / "unified", cgroups.ROOT)
        if (path / "cgroup.procs").exists()
    )
