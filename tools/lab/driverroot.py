"""A driver root for generate and doctor: a tree of stand-ins, each made in a line (root, gcc)."""

from __future__ import annotations

import functools
import os
import stat
import subprocess
import tempfile
from pathlib import Path

VERSION = "550.163.01"
OLD = "550.54.15"  # the newer one as text
LIBDIR = "/usr/lib/x86_64-linux-gnu"
BUS = "0000:01:00.0"
MODULE = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Apr 10 2025\nGCC version: 12.2.0\n"
)
CONTROL = (("nvidiactl", 255), ("nvidia-uvm", 1), ("nvidia-uvm-tools", 2))


@functools.cache
def elf(soname: str) -> bytes:
    """Return an empty library with that SONAME."""
    with tempfile.TemporaryDirectory() as folder:
        argv = ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "/dev/null", "-o", "lib"]
        subprocess.run(
            [*argv, *([f"-Wl,-soname,{soname}"] if soname else [])], check=True, cwd=folder
        )
        return (Path(folder) / "lib").read_bytes()


class DriverRoot:
    """A root below `root`; each method adds to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str) -> Path:
        """Return where `path` lies, its folder made."""
        real = self.root / path.lstrip("/")
        real.parent.mkdir(parents=True, exist_ok=True)
        return real

    def write(self, path: str, text: str = "x", mode: int = 0o644) -> None:
        """Write a text file."""
        self.at(path).write_text(text)
        self.at(path).chmod(mode)

    def program(self, path: str, text: str = "#!/bin/sh\nexit 9\n") -> None:
        """Write a program; by default one that fails."""
        self.write(path, text, 0o755)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self.at(path).symlink_to(target)

    def library(self, path: str, soname: str = "", *, machine: int = 62, bits: int = 64) -> None:
        """Write an ELF library, its SONAME by its name; machine: its e_machine."""
        stem, _, rest = path.rpartition("/")[2].partition(".so.")
        data = bytearray(elf(soname or (f"{stem}.so.1" if rest else "")))
        data[4], data[18] = bits // 32, machine
        self.at(path).write_bytes(data)

    def loaded_with(self, path: str, *needed: str) -> None:
        """Write an ELF library that is loaded with those, by SONAME."""
        with tempfile.TemporaryDirectory() as folder:
            for name in needed:
                (Path(folder) / name).write_bytes(elf(name))
            argv = ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "/dev/null", "-x", "none"]
            argv += ["-Wl,--no-as-needed", *(f"./{name}" for name in needed), "-o", "lib"]
            subprocess.run(argv, check=True, cwd=folder)
            self.at(path).write_bytes((Path(folder) / "lib").read_bytes())

    def node(self, path: str, *, mode: int = 0o666, gid: int = 0, minor: int = 3) -> None:
        """Make a character device of the mem driver."""
        real = self.at(path)
        os.mknod(real, stat.S_IFCHR | 0o600, os.makedev(1, minor))
        real.chmod(mode)
        os.chown(real, 0, gid)

    def core(self, folder: str = LIBDIR, version: str = VERSION) -> None:
        """Add libcuda and libnvidia-ml with the links that ldconfig makes."""
        self._linked(folder, version, "libcuda", "libnvidia-ml")

    def compilers(self, folder: str = LIBDIR, version: str = VERSION) -> None:
        """Add what libcuda opens when programs ask it to compile, in the same way."""
        self._linked(folder, version, "libnvidia-ptxjitcompiler", "libnvidia-nvvm")

    def _linked(self, folder: str, version: str, *stems: str) -> None:
        for stem in stems:
            self.library(f"{folder}/{stem}.so.{version}")
            self.link(f"{folder}/{stem}.so.1", f"{stem}.so.{version}")

    def gpu(self, minor: int = 0, bus: str = BUS, *, excluded: bool = False) -> None:
        """Add a GPU to /proc, and its node."""
        facts = f"GPU UUID: \t GPU-{minor:08x}-0000\nDevice Minor: \t {minor}\n"
        facts += f"GPU Excluded:\t {'Yes' if excluded else 'No'}\n"
        self.write(f"/proc/driver/nvidia/gpus/{bus}/information", facts)
        self.node(f"/dev/nvidia{minor}", minor=minor)

    def mig(self, minor: int, gi: int, ci: int, caps: tuple[int, int]) -> None:
        """Add an instance to /proc, without its nodes."""
        base = f"/proc/driver/nvidia/capabilities/gpu{minor}/mig/gi{gi}"
        for path, cap in ((f"{base}/access", caps[0]), (f"{base}/ci{ci}/access", caps[1])):
            self.write(path, f"DeviceFileMinor: {cap}\nDeviceFileMode: 292\n")

    def host(self) -> None:
        """Add the module, one GPU and the control nodes."""
        self.write("/proc/driver/nvidia/version", MODULE.format(VERSION))
        self.gpu()
        for name, minor in CONTROL:
            self.node(f"/dev/{name}", minor=minor)
        self.program("/usr/bin/nvidia-smi")
