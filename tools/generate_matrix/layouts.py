"""Hosts with NVIDIA's driver as distributions lay it out, made of stand-ins in a folder.

Each has the same driver: what a container should be given is known, whatever the place.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tools.lab.driverroot import LIBDIR, OLD, VERSION, DriverRoot

UUID = "GPU-00000000-0000-0000-0000-000000000000"
LIBRARIES = (
    *("libcuda", "libnvidia-ml", "libcudadebugger", "libnvidia-ptxjitcompiler", "libnvidia-nvvm"),
    *("libnvidia-encode", "libnvcuvid", "libnvidia-opticalflow", "libnvidia-cfg", "libnvoptix"),
    *("libnvidia-allocator", "libnvidia-eglcore", "libnvidia-glcore", "libnvidia-glsi"),
    *("libnvidia-tls", "libnvidia-rtcore", "libGLX_nvidia", "libEGL_nvidia", "libnvidia-opencl"),
)
OWN_VERSION = ("libnvidia-egl-gbm.so.1.1.2", "libnvidia-egl-wayland.so.1.1.13")
PROGRAMS = (
    *("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control"),
    "nvidia-cuda-mps-server",
)
FILES = (
    *("glvnd/egl_vendor.d/10_nvidia.json", "egl/egl_external_platform.d/15_nvidia_gbm.json"),
    *("egl/egl_external_platform.d/10_nvidia_wayland.json", "nvidia/nvoptix.bin"),
    *("vulkan/icd.d/nvidia_icd.json", "vulkan/implicit_layer.d/nvidia_layers.json"),
)
NODES = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
FIRMWARE = ("gsp_ga10x.bin", "gsp_tu10x.bin")


class Host(DriverRoot):
    """A host; `expected`: the names of what a container should be given."""

    def __init__(self, root: Path, nvml: bytes) -> None:
        super().__init__(root)
        self.nvml = nvml
        self.expected: set[str] = {"device 0", f"device {UUID}", "device all"}
        facts = f"GPU UUID: \t {UUID}\nDevice Minor: \t 0\nGPU Excluded:\t No\n"
        self.write("/proc/driver/nvidia/gpus/0000:01:00.0/information", facts)
        self.write(
            "/proc/driver/nvidia/version", f"NVRM version: x86_64 Kernel Module  {VERSION}  x\n"
        )
        for minor, name in enumerate(NODES):
            self.node(f"/dev/{name}", minor=minor)
        self.expected |= {f"node {name}" for name in NODES}

    def libraries(self, folder: str, *, wayland: bool = True) -> None:
        """Put the driver's libraries there, with the links that ldconfig makes."""
        names = [f"{stem}.so.{VERSION}" for stem in LIBRARIES] + [*OWN_VERSION]
        for name in names if wayland else names[:-1]:
            self.library(f"{folder}/{name}")
            stem = name.partition(".so.")[0]
            self.link(f"{folder}/{stem}.so.1", name)
            self.expected.add(name)
        self.library(f"{folder}/vdpau/libvdpau_nvidia.so.{VERSION}")
        self.expected.add(f"libvdpau_nvidia.so.{VERSION}")
        self.at(f"{folder}/libnvidia-ml.so.{VERSION}").write_bytes(self.nvml)

    def programs(self, folder: str) -> None:
        """Put the driver's programs there."""
        for name in PROGRAMS:
            self.program(f"{folder}/{name}")
            self.expected.add(name)

    def others(self, share: str = "/usr/share", firmware: str = "/lib/firmware") -> None:
        """Put configuration, firmware and persistenced's socket there."""
        for name in FILES:
            self.write(f"{share}/{name}")
            self.expected.add(name.rpartition("/")[2])
        for name in FIRMWARE:
            self.write(f"{firmware}/nvidia/{VERSION}/{name}")
            self.expected.add(name)
        self.write("/run/nvidia-persistenced/socket")
        self.expected.add("socket")

    def usual(self, folder: str, programs: str = "/usr/bin") -> None:
        """Put everything where a distribution with that library folder has it."""
        self.libraries(folder)
        self.programs(programs)
        self.others()


def _debian(host: Host) -> None:
    host.usual(LIBDIR)
    for stem in ("libcuda", "libnvidia-encode"):
        host.link(f"{LIBDIR}/{stem}.so", f"{stem}.so.1")


def _alternatives(host: Host) -> None:
    host.libraries(f"{LIBDIR}/nvidia/current")
    host.programs("/usr/lib/nvidia/current")
    for name in PROGRAMS:
        host.link(f"/usr/bin/{name}", f"/etc/alternatives/nvidia--{name}")
        host.link(f"/etc/alternatives/nvidia--{name}", f"/usr/lib/nvidia/current/{name}")
    for stem in LIBRARIES:
        link = f"glx--{stem}.so.1-x86_64-linux-gnu"
        host.link(f"{LIBDIR}/{stem}.so.1", f"/etc/alternatives/{link}")
        host.link(f"/etc/alternatives/{link}", f"{LIBDIR}/nvidia/current/{stem}.so.1")
    host.others()


def _branches(host: Host) -> None:
    """A branch of Debian's beside the current driver, which is another; nothing is linked."""
    host.libraries(f"{LIBDIR}/nvidia/tesla-550")
    host.programs("/usr/lib/nvidia/tesla-550")
    for stem in LIBRARIES[:5]:
        host.library(f"{LIBDIR}/nvidia/current/{stem}.so.570.86.15")
    host.others()


def _rhel(host: Host) -> None:
    host.usual("/usr/lib64")
    host.write("/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json")
    host.expected.add("nvidia_icd.x86_64.json")
    for name in (f"libnvidia-tls.so.{VERSION}", "libnvidia-api.so.1"):
        host.library(f"/usr/lib/{name}", machine=3, bits=32)


def _suse(host: Host) -> None:
    host.usual("/usr/lib64")
    for name in ("nvidia_drv.so", f"libglxserver_nvidia.so.{VERSION}"):
        kind = "drivers" if name.startswith("nvidia") else "extensions"
        host.library(f"/usr/lib64/xorg/modules/{kind}/{name}")
        host.expected.add(name)
    host.write("/etc/X11/xorg.conf.d/10-nvidia.conf")
    host.expected.add("10-nvidia.conf")


def _arch(host: Host) -> None:
    host.usual("/usr/lib")
    host.link("/lib64", "usr/lib")
    host.library(f"/usr/lib32/libcuda.so.{VERSION}", machine=3, bits=32)


def _nixos(host: Host) -> None:
    store = "/nix/store/0abc-nvidia-x11"
    host.libraries(f"{store}/lib")
    host.programs(f"{store}-bin/bin")
    host.others(f"{store}/share", "/run/current-system/firmware")
    host.link("/run/opengl-driver", store)
    host.link("/run/current-system/sw/bin", f"{store}-bin/bin")


def _guix(host: Host) -> None:
    store, profile = "/gnu/store/0abc-nvidia-driver", "/run/current-system/profile"
    host.usual(f"{store}/lib", f"{store}/bin")
    for folder in ("lib", "bin"):
        for path in (host.root / f"{store}/{folder}".lstrip("/")).iterdir():
            host.link(f"{profile}/{folder}/{path.name}", f"{store}/{folder}/{path.name}")


def _talos(host: Host) -> None:
    host.usual("/usr/local/glibc/usr/lib", "/usr/local/bin")


def _flatcar(host: Host) -> None:
    host.usual("/opt/nvidia/current/usr/lib", "/opt/bin")
    host.write("/etc/ld.so.conf.d/nvidia.conf", "/opt/nvidia/current/usr/lib\n")
    host.write("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")


def _cos(host: Host) -> None:
    host.libraries("/var/lib/nvidia/lib64")
    host.programs("/var/lib/nvidia/bin")
    host.others("/var/lib/nvidia", "/var/lib/nvidia/firmware")


def _gke(host: Host) -> None:
    host.libraries("/lib64")
    host.programs("/bin")
    host.others("", "/firmware")


def _bottlerocket(host: Host) -> None:
    host.libraries("/usr/lib/nvidia/tesla")
    host.programs("/usr/libexec/nvidia/tesla/bin")
    host.others()


def _agent(host: Host) -> None:
    host.libraries("/run/host-nvidia/0")
    for name in (*(f"{stem}.so.{VERSION}" for stem in LIBRARIES), *OWN_VERSION):
        host.link(f"{LIBDIR}/{name}", f"/run/host-nvidia/0/{name}")
    host.programs("/usr/bin")
    host.others()


def _sonames(host: Host) -> None:
    host.libraries("/srv/store")
    for stem in LIBRARIES[:5]:
        host.link(f"{LIBDIR}/{stem}.so.1", f"/srv/store/{stem}.so.1")
    host.programs("/usr/bin")
    host.others()


def _cache(host: Host) -> None:
    host.usual("/srv/odd/place")
    host.write("/etc/ld.so.conf", "/srv/odd/place\n")
    subprocess.run(["/sbin/ldconfig", "-X", "-r", str(host.root)], check=True)


def _leftovers(host: Host) -> None:
    host.usual(LIBDIR)
    for stem in LIBRARIES[:12]:
        host.library(f"{LIBDIR}/{stem}.so.{OLD}")


def _compat(host: Host) -> None:
    host.usual(LIBDIR)
    for stem in ("libcuda", "libnvidia-ptxjitcompiler", "libnvidia-nvvm", "libcudadebugger"):
        host.library(f"/usr/local/cuda-12.6/compat/{stem}.so.560.35.05")
    host.write("/etc/ld.so.conf", "/usr/local/cuda-12.6/compat\n")


def _toolkit(host: Host) -> None:
    host.usual(LIBDIR)
    for name in ("libnvidia-container.so.1.17.8", "libnvidia-container-go.so.1.17.8"):
        host.library(f"{LIBDIR}/{name}")


def _firmware(host: Host) -> None:
    host.libraries(LIBDIR)
    host.programs("/usr/sbin")
    host.others("/etc", "/lib/firmware/updates")


LAYOUTS: dict[str, Callable[[Host], None]] = {
    "Debian, Ubuntu, a driver container": _debian,
    "Debian's alternatives": _alternatives,
    "Debian's branches side by side": _branches,
    "RHEL, Fedora": _rhel,
    "SUSE, with X.Org": _suse,
    "Arch": _arch,
    "NixOS": _nixos,
    "Guix": _guix,
    "Talos": _talos,
    "Flatcar": _flatcar,
    "COS": _cos,
    "GKE's driver root": _gke,
    "Bottlerocket": _bottlerocket,
    "node agent, folders of links": _agent,
    "SONAME links alone": _sonames,
    "a folder of ld.so.cache": _cache,
    "an older driver's leftovers": _leftovers,
    "cuda-compat in ld.so.conf": _compat,
    "the container toolkit beside": _toolkit,
    "sbin, /etc, firmware/updates": _firmware,
}
"""What people call each, and what makes it."""
