"""Every containerd that is at hand, on a node whose files are those of a distribution or nobody's.

1.6 and 1.7 are the packages of Debian 12 and 13, whichever of them the machine runs; 2.x is the
build of tools/containerd2.sh. Leaves what is asked of them to test_configure_cri.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import missing
from tests.integration.containerd2 import PROGRAMS as CONTAINERD2
from tests.integration.cri import CRICTL
from tools.lab.shim import PROGRAMS, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = {"1.6": "bookworm", "1.7": "trixie"}
VERSIONS = (*PACKAGES, "2.x")
_SECONDS = 60
# Folders of the node's own in place of the machine's, and an empty /run.
_PRIVATE = """
mount -t tmpfs tmpfs /run
mount --bind "$1/etc" /etc/containerd
mkdir -p "$1/lib/containerd"
mount --bind "$1/lib" /var/lib
shift
exec "$@"
"""


def folder_of(version: str) -> Path:
    """Return the folder with the programs of that containerd; skips (in CI: fails) without."""
    if version not in PACKAGES:
        if not (CONTAINERD2 / "version").exists():
            missing("containerd 2.x is not built; make containerd2 does it")
        return CONTAINERD2
    suite = PACKAGES[version]
    script = [REPOSITORY / "tools/backports.sh", REPOSITORY / f"build/containerd-{suite}"]
    done = subprocess.run(
        [*script, "usr/bin/containerd", "containerd"],
        env={**os.environ, "SUITE": suite},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        missing(f"containerd of Debian {suite} cannot be had")
    return Path(done.stdout.strip()).parent


class Node:
    """A node with one containerd and nothing of the machine's configuration."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.etc = folder / "etc"
        self.config = self.etc / "config.toml"
        self.socket = folder / "sock"
        for path in (self.etc, folder / "lib"):
            path.mkdir()
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the node to its end."""
        return subprocess.run(
            self.private(*argv),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )

    def configure(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Call pyshimctl as an administrator of the node does."""
        program = ("--runtime-path", str(PROGRAMS / "pyshim"))
        return self.run(*self.pyshimctl("configure", "containerd"), *program, *options)

    @staticmethod
    def pyshimctl(*args: str) -> list[str]:
        """The command line of pyshimctl."""
        return [sys.executable, "-m", "ocishim.admin", *args]

    def files(self) -> dict[str, str]:
        """The files in /etc/containerd by their names."""
        found = (path for path in sorted(self.etc.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.etc)): path.read_text() for path in found}

    def daemon(self) -> list[str]:
        """The command line of containerd."""
        return ["containerd", "--address", str(self.socket)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run containerd, with the files as they are, until it answers and the block ends."""
        log = self.folder / "log"
        argv = self.private(*self.daemon())
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            deadline = time.monotonic() + _SECONDS
            while b"containerd successfully booted" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(_SECONDS)

    def cri(self) -> dict[str, Any]:
        """Return what the CRI says of its runtimes; AssertionError where there is no CRI."""
        with self.running():
            socket = f"unix://{self.socket}"
            done = subprocess.run(
                [CRICTL, "--runtime-endpoint", socket, "--image-endpoint", socket, "info"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)["config"]["containerd"]
        return told

    def private(self, *argv: str) -> list[str]:
        """The command line that runs `argv` among the node's folders."""
        own = ["sh", "-ec", _PRIVATE, "sh", str(self.folder)]
        return ["unshare", "-m", "--propagation", "private", *own, *argv]
