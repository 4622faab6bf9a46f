"""Calls a program with the OCI command line: a low-level runtime, or pyshim in front of one.

Leaves bundles to bundle.py. Containers' ids carry the lab's token, so that what they leave
behind can be told from other people's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.lab import leaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.lab.bundle import Bundle

# crun refuses hybrid cgroups, so it gets a mount namespace of its own with cgroup2 alone.
CRUN = """#!/bin/sh
exec unshare -m --propagation private sh -c '
    umount -R /sys/fs/cgroup 2>/dev/null
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
    {mounts}
    exec {crun} --cgroup-manager=disabled "$@"' crun "$@"
"""


def crun_without_cgroups(folder: Path) -> Path:
    """Write a program called `crun` into `folder` that runs crun on any machine."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "crun"
    wrapper.write_text(CRUN.format(crun=shutil.which("crun"), mounts=""))
    wrapper.chmod(0o755)
    return wrapper


class Result:
    """What a call left: exit status, and both outputs as text."""

    __slots__ = ("returncode", "stderr", "stdout")

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"exit {self.returncode}\nstdout: {self.stdout}\nstderr: {self.stderr}"


class Runtime:
    """A runtime program with a --root of its own."""

    def __init__(
        self,
        program: Path | str,
        root: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.program = str(program)
        self.root = root
        self.environment = {**os.environ, **(environment or {})}

    def argv(self, *args: str) -> list[str]:
        """Return the whole command for `args`."""
        return [self.program, "--root", str(self.root), *args]

    def call(
        self,
        *args: str,
        stdin: str = "",
        pass_fds: tuple[int, ...] = (),
        timeout: float = 300,
        wait: Callable[[subprocess.Popen[bytes], float], int] = subprocess.Popen.wait,
    ) -> Result:
        """Run the program and wait for it.

        Both outputs go to files: a pipe would stay open as long as the container lives.
        """
        with (
            tempfile.TemporaryFile("w+", errors="replace") as out,
            tempfile.TemporaryFile("w+", errors="replace") as err,
            tempfile.TemporaryFile("w+") as text,
        ):
            text.write(stdin)
            text.seek(0)
            with subprocess.Popen(
                self.argv(*args), stdin=text, stdout=out, stderr=err, env=self.environment,
                pass_fds=pass_fds,
            ) as process:  # fmt: skip
                try:
                    status = wait(process, timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            out.seek(0)
            err.seek(0)
            return Result(status, out.read(), err.read())

    def run(self, bundle: Bundle, container: str, *options: str, stdin: str = "") -> Result:
        """`run` the bundle in the foreground."""
        return self.call("run", *options, "--bundle", str(bundle.path), container, stdin=stdin)

    def create(self, bundle: Bundle, container: str, *options: str) -> Result:
        """`create` the container; its process waits for `start`."""
        return self.call("create", *options, "--bundle", str(bundle.path), container)

    def start_and_wait(self, container: str, seconds: float = 20) -> Result:
        """`start` the container and wait until its process has ended."""
        started = self.call("start", container)
        deadline = time.monotonic() + seconds
        while '"stopped"' not in self.call("state", container).stdout.replace(" ", ""):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{container} still runs after {seconds} s")
            time.sleep(0.02)
        return started

    def delete(self, container: str) -> Result:
        """`delete --force` the container; what it leaves to this process is reaped meanwhile."""
        return self.call("delete", "--force", container, wait=leaks.wait)
