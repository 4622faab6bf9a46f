#!/usr/bin/env python3
"""Runs opencontainers/runtime-tools' validation on two runtimes and compares what they get.

runtime_tools.py FOLDER BARE SHIM: FOLDER is what tools/runtime_tools.sh built. Exit status 1 when
a test's result differs. Everything happens in a private mount namespace and below one tmpfs.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys

CLONE_NEWNS, MS_REC, MS_SLAVE = 0x00020000, 0x4000, 1 << 19
TMPFS = "/run/runtime-tools"
SECONDS = 120
TRIES = 4


def shield() -> None:
    """Keep the mounts that some tests leave behind to this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    for failed in (
        libc.unshare(CLONE_NEWNS),
        libc.mount(b"none", b"/", b"", MS_REC | MS_SLAVE, None),
        libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"),
    ):
        if failed:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.mkdir(TMPFS)


class Result:
    """What became of one test: its TAP lines without their numbers, and its exit status."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        # Go's maps have no order, so the numbers and the order of the lines are chance; ids too.
        lines = re.findall(r"^(ok|not ok) \d+ ?(.*)$", text, re.MULTILINE)
        self.lines = collections.Counter(
            (verdict, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|/tmp\S*|/run/\S*", "...", rest))
            for verdict, rest in lines
        )

    @property
    def summary(self) -> str:
        """PASS, FAIL, ERROR (it ended badly) or EMPTY (it said nothing)."""
        if any(verdict == "not ok" for verdict, _ in self.lines):
            return "FAIL"
        return "ERROR" if self.status else "PASS" if self.lines else "EMPTY"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and (self.status, self.lines) == (
            other.status,
            other.lines,
        )

    __hash__ = None  # type: ignore[assignment]


def run(folder: str, name: str, runtime: str) -> Result:
    """Run one test program in a folder of its own."""
    work = f"{TMPFS}/work"
    os.mkdir(work)
    for path in (f"{folder}/runtimetest", *glob.glob(f"{folder}/rootfs-*.tar.gz")):
        shutil.copy(path, work)
    env = {**os.environ, "RUNTIME": runtime, "TMPDIR": work}
    try:
        done = subprocess.run(
            [f"{folder}/tests/{name}"],
            cwd=work,
            env=env,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        result = Result(done.returncode, done.stdout)
    except subprocess.TimeoutExpired:
        result = Result(124, "")
    for mounted in sorted(mounts(work), reverse=True):
        subprocess.run(["umount", "--lazy", mounted], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(work, ignore_errors=True)
    for left in glob.glob("/sys/fs/cgroup/*/testdir") + glob.glob("/sys/fs/cgroup/testdir"):
        for at, _, _ in os.walk(left, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(at)
    return result


def compare(folder: str, name: str, runtimes: list[str]) -> list[Result]:
    """Return a result of each runtime: the same one, if both ever have it.

    killsig and others wait a fixed time: on a busy machine bare runc has one result now, another
    then.
    """
    seen: list[list[Result]] = [[] for _ in runtimes]
    for _ in range(TRIES):
        for results, runtime in zip(seen, runtimes, strict=True):
            results.append(run(folder, name, runtime))
        for result in seen[0]:
            if result in seen[1]:
                return [result, result]
    return [results[-1] for results in seen]


def mounts(folder: str) -> list[str]:
    """Return the mount points below `folder`."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line.split()[4] for line in file if line.split()[4].startswith(f"{folder}/")]


def main(argv: list[str]) -> int:
    folder, *runtimes = map(os.path.abspath, argv)
    names = sorted(os.listdir(f"{folder}/tests"))
    shield()
    totals: list[collections.Counter[str]] = [collections.Counter() for _ in runtimes]
    different = 0
    for name in names:
        results = compare(folder, name, runtimes)
        for total, result in zip(totals, results, strict=True):
            total[result.summary] += 1
            total.update(verdict for verdict, _ in result.lines.elements())
        if results[0] != results[1]:
            different += 1
            print(f"{name}: {results[0].summary} and {results[1].summary}")
            print(*((results[0].lines - results[1].lines).elements()), "alone:", runtimes[0])
            print(*((results[1].lines - results[0].lines).elements()), "alone:", runtimes[1])
    for runtime, total in zip(runtimes, totals, strict=True):
        print(runtime, *(f"{count} {what}" for what, count in sorted(total.items())), sep=", ")
    print(f"{len(names)} tests, {different} of them with another result")
    return int(bool(different))


if __name__ == "__main__":
    if len(sys.argv) != 4 or os.geteuid() != 0:
        sys.exit("usage: runtime_tools.py FOLDER BARE SHIM, as root")
    sys.exit(main(sys.argv[1:]))
