"""Runs a check where it can harm nothing: own mounts, own processes, an end by force.

Each case is the first process of a process namespace: when it ends, however it ends, the kernel
kills all it started and takes its mounts away. Cgroups are the host's, so they are swept after.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import selectors
import signal
import time
import traceback
from typing import TYPE_CHECKING, Any

from kit.case import Case, Failure, Skip
from kit.lab import Lab, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND = 1, 2, 32, 4096
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FOLDER = "/run/conformance"

_libc = ctypes.CDLL(None, use_errno=True)


class Verdict:
    """What became of a case: `outcome` is pass, fail or skip; `seconds` it took."""

    def __init__(self, case: Case, outcome: str, message: str, seconds: float) -> None:
        self.case = case
        self.outcome = outcome
        self.message = message
        self.seconds = seconds
        self.expected = ""


def run_all(cases: Sequence[Case], setting: Setting, jobs: int) -> Iterator[Verdict]:
    """Run the cases, `jobs` at a time; yield their verdicts in the order of `cases`."""
    waiting = list(enumerate(cases))[::-1]
    done: dict[int, Verdict] = {}
    given = 0
    with selectors.DefaultSelector() as selector:
        try:
            while given < len(cases):
                while waiting and len(selector.get_map()) < jobs:
                    index, case = waiting.pop()
                    child = _Child(case, setting, index)
                    selector.register(child.pipe, selectors.EVENT_READ, (index, child))
                ready = {key.data[0] for key, _ in selector.select(0.1)}
                for key in list(selector.get_map().values()):
                    index, child = key.data
                    if (index in ready and child.read()) or child.is_late():
                        selector.unregister(key.fileobj)
                        done[index] = child.end()
                while given in done:
                    yield done.pop(given)
                    given += 1
        finally:
            for key in list(selector.get_map().values()):
                key.data[1].end()


class _Child:
    """A case under way."""

    def __init__(self, case: Case, setting: Setting, index: int) -> None:
        self.case = case
        self.cgroup = f"conformance-{os.getpid()}-{index}"
        self.started = time.monotonic()
        self.text = b""
        self.pipe, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _keep(case, setting, self.cgroup, write_end)
        os.close(write_end)

    def read(self) -> bool:
        """Take what there is to read; True when there is no more."""
        more = os.read(self.pipe, 65536)
        self.text += more
        return not more

    def is_late(self) -> bool:
        """True when its time is over."""
        return time.monotonic() - self.started > self.case.seconds

    def end(self) -> Verdict:
        """Kill what is left of it and say what became of it."""
        late = self.is_late()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        while os.read(self.pipe, 65536):  # it ends when the last process that can write has gone
            pass
        os.close(self.pipe)
        _sweep(self.cgroup)
        taken = time.monotonic() - self.started
        if not self.text:
            why = f"no end after {self.case.seconds:.0f} s" if late else "the case was killed"
            return Verdict(self.case, "fail", why, taken)
        result = json.loads(self.text)
        return Verdict(self.case, result["outcome"], result["message"], taken)


def _keep(case: Case, setting: Setting, cgroup: str, write_end: int) -> None:
    """In the child: make the namespaces and wait for their first process. Does not return."""
    status = 1
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        _call("unshare", CLONE_NEWNS | CLONE_NEWPID)
        first = os.fork()
        if first == 0:
            _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            _reap(case, setting, cgroup, write_end)
        else:
            os.close(write_end)
            os.waitpid(first, 0)
        status = 0
    finally:
        os._exit(status)


def _reap(case: Case, setting: Setting, cgroup: str, write_end: int) -> None:
    """Be the init of the namespace while a child runs the case: some runtimes wait for zombies."""
    worker = os.fork()
    if worker == 0:
        if setting.by_create:
            _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.write(write_end, json.dumps(_attempt(case, setting, cgroup)).encode())
        return
    os.close(write_end)
    while os.wait()[0] != worker:
        pass


def _attempt(case: Case, setting: Setting, cgroup: str) -> dict[str, Any]:
    try:
        _shield()
        lab = Lab(setting, FOLDER, cgroup)
        case.check(lab)
    except Failure as failure:
        return {"outcome": "fail", "message": str(failure)[:4000]}
    except Skip as reason:
        return {"outcome": "skip", "message": str(reason)}
    except Exception:  # noqa: BLE001 (whatever went wrong, the case did not pass)
        return {"outcome": "fail", "message": traceback.format_exc()[-4000:]}
    return {"outcome": "pass", "message": ""}


def _shield() -> None:
    """Give this process its own /proc, /run and /etc; the host keeps its own."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID)
    mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    # /etc/cdi need not be there, and cannot be made without being seen: hence a layer.
    for folder in ("/run/.upper", "/run/.work", "/run/cdi", "/run/pyshim", FOLDER):
        os.mkdir(folder, 0o755)
    mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=/run/.upper,workdir=/run/.work")
    for folder in ("/etc/cdi", "/etc/pyshim"):
        os.makedirs(folder, exist_ok=True)
        mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    if not os.path.realpath("/var/run/cdi").startswith("/run/"):
        os.makedirs("/var/run/cdi", exist_ok=True)
        mount("tmpfs", "/var/run/cdi", "tmpfs", 0, "mode=755")
    os.umask(0o022)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system, as the system call does; OSError names the target."""
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def _call(name: str, *args: int | bytes) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{args}: {os.strerror(number)}")


def _sweep(cgroup: str) -> None:
    """Remove the cgroups of a case whose processes are dead or dying."""
    deadline = time.monotonic() + 2
    patterns = [f"/sys/fs/cgroup/{cgroup}", f"/sys/fs/cgroup/*/{cgroup}"]
    while folders := [folder for pattern in patterns for folder in glob.glob(pattern)]:
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
