"""The libraries of NVIDIA's driver in a root: where they are, which they are, their links.

The folders are those of the root's loader, of its distribution and of --library-folder. Links are
followed inside the root, absolute ones too: what counts is the file they lead to. A file belongs
to the driver by its version or its name, and is of the machine's class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ocishim.admin.generate import elf, loader, versions
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

MULTIARCH = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
"""Machine (uname -m): its folder below /usr/lib as Debian has it."""

_FOLDERS = (
    *("/usr/lib/{0}", "/lib/{0}", "/usr/lib64", "/lib64", "/usr/lib", "/lib"),
    "/run/opengl-driver/lib", "/run/current-system/profile/lib",  # NixOS, Guix
    "/usr/local/glibc/usr/lib", "/usr/local/glibc/lib",  # Talos
    "/opt/nvidia/current/usr/lib64", "/opt/nvidia/current/usr/lib",  # Flatcar
    "/opt/nvidia/current/lib64", "/opt/nvidia/current/lib", "/opt/nvidia/lib64", "/opt/lib64",
    "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib",  # COS, and images made for it
    "/var/lib/nvidia/lib64", "/home/kubernetes/bin/nvidia/lib64",  # COS and GKE, on the node
    "/usr/lib/nvidia",  # Bottlerocket, below it
    "/run/host-nvidia/*",  # node agents
    "/usr/local/lib/{0}", "/usr/local/lib64", "/usr/local/lib",
)  # fmt: skip
_BELOW = ("", "nvidia/current", "nvidia/current/vdpau", "nvidia", "vdpau", "gbm", "tls")
_BRANCHES = ("tesla", "legacy-")  # below "nvidia": Debian's other drivers, Bottlerocket's
_MODULES = ("drivers", "extensions", "updates/drivers", "updates/extensions", "")
_XORG = (
    *("{0}/nvidia/xorg", "{0}/nvidia/current/xorg"),
    *(f"{base}/{part}".rstrip("/")
      for base in ("{0}/xorg/modules", "/usr/X11R6/lib64/modules", "/usr/X11R6/lib/modules")
      for part in _MODULES),
)  # fmt: skip
# Libraries of the driver's packages that have a version of their own, which begins with one digit:
# a driver's has more, and a name with one is of that driver. 470's NVVM is libnvidia-nvvm.so.4.0.0.
_NAMED = re.compile(
    r"libnvidia-(egl-(gbm|wayland2?|xcb|xlib)|api|nvvm(70)?)\.so\.\d(\.\d+)*|nvidia_drv\.so"
)
_OTHERS = ("libnvidia-container.", "libnvidia-container-go.")  # the container toolkit's own
# What libcuda opens when asked for (strings of 555.58's), and since which driver there is one.
_OPENED = (
    ("libnvidia-ptxjitcompiler", 367, "CUDA cannot compile PTX (error 221), as older programs ask"),
    ("libnvidia-nvvm", 470, "CUDA cannot compile NVVM IR, as linking at run time asks"),
)
_COMPAT = re.compile(r"/cuda[^/]*/(.*/)?compat(/|$)|/cuda-compat")
_CORE = ("libcuda", "libnvidia-ml")


@dataclass
class Library:
    """A library: `path` in the root, no link; its `soname`; the names of `links` to it there.

    needed: what it is loaded with, by SONAME.
    """

    path: str
    soname: str
    needed: tuple[str, ...] = ()
    links: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Return the file's name."""
        return os.path.basename(self.path)

    @property
    def folder(self) -> str:
        """Return the folder the file is in."""
        return os.path.dirname(self.path)


def folders(host: Host, machine: str, extra: tuple[str, ...] = ()) -> list[str]:
    """Return the root's library folders that exist: `extra`, the loader's, the distributions'.

    Each is there once, as the folder that its links lead to. Raises ConfigError for a machine
    whose folders are not known.
    """
    if machine not in MULTIARCH:
        raise ConfigError(
            f"no library folders known for machine {machine!r}",
            hint=f"NVIDIA's driver is for {', '.join(MULTIARCH)}",
        )
    cached = [os.path.dirname(path) for path in loader.cached(host, machine) if _may_be(path, "")]
    usual = [folder.format(MULTIARCH[machine]) for folder in _FOLDERS]
    bases = [one for base in (*extra, *cached, *loader.configured(host), *usual)
             for one in globbed(host, base)]  # fmt: skip
    return _with_those_below(host, bases)


def _with_those_below(host: Host, bases: list[str]) -> list[str]:
    found = [f"{base}/{below}".rstrip("/") for base in bases
             for below in (*_BELOW, *_branches(host, base))]  # fmt: skip
    return list(dict.fromkeys(there for folder in found if (there := _there(host, folder))))


def _branches(host: Host, base: str) -> list[str]:
    names = host.listdir(f"{base}/nvidia")
    return [f"nvidia/{name}" for name in names if name.startswith(_BRANCHES)]


def globbed(host: Host, folder: str) -> list[str]:
    """Return the folders that `folder` means: itself, or those in it where it ends in /*."""
    if not folder.endswith("/*"):
        return [folder.rstrip("/")]
    return [folder[:-1] + name for name in host.listdir(folder[:-2])]


def _there(host: Host, folder: str) -> str:
    real = host.target(folder)
    inside = host.inside(real)
    return inside if os.path.isdir(real) and not _COMPAT.search(f"{inside}/") else ""


@dataclass
class Core:
    """What there is of libcuda and libnvidia-ml.

    versions: of the files of each. linked: where each libX.so.1 leads, "" when its name tells none.
    homes: the folders that the files of a version are really in.
    """

    versions: dict[str, set[str]]
    linked: dict[str, list[str]]
    homes: dict[str, list[str]]

    def version(self, running: str) -> str:
        """Return the version of the driver of which both are there, "" when none is.

        running: the kernel module's, which wins; cuda-compat has no libnvidia-ml.
        """
        both = self.versions["libcuda"] & self.versions["libnvidia-ml"]
        return versions.choose(running, both, self.linked["libnvidia-ml"] + self.linked["libcuda"])


def core(host: Host, where: list[str], machine: str) -> Core:
    """Return what the folders `where` have of the driver's two libraries that everything needs."""
    found = Core({stem: set() for stem in _CORE}, {stem: [] for stem in _CORE}, {})
    for folder in where:
        for name in host.listdir(folder):
            stem = name.partition(".so")[0]
            if stem in _CORE and (real := _file(host, f"{folder}/{name}", machine)):
                version = versions.of_name(name, stem) or versions.of_name(_base(real), stem)
                found.versions[stem] |= {version} - {""}
                found.homes.setdefault(version, []).append(os.path.dirname(host.inside(real)))
                found.linked[stem] += [version] if name == f"{stem}.so.1" else []
    return found


def with_homes(host: Host, where: list[str], homes: list[str]) -> list[str]:
    """Return the folders `where` and those that links from there lead to, with what is below."""
    return list(dict.fromkeys((*where, *_with_those_below(host, homes))))


def find(host: Host, where: list[str], version: str, machine: str) -> list[Library]:
    """Return the driver's libraries in `where` and in X.Org's folders, sorted; each name once.

    Folders with libnvidia-ml of that version come first: the driver's own win.
    """
    core = f"libnvidia-ml.so.{version}"
    first = sorted(where, key=lambda folder: not host.exists(f"{folder}/{core}"))
    found: dict[str, Library] = {}
    for folder in (*first, *_xorg(host, where)):
        for name in sorted(host.listdir(folder)):
            path = _driver_file(host, folder, name, version, machine)
            if path and (library := found.get(os.path.basename(path))) is None:
                library = found[_base(path)] = Library(path, *elf.names(host.real(path)))
            if path and library and name != library.name:
                library.links.add(name)
    return sorted(_linked_only(found.values()), key=lambda library: library.path)


def missing(found: list[Library], version: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the driver's libraries that those `found` load and that are not there.

    With each what that means. Debian and Ubuntu have them in packages of their own.
    """
    there = {name for one in found for name in (one.name, one.soname, *one.links)}
    for stem, since, means in _OPENED:
        named = any(name.startswith(f"{stem}.so.") for name in there)
        if not named and versions.numbers(version) >= (since,):
            yield f"{stem}.so.{version}", means
    for name in dict.fromkeys(name for one in found for name in one.needed):
        if _is_drivers(name, version) and name not in there:
            users = [one.name for one in found if name in one.needed]
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            yield name, f"{users[0]}{more} cannot be loaded"


def _xorg(host: Host, where: list[str]) -> list[str]:
    paths = [one.format(folder) for folder in where for one in _XORG]
    return list(dict.fromkeys(there for path in paths if (there := _there(host, path))))


def _driver_file(host: Host, folder: str, name: str, version: str, machine: str) -> str:
    """Return the path of the driver's library that `name` is or leads to, "" when it is none."""
    if not _may_be(name, version) or not (real := _file(host, f"{folder}/{name}", machine)):
        return ""
    if _is_drivers(_base(real), version):
        return host.inside(real)
    # A store may name its files as it likes; the name that leads there says what it is.
    return f"{folder}/{name}" if _is_drivers(name, version) else ""


def _may_be(path: str, version: str) -> bool:
    """Whether a name is worth following: library folders have thousands."""
    name = _base(path)
    ours = "nvidia" in name or name.startswith(("libcuda", "libnv"))
    return ".so" in name and (ours or bool(version and version in name))


def _is_drivers(name: str, version: str) -> bool:
    if name.startswith(_OTHERS):
        return False
    return name.endswith(f".so.{version}") or bool(_NAMED.fullmatch(name))


def _file(host: Host, path: str, machine: str) -> str:
    """Return where the library `path` lies for us, "" when it is no file of this machine's."""
    real = host.target(path)
    return real if os.path.isfile(real) and not elf.is_foreign(real, machine) else ""


def _linked_only(found: object) -> list[Library]:
    """Leave out what a library of the same SONAME, that a link leads to, has replaced."""
    libraries: list[Library] = list(found)  # type: ignore[call-overload]
    linked = {one.soname: one for one in libraries if one.soname and one.soname in one.links}
    return [one for one in libraries if linked.get(one.soname, one) is one]


def _base(path: str) -> str:
    return os.path.basename(path)
