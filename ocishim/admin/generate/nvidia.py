"""The CDI spec of a host with NVIDIA's driver: what a container needs to use its GPUs.

Nothing is loaded from the driver but NVML (gpus.py); everything else is found by name. Two roots:
the driver's files, and the device nodes, which an operator may keep elsewhere.
"""

from __future__ import annotations

import os
import stat

from ocishim.admin.generate import gpus, libraries
from ocishim.admin.generate.edits import Edits
from ocishim.admin.generate.gpus import Gpu, Mig
from ocishim.admin.host import Host
from ocishim.errors import ConfigError, UsageError

NAMINGS = ("index", "uuid", "type-index")
HOOKS = (
    *("create-symlinks", "enable-cuda-compat", "update-ldcache"),
    *("disable-device-node-modification", "update-application-profile", "chmod"),
)
OFF_BY_DEFAULT = ("chmod",)
DEFAULT_HOOKS = tuple(name for name in HOOKS if name not in OFF_BY_DEFAULT)

_CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_PROGRAMS = (
    *("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control"),
    *("nvidia-cuda-mps-server", "nvidia-imex", "nvidia-imex-ctl"),
)
_SOCKETS = (
    "/run/nvidia-persistenced/socket",
    "/run/nvidia-fabricmanager/socket",
    "/tmp/nvidia-mps",  # noqa: S108 - where MPS puts it
)
_FILES = (
    "/usr/share/nvidia/nvoptix.bin",
    "/etc/vulkan/icd.d/nvidia_icd.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.json",
    "/etc/vulkan/icd.d/nvidia_layers.json",
    "/etc/vulkan/implicit_layer.d/nvidia_layers.json",
    "/usr/share/vulkan/implicit_layer.d/nvidia_layers.json",
    "/usr/share/glvnd/egl_vendor.d/10_nvidia.json",
    "/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json",
    "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
    "/usr/share/egl/egl_external_platform.d/20_nvidia_xcb.json",
    "/usr/share/egl/egl_external_platform.d/20_nvidia_xlib.json",
    "/etc/OpenCL/vendors/nvidia.icd",
)


class Generator:
    """One run: the roots, the machine (uname -m) and what the command line chose.

    prefix: what hostPath begins with, the driver root as the runtime will see it.
    """

    __slots__ = (
        *("dev_root", "driver_root", "folders", "hook_path", "hooks", "host", "machine"),
        *("namings", "nodes", "version"),
    )

    def __init__(
        self,
        *,
        driver_root: str = "/",
        dev_root: str = "",
        namings: tuple[str, ...] = ("index", "uuid"),
        hooks: tuple[str, ...] = DEFAULT_HOOKS,
        hook_path: str = "/usr/local/bin/pyshim-hook",
        library_folders: tuple[str, ...] = (),
        machine: str = "",
    ) -> None:
        self.driver_root = driver_root.rstrip("/")
        self.dev_root = (dev_root or driver_root).rstrip("/")
        self.host = Host(driver_root)
        self.nodes = Host(dev_root or driver_root)
        self.namings = namings
        self.hooks = hooks
        self.hook_path = hook_path
        self.machine = machine or os.uname().machine
        self.folders = libraries.folders(self.host, self.machine, library_folders)
        self.version = libraries.driver_version(self.host, self.folders)

    def generate(self, *, with_all: bool = True) -> tuple[dict[str, Edits], Edits]:
        """Return the devices' edits by name, and those common to all.

        Raises ConfigError when there is no driver or no GPU.
        """
        if not self.version:
            raise ConfigError(
                f"no NVIDIA driver found in {self.driver_root or '/'}: no libcuda.so.VERSION in "
                f"{', '.join(self.folders)}",
                hint="name the driver's root with --driver-root",
            )
        found = gpus.find(self.host if self._has_proc(self.host) else Host("/"))
        devices = self._devices(found)
        if not devices:
            raise ConfigError(
                f"no NVIDIA GPU found: none in {self.dev_root}/dev and /proc/driver/nvidia/gpus",
                hint="load the driver's module: modprobe nvidia",
            )
        if with_all:
            everything = Edits()
            for edits in devices.values():
                everything.update(edits)
            devices["all"] = everything
        return devices, self._common()

    def _has_proc(self, host: Host) -> bool:
        return os.path.isdir(host.real("/proc/driver/nvidia/gpus"))

    def _devices(self, found: list[Gpu]) -> dict[str, Edits]:
        devices: dict[str, Edits] = {}
        for gpu in found or self._from_nodes():
            edits = self._gpu(gpu)
            if not edits.deviceNodes:
                continue
            for mig in gpu.migs:
                for name in self._names(gpu, mig):
                    devices[name] = self._mig(gpu, mig)
            if not gpu.migs:  # a GPU in MIG mode is used through its parts
                devices |= dict.fromkeys(self._names(gpu, None), edits)
        return devices

    def _from_nodes(self) -> list[Gpu]:
        """Return a GPU for each /dev/nvidiaN where the driver tells nothing of them."""
        try:
            names = os.listdir(self.nodes.real("/dev"))
        except OSError:
            return []
        minors = sorted(int(n[6:]) for n in names if n.startswith("nvidia") and n[6:].isdigit())
        return [Gpu(index, "", minor, "") for index, minor in enumerate(minors)]

    def _names(self, gpu: Gpu, mig: Mig | None) -> list[str]:
        number = f"{gpu.index}:{mig.index}" if mig else str(gpu.index)
        uuid = mig.uuid if mig else gpu.uuid
        by = {"index": number, "uuid": uuid, "type-index": ("mig" if mig else "gpu") + number}
        return [by[naming] for naming in self.namings if by[naming]]

    def _gpu(self, gpu: Gpu) -> Edits:
        edits = Edits()
        self._add_node(edits, f"/dev/nvidia{gpu.minor}")
        by_path = f"/dev/dri/by-path/pci-{gpu.bus}"
        links = []
        for kind in ("card", "render") if gpu.bus else ():
            link = self.nodes.entry(f"{by_path}-{kind}")
            if os.path.islink(link):
                target = os.readlink(link)
                self._add_node(edits, os.path.normpath(f"/dev/dri/by-path/{target}"))
                links += ["--link", f"{target}::{by_path}-{kind}"]
        if links:
            self._add_hook(edits, "create-symlinks", *links)
        return edits

    def _mig(self, gpu: Gpu, mig: Mig) -> Edits:
        edits = Edits()
        self._add_node(edits, f"/dev/nvidia{gpu.minor}")
        for minor in mig.caps:
            self._add_node(edits, f"/dev/nvidia-caps/nvidia-cap{minor}")
        return edits

    def _add_node(self, edits: Edits, path: str) -> None:
        try:
            status = os.stat(self.nodes.real(path))
        except OSError:
            return
        if stat.S_ISCHR(status.st_mode):
            private = status.st_mode & 0o006 != 0o006
            edits.add_node(path, self.dev_root + path, gid=status.st_gid if private else 0)

    def _common(self) -> Edits:
        edits = Edits()
        found = libraries.find(self.host, self.folders, self.version)
        edits.add("env", "NVIDIA_VISIBLE_DEVICES=void")
        cuda = [library.folder for library in found if library.name.startswith("libcuda.so.")]
        if cuda:
            edits.add("env", f"NVIDIA_CTK_LIBCUDA_DIR={cuda[0]}")
        for name in _CONTROL:
            self._add_node(edits, f"/dev/{name}")
        for library in found:
            edits.add_mount(library.path, self.driver_root + library.path)
        self._add_files(edits)
        self._add_hooks(edits, found)
        return edits

    def _add_files(self, edits: Edits) -> None:
        for name in _PROGRAMS:
            for folder in ("/usr/bin", "/usr/local/bin", "/opt/bin"):
                if self.host.is_program(f"{folder}/{name}"):
                    edits.add_mount(f"{folder}/{name}", f"{self.driver_root}{folder}/{name}")
                    break
        firmware = f"/lib/firmware/nvidia/{self.version}"
        names = _listdir(self.host, firmware)
        blobs = [f"{firmware}/{name}" for name in names if name.startswith("gsp")]
        for path in (*_FILES, *blobs):
            if self.host.is_file(path):
                edits.add_mount(path, self.driver_root + path)
        for path in _SOCKETS:
            if os.path.exists(self.host.real(path)):
                edits.add_mount(path, self.driver_root + path, socket=True)

    def _add_hooks(self, edits: Edits, found: list[libraries.Library]) -> None:
        links = [link for library in found for link in library.links()]
        links += self._graphics_links(found)
        words = [word for target, path in links for word in ("--link", f"{target}::{path}")]
        if words:
            self._add_hook(edits, "create-symlinks", *words)
        self._add_hook(edits, "enable-cuda-compat", f"--host-driver-version={self.version}")
        folders = sorted({library.folder for library in found})
        words = [word for folder in folders for word in ("--folder", folder)]
        self._add_hook(edits, "update-ldcache", *words)
        self._add_hook(edits, "disable-device-node-modification")
        self._add_hook(edits, "update-application-profile")

    def _graphics_links(self, found: list[libraries.Library]) -> list[tuple[str, str]]:
        """Return links that no SONAME tells of: GLX's fall-back and GBM's back end."""
        links = []
        for library in found:
            if library.name.startswith("libGLX_nvidia.so."):
                links.append((library.name, f"{library.folder}/libGLX_indirect.so.0"))
            if library.name.startswith("libnvidia-allocator.so."):
                gbm = f"{library.folder}/gbm/nvidia-drm_gbm.so"
                links.append((f"../{library.soname or library.name}", gbm))
        return links

    def _add_hook(self, edits: Edits, name: str, *flags: str) -> None:
        if name not in self.hooks:
            return
        program = os.path.basename(self.hook_path)
        words = [program, "hook"] if program == "nvidia-ctk" else [program]
        hook = {
            "hookName": "createContainer",
            "path": self.hook_path,
            "args": [*words, name, *flags],
            "env": ["NVIDIA_CTK_DEBUG=false"],
        }
        edits.add("hooks", hook)


def imex_channels(dev_root: str) -> dict[str, Edits]:
    """Return a device for each IMEX channel of the host. Raises ConfigError: there is none."""
    folder = "/dev/nvidia-caps-imex-channels"
    host = Host(dev_root or "/")
    devices: dict[str, Edits] = {}
    for name in _listdir(host, folder):
        number = name.removeprefix("channel")
        if number != name and number.isdigit():
            edits = Edits()
            edits.add_node(f"{folder}/{name}", f"{dev_root.rstrip('/')}{folder}/{name}")
            devices[number] = edits
    if not devices:
        raise ConfigError(f"no IMEX channel found in {dev_root.rstrip('/')}{folder}")
    return dict(sorted(devices.items(), key=lambda item: int(item[0])))


def choose_hooks(disabled: tuple[str, ...], enabled: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hooks to write; enabling wins over disabling, `all` disables every one.

    Raises UsageError for a name that is no hook.
    """
    for name in (*disabled, *enabled):
        if name not in HOOKS and not (name == "all" and name in disabled):
            raise UsageError(f"unknown hook {name!r}", hint=f"one of {', '.join(HOOKS)}")
    off = set(HOOKS) if "all" in disabled else {*disabled, *OFF_BY_DEFAULT}
    return tuple(hook for hook in HOOKS if hook not in off or hook in enabled)


def _listdir(host: Host, path: str) -> list[str]:
    try:
        return sorted(os.listdir(host.real(path)))
    except OSError:
        return []
