"""Shared libraries of a driver root: where they are, what they are called, which links they need.

The host's `ldconfig -p` knows the folders; the version in a file's name says what belongs to the
driver; a library's own SONAME says what programs will look for.
"""

from __future__ import annotations

import os

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from ocishim.admin.host import Host
from ocishim.errors import ConfigError

ARCHES = {
    "x86_64": ("x86-64", "/usr/lib/x86_64-linux-gnu"),
    "aarch64": ("AArch64", "/usr/lib/aarch64-linux-gnu"),
}
"""Machine (uname -m): its tag in `ldconfig -p`, its multiarch folder."""

_FOLDERS = ("/usr/lib64", "/usr/lib", "/lib64", "/lib")
_BELOW = ("", "vdpau", "gbm", "nvidia/current", "tls")
_PREFIXES = (
    *("libnvidia-", "libcuda.", "libcudadebugger.", "libnvcuvid.", "libnvoptix.", "libEGL_nvidia."),
    *("libGLX_nvidia.", "libGLESv1_CM_nvidia.", "libGLESv2_nvidia.", "libvdpau_nvidia."),
)


class Library:
    """One library file: `path` on the machine, its `soname` ("" when it has none)."""

    __slots__ = ("path", "soname")

    def __init__(self, path: str, soname: str) -> None:
        self.path = path
        self.soname = soname

    @property
    def name(self) -> str:
        """Return the file's name."""
        return os.path.basename(self.path)

    @property
    def folder(self) -> str:
        """Return the folder the file is in."""
        return os.path.dirname(self.path)

    def links(self) -> list[tuple[str, str]]:
        """Return (target, link path): the SONAME, and the name that linkers ask for."""
        stem = self.name.partition(".so")[0] + ".so"
        found = []
        if self.soname and self.soname != self.name:
            found.append((self.name, f"{self.folder}/{self.soname}"))
        if self.soname and stem not in (self.soname, self.name):
            found.append((self.soname, f"{self.folder}/{stem}"))
        return found


def folders(host: Host, machine: str, extra: tuple[str, ...] = ()) -> list[str]:
    """Return the machine's library folders: `extra`, those of ldconfig's cache, the usual ones.

    Raises ConfigError for a machine whose folders are not known.
    """
    if machine not in ARCHES:
        raise ConfigError(f"no library folders known for machine {machine!r}")
    tag, multiarch = ARCHES[machine]
    found = [*extra, *_cached(host, tag), multiarch, *_FOLDERS]
    below = [os.path.join(folder, name).rstrip("/") for folder in found for name in _BELOW]
    return list(dict.fromkeys(folder for folder in below if os.path.isdir(host.real(folder))))


def _cached(host: Host, tag: str) -> list[str]:
    """Return the folders of driver-like libraries in the machine's own ld.so.cache."""
    listing = ""
    for program in ("/sbin/ldconfig.real", "/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if host.is_program(program):
            try:
                listing = host.run(program, "-p").stdout
            except ConfigError:
                continue  # a driver root is not always a root one can run programs in
            break
    found = []
    for line in listing.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow and tag in name and name.startswith(_PREFIXES):
            found.append(os.path.dirname(path))
    return list(dict.fromkeys(found))


def find(host: Host, where: list[str], version: str) -> list[Library]:
    """Return the driver's libraries in the folders `where`, sorted; the first of a name wins.

    A file belongs to the driver when its name ends in `.so.VERSION`, or when it begins like one
    of the driver's and is a library with a version of its own.
    """
    found: dict[str, Library] = {}
    seen: set[str] = set()
    for folder in where:
        for name in sorted(_names(host, folder)):
            real = host.real(f"{folder}/{name}")
            ours = name.endswith(f".so.{version}") or name.startswith(_PREFIXES)
            if not ours or ".so." not in name or name in found or real in seen:
                continue
            if os.path.islink(host.entry(f"{folder}/{name}")) or not os.path.isfile(real):
                continue
            if _is_other_version(name, version):
                continue
            seen.add(real)
            found[name] = Library(f"{folder}/{name}", soname(real))
    return sorted(found.values(), key=lambda library: library.path)


def _is_other_version(name: str, version: str) -> bool:
    """Whether a file belongs to another driver: as many numbers as ours, and other ones."""
    suffix = name.partition(".so.")[2]
    parts = suffix.split(".")
    ours = version.split(".")
    return suffix != version and len(parts) >= 2 and len(parts[0]) == len(ours[0]) >= 3


def _names(host: Host, folder: str) -> list[str]:
    try:
        return os.listdir(host.real(folder))
    except OSError:
        return []


def soname(path: str) -> str:
    """Return the SONAME in the library at `path`, "" when there is none or it is no ELF file."""
    try:
        with open(path, "rb") as file:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, DynamicSection):
                    tags = list(section.iter_tags("DT_SONAME"))
                    return str(getattr(tags[0], "soname", "")) if tags else ""
    except (ELFError, OSError, UnicodeDecodeError):
        pass
    return ""


def driver_version(host: Host, where: list[str]) -> str:
    """Return the driver's version as libcuda's or libnvidia-ml's file name has it, "" if none."""
    for stem in ("libcuda.so.", "libnvidia-ml.so."):
        for folder in where:
            for name in sorted(_names(host, folder), reverse=True):
                version = name.removeprefix(stem)
                if name != version and version.count(".") >= 1:
                    return version
    return ""
