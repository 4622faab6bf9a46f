"""`make demo`: a CDI device reaches a container through pyshim, shown step by step.

Everything happens in a temporary folder and a private mount namespace, and is removed at the end,
also after Ctrl-C. DRIVER_LIBS=folder uses a driver's real libraries. Exit status 1: a step did
not show what it should. Leaves building to tools/lab.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tools.lab import cgroups, driver, leaks, namespace, rootfs
from tools.lab.bundle import Bundle, make_spec
from tools.lab.compiler import Compiler
from tools.lab.driver import MULTIARCH
from tools.lab.shim import REPOSITORY, Shim

if TYPE_CHECKING:
    from tools.lab.runtime import Result

TEMPLATE = REPOSITORY / "tests/data/k8s-device-plugin.json"
TEMPLATE_VERSION = "580.126.20"
DEVICE = "k8s.device-plugin.nvidia.com/gpu=GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1"
ANNOTATION = "cdi.k8s.io/nvidia-device-plugin_0"
LIB = f"/usr/lib/{MULTIARCH}"
PROGRAMS = {"runc": "runc", "busybox": "busybox-static", "gcc": "gcc", "ldconfig": "libc-bin"}

LOADER = "a program asks the dynamic loader for libcuda.so.1"

# What runs in the container: sections that the demo prints and checks.
LOOK = f"""
echo '== device nodes'
ls -l /dev | awk '/nvidia/ {{ print $1, $5 $6, "/dev/" $NF }}'
echo '== environment'
env | grep NVIDIA
echo '== mounts'
awk '$2 ~ "cuda|nvidia" && $2 !~ "^/dev" {{ split($4, o, ","); print o[1], $2 }}' /proc/self/mounts
echo '== symlinks'
for link in $(find {LIB} -type l | sort); do echo $link '->' $(readlink $link); done
echo '== {LOADER}'
LD_DEBUG=libs load libcuda.so.1 2>&1 |
    sed -n '/find library=libcuda/,$s/^ *[0-9]*:\\t *//p' |
    grep -E 'search cache|trying file' | head -n 2
load libcuda.so.1
"""
NODES = "/dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia0 /dev/nvidiactl"


class Screen:
    """Prints steps, facts and checks; colours only on a terminal."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.steps = 0
        self.failures = 0

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self.steps += 1
        print(f"\n{self._paint('1', f'{self.steps}. {title}')}", flush=True)

    def fact(self, name: str, value: object) -> None:
        """Print one line of facts."""
        print(f"   {name:<12} {value}", flush=True)

    def section(self, title: str, lines: list[str]) -> None:
        """Print lines from inside the container under a title."""
        print(f"   {self._paint('36', title)}")
        for line in lines or ["(nothing)"]:
            print(f"      {line}")

    def check(self, claim: str, *, holds: bool) -> None:
        """Print a claim with its verdict, and remember one that does not hold."""
        self.failures += not holds
        verdict = self._paint("32", "ok") if holds else self._paint("31", "NOT SO")
        print(f"   {verdict}  {claim}", flush=True)


class Demo:
    """The node and the containers of one demonstration, all in `folder`."""

    def __init__(self, folder: Path, screen: Screen, token: str) -> None:
        self.folder = folder
        self.screen = screen
        self.token = token
        self.compiler = Compiler(folder / "compiled")
        self.driver_root = folder / "driver"
        self.shim = Shim(folder / "pyshim", "runc")
        self.libraries: list[Path] = []

    def make_node(self, given: str) -> None:
        """Show and make the driver root and the spec; `given` is a folder of real libraries."""
        document = yaml.safe_load(driver.text_of(TEMPLATE, self.driver_root))
        if given:
            document = self._use_libraries(document, Path(given))
        text = yaml.safe_dump(document, sort_keys=False)
        spec = self.shim.add_spec("k8s.device-plugin.nvidia.com-gpu.yaml", text)
        driver.build(text, self.compiler)
        nodes = sorted(path.name for path in (self.driver_root / "dev").iterdir())
        files = sorted((self.driver_root / LIB[1:]).iterdir())
        self.screen.fact("driver root", self.driver_root)
        self.screen.fact("nodes", " ".join(nodes))
        self.screen.fact("", "stand-ins with the numbers of /dev/null")
        self.screen.fact("libraries", " ".join(path.name for path in files))
        self.screen.fact("", f"copied from {given}" if given else "stand-ins with the real SONAMEs")
        self.screen.fact("CDI spec", spec)
        self.screen.fact("kind", f"{document['kind']}, {len(document['devices'])} devices")
        self.screen.fact("settings", self.shim.config)
        for line in self.shim.config.read_text().splitlines():
            print(f"      {line}")

    def _use_libraries(self, document: driver.Document, given: Path) -> driver.Document:
        """Return the spec for the driver whose libraries lie in `given`, copied into the root."""
        versions = [path.name.partition(".so.")[2] for path in given.glob("libcuda.so.*.*")]
        if not versions:
            raise SystemExit(f"demo: no libcuda.so.VERSION in DRIVER_LIBS={given}")
        version = max(versions, key=len)
        text = yaml.safe_dump(document, sort_keys=False).replace(TEMPLATE_VERSION, version)
        document = yaml.safe_load(text)
        target = self.driver_root / LIB[1:]
        target.mkdir(parents=True)
        edits = document["containerEdits"]
        mounted = {Path(mount["containerPath"]).name for mount in edits["mounts"]}
        for library in sorted(given.glob(f"lib*.so.{version}")):
            self.libraries.append(Path(shutil.copy(library, target)))
            if library.name not in mounted:
                mount = {"hostPath": f"{target}/{library.name}"}
                mount |= {"containerPath": f"{LIB}/{library.name}"}
                edits["mounts"].append(mount | {"options": ["ro", "nosuid", "nodev", "bind"]})
        return document

    def make_bundle(self, name: str, *, readonly: bool) -> Bundle:
        """Show and make a busybox bundle that asks for the device."""
        bundle = Bundle(self.folder / name)
        rootfs.make_busybox(bundle.rootfs)
        rootfs.add_program(bundle.rootfs, self.compiler.loader(), "/bin/load")
        for library in self.libraries:
            rootfs.add_dependencies(bundle.rootfs, library)
        (bundle.rootfs / "etc/ld.so.cache").unlink(missing_ok=True)
        spec = make_spec(
            ["/bin/sh", "-c", LOOK],
            readonly=readonly,
            annotations={ANNOTATION: DEVICE},
        )
        spec["linux"]["cgroupsPath"] = f"/{self.token}{name}"
        bundle.write(spec)
        self.screen.fact("bundle", bundle.path)
        self.screen.fact("rootfs", "busybox and glibc; no driver, no ld.so.cache")
        self.screen.fact("annotation", f"{ANNOTATION}: {DEVICE}")
        return bundle

    def run(self, bundle: Bundle) -> dict[str, list[str]]:
        """Run the bundle and print what the container saw; return it by section."""
        container = f"{self.token}{bundle.path.name}"
        command = self.shim.argv("run", "--bundle", str(bundle.path), container)
        self.screen.fact("command", " ".join(["pyshim", *command[1:]]))
        try:
            result = self.shim.run(bundle, container)
        finally:
            self.shim.delete(container)
        seen = _sections(result)
        for title, lines in seen.items():
            self.screen.section(title, lines)
        self.screen.check("the container ran", holds=bool(seen))
        if result.stderr:
            self.screen.section("stderr", result.stderr.splitlines())
        nodes = [line.split()[-1] for line in seen.get("device nodes", [])]
        self.screen.check("it has its GPU's device nodes", holds=nodes == NODES.split())
        mounts = "".join(seen.get("mounts", []))
        self.screen.check("it has the driver's files", holds="/libcuda.so." in mounts)
        return seen

    def writable(self) -> None:
        """Show the main case."""
        bundle = self.make_bundle("writable", readonly=False)
        seen = self.run(bundle)
        cache = bundle.rootfs / "etc/ld.so.cache"
        self.screen.section("/etc/ld.so.cache, made by the hook", _cache(cache))
        self.screen.check(
            "a program loads libcuda.so.1 by name, through ld.so.cache",
            holds=seen.get(LOADER)
            == [
                "search cache=/etc/ld.so.cache",
                f"trying file={LIB}/libcuda.so.1",
                f"libcuda.so.1 => {LIB}/libcuda.so.1",
            ],
        )

    def readonly(self) -> None:
        """Show the same with a read-only rootfs: hooks are skipped, and a warning says so."""
        bundle = self.make_bundle("readonly", readonly=True)
        seen = self.run(bundle)
        self.screen.section("pyshim's log", self.shim.warnings.splitlines())
        self.screen.check("the hooks were skipped", holds=not seen.get("symlinks"))
        untouched = not (bundle.rootfs / "etc/ld.so.cache").exists()
        self.screen.check("the image was not written to", holds=untouched)
        warned = "hooks.readonly_rootfs" in self.shim.warnings
        self.screen.check("one warning says why, and which setting would serve", holds=warned)


def _sections(result: Result) -> dict[str, list[str]]:
    parts = re.split(r"^== (.*)\n", result.stdout, flags=re.MULTILINE)[1:]
    return {title: text.splitlines() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def _cache(path: Path) -> list[str]:
    if not path.exists():
        return []
    listing = subprocess.run(
        ["ldconfig", "-p", "-C", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.strip() for line in listing.stdout.splitlines() if " => " in line]


def missing() -> str:
    """Return what keeps the demo from running, and how to get it; "" when nothing does."""
    if os.geteuid() != 0:
        return "needs root, to make device nodes, mounts and containers: sudo make demo"
    # Debian keeps ldconfig and runc in sbin, which not every root has in PATH.
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if lacking:
        return f"needs packages: sudo apt-get install --no-install-recommends {' '.join(lacking)}"
    if not (Path(sys.prefix) / "bin/pyshim").exists():
        return "needs .venv/bin/pyshim: make venv"
    return ""


def main() -> int:
    """Show everything; return the exit status."""
    reason = missing()
    if reason:
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    namespace.enter()
    namespace.adopt_orphans()
    screen = Screen()
    token = f"pyshim-demo-{os.getpid()}-"  # another demo may be running
    before = leaks.snapshot(token, tempfile.gettempdir() + f"/{token}")
    print("pyshim demo: a CDI device reaches a container, without CDI in the engine")
    with tempfile.TemporaryDirectory(prefix=token) as folder:
        demo = Demo(Path(folder), screen, token)
        try:
            screen.step("A node with a driver and the device plugin's CDI spec")
            demo.make_node(os.environ.get("DRIVER_LIBS", ""))
            screen.step("A container that asks for a GPU")
            demo.writable()
            screen.step("The same with a read-only rootfs (root.readonly: true)")
            demo.readonly()
        finally:
            # Interrupted, a runtime may have left a half-made container that still writes here.
            leaks.end_processes()
            cgroups.remove(demo.token)
    screen.step("Left behind")
    left = leaks.snapshot(token, tempfile.gettempdir() + f"/{token}") - before
    screen.section("mounts, processes, control groups, loop devices, files", sorted(left))
    screen.check("nothing is left behind", holds=not left and not os.path.exists(folder))
    return 1 if screen.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything it made is removed", file=sys.stderr)
        sys.exit(130)
