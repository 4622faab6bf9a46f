"""The hook program as a runtime starts it: state on stdin, a process of its own, measured."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests import libs

PROMPT = 8.0
"""Seconds in which a hook answers on the busiest machine; what hangs meets its deadline of 10."""

HOUSE = Path(__file__).parent.parent
_LAUNCH = f"""\
import sys
sys.path[:0] = [{str(HOUSE)!r}]
from ocishim.hooks.program import main
sys.exit(main(sys.argv[1:]))
"""


class Done:
    """A call that has ended: exit status, stderr, seconds."""

    def __init__(self, status: int, stderr: str, seconds: float) -> None:
        self.status = status
        self.stderr = stderr
        self.seconds = seconds
        self.peak_kib = 0  # see `measured`

    def __repr__(self) -> str:
        return f"Done({self.status}, {self.stderr!r}, {self.seconds:.2f} s, {self.peak_kib} KiB)"


class Call:
    """A hook that runs; `pid` is its process. `under`: a command that starts it, as unshare(1)."""

    def __init__(self, root: Path | str, *args: str, under: Sequence[str] = ()) -> None:
        state = {"ociVersion": "1.2.0", "id": "test", "status": "creating", "pid": 1}
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps({**state, "bundle": "/", "root": str(root)}).encode())
            stdin.seek(0)
            reader, writer = os.pipe()
            self._reader = reader
            self._began = time.monotonic()
            command = [*under, sys.executable, "-I", "-S", "-c", _LAUNCH, *args]
            self.pid = os.posix_spawnp(
                command[0],
                command,
                {"PATH": os.defpath},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, writer, 2),
                ],
            )
        os.close(writer)

    def children(self) -> list[int]:
        """The hook's child processes."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def wait(self, limit: float = 30) -> Done:
        """Read to the end and return how it went; a hook that takes longer than `limit` is killed."""
        data, killed = b"", False
        while True:
            left = self._began + limit - time.monotonic()
            if not killed and not select.select([self._reader], [], [], max(left, 0))[0]:
                os.kill(self.pid, signal.SIGKILL)
                killed = True
            chunk = os.read(self._reader, 65536)
            if not chunk:
                break
            data += chunk
        os.close(self._reader)
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self._began
        assert not killed, f"not done after {limit} s: {data!r}"
        text = data.decode("utf-8", "replace")
        return Done(os.waitstatus_to_exitcode(status), text, seconds)


_MEASURES = """#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int pid = fork(), status;
  struct rusage usage;
  if (!pid) { execv(argv[2], argv + 2); _exit(126); }
  wait4(pid, &status, 0, &usage);
  FILE *file = fopen(argv[1], "w");
  fprintf(file, "%ld", usage.ru_maxrss);
  fclose(file);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}"""


def measured(root: Path | str, *args: str, limit: float = 30) -> Done:
    """Run one hook; `peak_kib` of the result is that of the largest process it started.

    A small program lies between, because a process started by pytest has pytest's own peak.
    """
    with tempfile.NamedTemporaryFile() as file:
        under = (str(libs.static_program(_MEASURES)), file.name)
        done = Call(root, *args, under=under).wait(limit)
        done.peak_kib = int(Path(file.name).read_text())
    return done


def call(root: Path | str, *args: str, limit: float = 30, under: Sequence[str] = ()) -> Done:
    """Run one hook on `root` and wait for it."""
    return Call(root, *args, under=under).wait(limit)
