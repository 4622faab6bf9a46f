"""`make soak MINUTES=n`: a node's life, shortened.

One container after another is created by pyshim, started and deleted, while claims come and go,
the driver is upgraded, disks are full and creates are killed. In the end nothing may be left on
the node, the cache must be bounded, and creates must take what they took in the beginning, as far
as the low-level runtime alone does: all of it is printed. Leaves measuring pyshim beside others to
bench/. Needs root; everything is in a folder and namespaces of its own.
Exit status: 1 when something leaked, grew or failed that should not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.lab import leaks, namespace, rootfs
from tools.lab.bundle import Bundle, make_spec
from tools.lab.runtime import Runtime
from tools.lab.shim import Shim

TOKEN = f"pyshim-soak-{os.getpid()}"
KIND = "acme.com/gpu"
CLAIMS = "acme.com/claim"
MAX_CLAIMS = 40  # at one time, of thousands in all
MAX_CACHE = 4 << 20  # bytes, with that many
MAX_SLOWER = 1.25  # the last fifth of the creates beside the first
_LEVELS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 60


class Life:
    """The node: pyshim, a driver, claims, and what was seen."""

    def __init__(self, folder: Path, lowlevel: str) -> None:
        self.random = random.Random(1)
        self.folder = folder
        self.disk = folder / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", TOKEN, self.disk], check=True)
        self.shim = Shim(self.disk / "pyshim", lowlevel)
        self.bundle = Bundle(self.disk / "bundle")
        shutil.copytree(rootfs.make_busybox(folder / "busybox"), self.bundle.rootfs, symlinks=True)
        self.count = 0
        self.drivers = 0
        self.claims: list[str] = []
        self.seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.faults: list[str] = []
        self.done: dict[str, int] = {}
        self.upgrade()

    def upgrade(self) -> None:
        """Install another version of the driver: its library and its spec."""
        self.drivers += 1
        self._note("driver upgrades")
        library = self.folder / f"libacme.so.{self.drivers}"
        library.write_bytes(b"\x7fELF" + bytes(1000))
        path = f"/usr/lib/libacme.so.{self.drivers}"
        mount = {"hostPath": str(library), "containerPath": path, "options": ["ro", "bind"]}
        words = ["nvidia-ctk", "hook", "create-symlinks", "--link", f"{path}::/usr/lib/libacme.so"]
        cache = ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/usr/lib"]
        hooks = [_hook(words), _hook(cache)]
        edits = {"mounts": [mount], "hooks": hooks, "env": [f"DRIVER={self.drivers}"]}
        self._spec("driver.json", KIND, "0", edits)

    def claim(self) -> None:
        """Let one claim come, and one go when there are many."""
        name = f"claim-{self.count}"
        self._spec(f"{name}.json", CLAIMS, name, {"env": [f"CLAIM={name}"]})
        self.claims.append(name)
        if len(self.claims) > MAX_CLAIMS:
            (self.shim.spec_dir / f"{self.claims.pop(0)}.json").unlink()
            self._note("claims gone")

    def container(self) -> None:
        """Create a container with both devices, start it, and delete it."""
        container = self._prepare()
        begin = time.monotonic()
        made = self.shim.create(self.bundle, container)
        self.seconds.append(time.monotonic() - begin)
        if made.returncode:
            self._fault(f"create failed: {made.stderr.strip()}")
        else:
            started = self.shim.start_and_wait(container)
            if started.returncode:
                self._fault(f"start failed: {started.stderr.strip()}")
        self._end(container)
        self._note("containers")

    def bare(self) -> None:
        """Create a container by the low-level runtime alone, to know what the machine is worth."""
        container = self._prepare()
        runtime = Runtime(self.shim.lowlevel, self.shim.root)
        begin = time.monotonic()
        runtime.create(self.bundle, container)
        self.bare_seconds.append(time.monotonic() - begin)
        self._end(container)
        self._note("without pyshim")

    def killed(self) -> None:
        """Kill a create at any moment; the bundle holds the old file or the new one."""
        container = self._prepare()
        command = self.shim.argv("create", "--bundle", str(self.bundle.path), container)
        process = subprocess.Popen(
            command, env=self.shim.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(self.random.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            json.loads(self.bundle.config.read_text())
        except ValueError as err:
            self._fault(f"config.json after a kill: {err}")
        self._end(container)
        self._note("creates killed")

    def full(self) -> None:
        """Fill the disk of bundle and cache: create works or says why, and leaves the bundle."""
        container = self._prepare()
        before = self.bundle.config.read_text()
        with self._filled():
            made = self.shim.create(self.bundle, container)
        if made.returncode and self.bundle.config.read_text() != before:
            self._fault("config.json was changed by a create that failed")
        if made.returncode and "no space left on device" not in made.stderr:
            self._fault(f"full disk: {made.stderr.strip()}")
        self._end(container)
        self._note("full disks")

    @contextmanager
    def _filled(self) -> Iterator[None]:
        filler = self.disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 20, 1):
                    while True:
                        try:
                            file.write(bytes(size * 4096 if size == 1 else size))
                        except OSError:
                            break
            yield
        finally:
            filler.unlink()

    def cache(self) -> tuple[int, int]:
        """Return how many files and bytes pyshim's cache has."""
        files = [path for path in (self.shim.config.parent / "cache").rglob("*") if path.is_file()]
        return len(files), sum(path.stat().st_size for path in files)

    def close(self) -> None:
        """Leave nothing: the disk, and what the runtime keeps."""
        subprocess.run(["umount", self.disk], check=True)

    def _prepare(self) -> str:
        self.count += 1
        self.claim()
        container = f"{TOKEN}-{self.count}"
        devices = f"{KIND}=0,{CLAIMS}={self.claims[-1]}"
        spec = make_spec(["/bin/true"], annotations={"cdi.k8s.io/soak": devices})
        spec["linux"]["cgroupsPath"] = f"/{container}"
        self.bundle.write(spec)
        return container

    def _end(self, container: str) -> None:
        self.shim.delete(container)
        state = self.shim.call("state", container)
        if state.returncode == 0:
            self._fault(f"{container} is still there after delete")

    def _spec(self, name: str, kind: str, device: str, edits: dict[str, Any]) -> None:
        devices = [{"name": device, "containerEdits": edits}]
        text = json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices})
        new = self.shim.spec_dir / f".{name}.new"
        new.write_text(text)
        new.rename(self.shim.spec_dir / name)

    def _fault(self, text: str) -> None:
        self.faults.append(f"container {self.count}: {text}")

    def _note(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


def _hook(words: list[str]) -> dict[str, Any]:
    return {"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk", "args": words}


def live(life: Life, minutes: float, say: Callable[[str], None]) -> None:
    """Go on until `minutes` have passed."""
    end = time.monotonic() + minutes * 60
    told = time.monotonic()
    while time.monotonic() < end:
        life.container()
        turn = life.done["containers"]
        for every, what in ((5, life.bare), (7, life.killed), (25, life.upgrade), (50, life.full)):
            if turn % every == 0:
                what()
        if time.monotonic() - told > 60:
            told = time.monotonic()
            say(f"{life.done['containers']} containers, cache {life.cache()[1]} bytes")


def _ends(seconds: list[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last fifth."""
    part = max(1, len(seconds) // 5)
    return statistics.median(seconds[:part]), statistics.median(seconds[-part:])


def plot(seconds: list[float]) -> str:
    """Return the medians of equal parts as bars, from zero."""
    size = max(1, -(-len(seconds) // _COLUMNS))
    medians = [statistics.median(seconds[at : at + size]) for at in range(0, len(seconds), size)]
    return "".join(_LEVELS[round(one / max(medians) * 8)] for one in medians)


def verdict(life: Life, left: set[str]) -> list[str]:
    """Print what was seen; return what is wrong."""
    first, last = _ends(life.seconds)
    bare_first, bare_last = _ends(life.bare_seconds)
    files, size = life.cache()
    print(", ".join(f"{number} {what}" for what, number in life.done.items()))
    for what, one, other in (("pyshim", first, last), ("without", bare_first, bare_last)):
        print(f"create: {what:8} first {one * 1000:6.1f} ms, last {other * 1000:6.1f} ms (medians)")
    print(f"        {plot(life.seconds)}")
    print(f"cache:  {files} files, {size} bytes, with {len(life.claims)} claims")
    print(f"left:   {', '.join(sorted(left)) or 'nothing'}")
    wrong = list(life.faults)
    slower = last / first / max(1, bare_last / bare_first)
    if slower > MAX_SLOWER:
        wrong.append(f"creates became {slower:.2f} times as slow")
    if size > MAX_CACHE:
        wrong.append(f"the cache has {size} bytes, and at most {MAX_CACHE} were expected")
    return wrong + [f"left behind: {one}" for one in sorted(left)]


def main() -> int:
    """Run as the docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    lowlevel = shutil.which("runc")
    if os.geteuid() or not lowlevel:
        print("soak: needs root and runc", file=sys.stderr)
        return 2
    namespace.enter()
    namespace.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix=TOKEN) as name:
        folder = Path(name)
        life = Life(folder, lowlevel)
        before = leaks.snapshot(TOKEN, name)
        try:
            live(life, minutes, lambda text: print(text, flush=True))
            wrong = verdict(life, _left(before, name))
        finally:
            life.close()
    for one in wrong:
        print(f"soak: {one}", file=sys.stderr)
    return 1 if wrong else 0


def _left(before: set[str], images: str) -> set[str]:
    """Return what is there now and was not; helpers may outlive their command by a moment."""
    deadline = time.monotonic() + 30
    while (left := leaks.snapshot(TOKEN, images) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


if __name__ == "__main__":
    sys.exit(main())
