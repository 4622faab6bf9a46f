"""What else of NVIDIA's driver a container is given: programs, firmware, configuration, sockets.

Each is looked for where distributions and vendors put it, links followed inside the root; a
container finds it where its own programs look.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ocishim.admin.editing import files
from ocishim.admin.generate import elf
from ocishim.admin.host import Host

PROGRAMS = (
    *("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control"),
    *("nvidia-cuda-mps-server", "nvidia-imex", "nvidia-imex-ctl"),
)
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PROGRAM_FOLDERS = (
    *_PATH,
    *("/opt/bin", "/opt/nvidia/current/usr/bin", "/opt/nvidia/current/bin"),  # Flatcar
    *("/usr/local/nvidia/bin", "/var/lib/nvidia/bin", "/home/kubernetes/bin/nvidia/bin"),  # COS
    *("/run/current-system/sw/bin", "/run/opengl-driver/bin"),  # NixOS
    "/run/current-system/profile/bin",  # Guix
    *("/usr/local/glibc/usr/bin", "/usr/libexec", "/usr/libexec/nvidia", "/usr/lib/nvidia"),
    *("/usr/lib/nvidia/current", "/usr/libexec/nvidia/tesla/bin"),  # Debian, Bottlerocket
)
_FIRMWARE_PATH = "/sys/module/firmware_class/parameters/path"
_FIRMWARE = (
    *("/lib/firmware/updates/{0}", "/lib/firmware/updates", "/lib/firmware/{0}", "/lib/firmware"),
    *("/usr/lib/firmware", "/run/current-system/firmware", "/firmware"),
    *("/usr/local/nvidia/firmware", "/var/lib/nvidia/firmware"),
    "/home/kubernetes/bin/nvidia/firmware",
)
_SHARE = ("/etc", "/usr/local/share", "/usr/share")
_OTHER_SHARE = (
    *("/run/opengl-driver/share", "/run/current-system/profile/share"),
    *("/usr/local/nvidia/share", "/var/lib/nvidia/share"),
    *("/home/kubernetes/bin/nvidia", "/usr/local/nvidia", "/var/lib/nvidia", "/share", ""),
)
_CONFIGURATION = (
    "nvidia/nvoptix.bin",
    "glvnd/egl_vendor.d/10_nvidia.json",
    *(
        f"egl/egl_external_platform.d/{name}.json"
        for name in (
            *("09_nvidia_wayland2", "10_nvidia_wayland", "15_nvidia_gbm", "20_nvidia_xcb"),
            *("20_nvidia_xlib", "99_nvidia_wayland2"),
        )
    ),
    *("X11/xorg.conf.d/10-nvidia.conf", "X11/xorg.conf.d/nvidia-drm-outputclass.conf"),
    "OpenCL/vendors/nvidia.icd",
    *("vulkan/icd.d/nvidia_icd.json", "vulkan/icd.d/nvidia_icd.{machine}.json"),
    *("vulkan/icd.d/nvidia_layers.json", "vulkan/implicit_layer.d/nvidia_layers.json"),
)
_SOCKETS = ("nvidia-persistenced/socket", "nvidia-fabricmanager/socket")
_MPS = "/tmp/nvidia-mps"  # noqa: S108 - where MPS puts it


class File(NamedTuple):
    """kind: as the report counts it. path: in the container. there: in the root, no link."""

    kind: str
    path: str
    there: str


def programs(host: Host, machine: str, libraries: list[str], first: list[str]) -> Iterator[File]:
    """Yield each program, once: in `first`, in PATH, beside `libraries`, where distributions do.

    One that lies where no container has its PATH is found in /usr/bin there.
    """
    beside = [f"{os.path.dirname(folder)}/bin" for folder in libraries if folder.count("/") > 1]
    beside += libraries
    environ = [word for word in os.environ.get("PATH", "").split(":") if word.startswith("/")]
    folders = dict.fromkeys((*first, *_PATH, *environ, *_PROGRAM_FOLDERS, *beside))
    for name in PROGRAMS:
        for folder in folders:
            there = program(host, f"{folder}/{name}", machine)
            if there:
                where = folder if folder in _PATH else "/usr/bin"
                yield File("programs", f"{where}/{name}", there)
                break


def program(host: Host, path: str, machine: str) -> str:
    """Return the file that `path` leads to, "" unless it can be executed on `machine`."""
    real = host.target(path)
    fits = os.path.isfile(real) and os.access(real, os.X_OK) and not elf.is_foreign(real, machine)
    return host.inside(real) if fits else ""


def firmware(host: Host, version: str, release: str) -> Iterator[File]:
    """Yield the GSP firmware of the driver `version` for the kernel `release`, each name once.

    In the kernel's own order (Documentation/driver-api/firmware/fw_search_path.rst).
    """
    seen: set[str] = set()
    for base in (_own_firmware(host), *_FIRMWARE):
        folder = f"{base.format(release)}/nvidia/{version}" if base else ""
        for name in host.listdir(folder) if folder else ():
            there = _file(host, f"{folder}/{name}")
            if name.startswith("gsp") and name not in seen and there:
                seen.add(name)
                usual = folder if folder.startswith("/lib/") else f"/lib/firmware/nvidia/{version}"
                yield File("firmware", f"{usual}/{name}", there)


def _own_firmware(host: Host) -> str:
    """Return the folder that the kernel was told to look in first, "" for none."""
    told = files.text(host, _FIRMWARE_PATH) or files.text(Host("/"), _FIRMWARE_PATH)
    return told.strip().rstrip("/")


def configuration(host: Host, machine: str, libraries: list[str]) -> Iterator[File]:
    """Yield the files by which GLVND, EGL, Vulkan, OpenCL, OptiX and X.Org find the driver.

    One that lies where no container's programs look is found where they do.
    """
    data = os.environ.get("XDG_DATA_DIRS", "").split(":")
    usual = dict.fromkeys((*_SHARE, *(one.rstrip("/") for one in data if one.startswith("/"))))
    for name in (one.format(machine=machine) for one in _CONFIGURATION):
        there = [(f"{base}/{name}", _file(host, f"{base}/{name}")) for base in usual]
        found = [File("files", path, file) for path, file in there if file]
        if not found:
            others = [f"{base}/{name}" for base in _OTHER_SHARE]
            if name == "nvidia/nvoptix.bin":  # Debian has it there, and a link only when installed
                others += [f"{folder}/nvoptix.bin" for folder in libraries]
            known = [file for path in others if (file := _file(host, path))]
            found = [File("files", f"{_place(name)}/{name}", file) for file in known[:1]]
        yield from found


def _place(name: str) -> str:
    return "/etc" if name.startswith(("vulkan/", "OpenCL/")) else "/usr/share"


def sockets(host: Host) -> Iterator[File]:
    """Yield the sockets of persistenced and Fabric Manager, and the folder of MPS."""
    for name in _SOCKETS:
        for base in ("/run", "/var/run"):
            if there := _any(host, f"{base}/{name}"):
                yield File("sockets", f"/run/{name}", there)
                break
    if there := _any(host, _MPS):
        yield File("sockets", _MPS, there)


def _file(host: Host, path: str) -> str:
    there = _any(host, path)
    return there if there and os.path.isfile(host.real(there)) else ""


def _any(host: Host, path: str) -> str:
    """Return what `path` leads to in the root, "" when it leads nowhere."""
    real = host.target(path)
    return host.inside(real) if os.path.exists(real) else ""
