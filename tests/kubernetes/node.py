"""A machine for a cluster's node: a bare Debian in namespaces of its own, with services of its own.

Its process 1 only reaps; services are started and stopped by a stand-in for systemctl, whoever calls
it: the tests, or a pod of the installer. Leaves what the services are to cluster.py.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.lab import cgroups
from tools.lab.compiler import Compiler
from tools.lab.spaces import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
PATH = "/srv/lab/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Process 1 of the node and of its pods: reaps, and ends when it is asked to.
_PAUSE = """
#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void)
{
    signal(SIGCHLD, SIG_IGN);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;)
        pause();
}
"""

# What is mounted below these two, and all of /run.
_LOST = """
while read -r _ _ _ _ path _; do
    case $path in /run/* | /var/lib/*) echo "$path" ;; esac
done </proc/self/mountinfo | sort -r | while read -r path; do umount -l "$path"; done
rm -rf /run/*
mkdir /run/lab
"""


class Node(Machine):
    """A running node; started() makes it. `tools` is its /srv/lab."""

    environment = (f"PATH={PATH}", "KUBECONFIG=/srv/lab/admin.conf")

    def __init__(self, tools: Path, token: str) -> None:
        self.tools = tools
        self.token = token

    def run(
        self, *argv: str, text: str = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there, with `text` as its input."""
        return subprocess.run(
            self.command(*argv),
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def said(self, *argv: str, text: str = "", timeout: float = 300) -> str:
        """Run a program that has to succeed; what it printed."""
        done = self.run(*argv, text=text, timeout=timeout)
        assert done.returncode == 0, (argv, done.stdout[-4000:], done.stderr[-4000:])
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the node."""
        self.said("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path, text=text)

    def read(self, path: str) -> str:
        """Return a file of the node."""
        return self.said("cat", path)

    def add_service(
        self, name: str, *argv: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Let systemctl know a service, which is `argv`."""
        words = " ".join(f"{key}={value}" for key, value in (environment or {}).items())
        unit = self.tools / "units" / name
        unit.write_text(f"#!/bin/sh\nexec env -i PATH={PATH} {words} {' '.join(argv)}\n")
        unit.chmod(0o755)

    def systemctl(self, action: str, *services: str) -> None:
        """Start, stop, restart or kill services."""
        for service in services:
            self.said("systemctl", action, service)

    def power_off(self) -> None:
        """Kill everything at once, and take away what a machine does not keep."""
        self.run("sh", "-c", "kill -9 -1")
        self.said("sh", "-c", _LOST)

    def log(self, service: str) -> str:
        """Return what a service has written."""
        return self.read(f"/var/log/{service}.log")

    def boot(self, bare: Path, mount_point: Path) -> None:
        """Make its process 1, and wait until it is there."""
        boot = [str(HERE / "boot.sh"), str(bare), str(mount_point), str(self.tools)]
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--net")
        self.process = subprocess.Popen(
            ["unshare", *spaces, "--fork", "--kill-child", "--propagation", "private", *boot],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while Path(f"/proc/{self.init()}/comm").read_text() != "pause\n":
            assert time.monotonic() < deadline, "the node does not come up"
            time.sleep(0.05)


@contextlib.contextmanager
def started(bare: Path, folder: Path, programs: Sequence[Path], token: str) -> Iterator[Node]:
    """Start a node in `folder`, whose PATH begins with links to `programs`."""
    tools = folder / "lab"
    for name in ("units", "programs"):
        (tools / name).mkdir(parents=True)
    pause = Compiler(folder / "compiled").program(_PAUSE, "-static")
    shutil.copy(pause, tools / "pause")
    shutil.copy(HERE / "systemctl", tools / "systemctl")
    for program in programs:
        shutil.copy(program, tools / "programs" / program.name)
    (tools / "groups").write_text("".join(f"{group}\n" for group in cgroups.make(token)))
    (folder / "root").mkdir()
    node = Node(tools, token)
    try:
        node.boot(bare, folder / "root")
        yield node
    finally:
        node.end()
        cgroups.remove(token)
