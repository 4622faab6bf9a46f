"""The CDI spec of a host with NVIDIA's driver: what a container needs to use its GPUs.

Two roots: the driver's files, and the device nodes, which an operator may keep elsewhere. A spec
without libcuda and libnvidia-ml, or without a GPU, is none; what else is missing is told.
"""

from __future__ import annotations

import os
import re

from ocishim.admin.generate import driverfiles, elf, gpus, libraries, links, versions, wsl
from ocishim.admin.generate.driver import Driver
from ocishim.admin.generate.edits import Edits, merged
from ocishim.admin.generate.gpus import Gpu, Mig
from ocishim.admin.generate.hooks import Hooks
from ocishim.admin.generate.nodes import Nodes, kernel
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

NAMINGS = ("index", "uuid", "type-index")
VOID = "NVIDIA_VISIBLE_DEVICES=void"
"""What keeps a second layer (NVIDIA's runtime) from giving the GPUs that the image asks for."""

_GPUS = "/proc/driver/nvidia/gpus"
_CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_UVM = "run 'nvidia-modprobe -u -c=0', and at boot before this"
_MUST = {
    "nvidiactl": ("no GPU can be used", "load the driver's module: modprobe nvidia"),
    "nvidia-uvm": ("CUDA finds no device", _UVM),
}
_DEVICE_NAME = re.compile(r"[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?")


class Generator:
    """One run: the roots, the machine (uname -m) and what the command line chose.

    report: what was found, and what was not.
    """

    def __init__(
        self,
        *,
        driver_root: str = "/",
        dev_root: str = "",
        namings: tuple[str, ...] = ("index", "uuid"),
        hooks: Hooks | None = None,
        library_folders: tuple[str, ...] = (),
        with_sockets: bool = True,
        machine: str = "",
        report: Report | None = None,
    ) -> None:
        self.root = os.path.abspath(driver_root).rstrip("/")
        self.report = report or Report()
        self.host = Host(driver_root)
        self.nodes = Nodes(dev_root or driver_root, self.report)
        self.namings = namings
        self.hooks = hooks or Hooks()
        self.with_sockets = with_sockets
        self.driver = Driver(self.host, machine, library_folders)
        self.library_folders = library_folders

    def generate(self, *, with_all: bool = True) -> tuple[dict[str, Edits], Edits]:
        """Return the devices' edits by name, and those common to all.

        Raises ConfigError when there is no driver or no GPU.
        """
        self.require_driver()
        proc = kernel(self.host, _GPUS)
        devices = self._devices(proc, gpus.find(proc, self.driver.smi(), self.report))
        if not devices:
            raise self._no_gpu()
        if with_all:
            devices["all"] = merged(devices)
        for name in devices:
            self.report.add("devices", name)
        return devices, self.common()

    def _no_gpu(self) -> ConfigError:
        dev = self.nodes.host
        hint = self.report.remedy("load the driver's module: modprobe nvidia")
        if dev.elsewhere and not dev.exists("/dev/nvidiactl"):
            hint = "name the root whose /dev has the driver's nodes, as --dev-root /"
        where = f"none in {self.nodes.prefix}/dev and {_GPUS}"
        return ConfigError(f"no NVIDIA GPU found: {where}{self.report.why()}", hint=hint)

    def require_driver(self) -> None:
        """Raise ConfigError without a driver; say when it is not the one that runs."""
        running, version = self.driver.running, self.driver.version
        for folder in self.library_folders:
            if not any(self.host.is_folder(one) for one in libraries.globbed(self.host, folder)):
                self.report.warn(
                    f"no folder {folder} in {self.root or '/'}", "see --library-folder"
                )
        if not version:
            raise self._no_driver()
        self.report.driver = version
        if running and running != version:
            self.report.warn(
                f"the libraries are of driver {version}, the module that runs is {running}: "
                "nothing works until they are the same",
                "reboot, and generate the spec again",
            )

    def _no_driver(self) -> ConfigError:
        where = ", ".join(self.driver.folders) or "any folder"
        if any(self.driver.core.versions.values()):
            halves = ", ".join(
                f"{stem}.so of {' and '.join(sorted(found, key=versions.numbers)) or 'no version'}"
                for stem, found in self.driver.core.versions.items()
            )
            return ConfigError(
                f"no whole NVIDIA driver in {self.root or '/'}: {halves} in {where}",
                hint="install the driver's packages whole, and of one version",
            )
        return ConfigError(
            f"no NVIDIA driver found in {self.root or '/'}: no libcuda.so.VERSION and "
            f"libnvidia-ml.so.VERSION for {self.driver.machine} in {where}",
            hint=self._instead()
            or "name the driver's root with --driver-root, or its folder with --library-folder",
        )

    def _instead(self) -> str:
        """Return what serves a host whose driver is another one, "" when it is none we know."""
        if self.host.exists("/etc/nv_tegra_release") or os.path.exists(
            self.nodes.host.real("/dev/nvmap")
        ):
            return "this is a Jetson, whose driver has no such files: --mode csv"
        if wsl.is_one(self.host, self.nodes.host):
            return "this is WSL, whose driver is in /usr/lib/wsl: --mode wsl"
        if self.nodes.host.exists(wsl.NODE):
            return (
                f"{wsl.NODE} is WSL's, and /usr/lib/wsl, where its driver is, is not mounted here"
            )
        return ""

    def _devices(self, proc: Host, found: list[Gpu]) -> dict[str, Edits]:
        devices: dict[str, Edits] = {}
        for gpu in found or ([] if proc.is_folder(_GPUS) else self._from_nodes()):
            edits = self._gpu(gpu)
            if edits is None:
                continue
            if gpu.split and not gpu.migs:
                self.report.leave_out(
                    f"GPU {gpu.index} is left out: MIG mode without an instance",
                    f"make one: nvidia-smi mig -i {gpu.index} -cgi PROFILE -C",
                )
            if not gpu.split:  # a GPU in MIG mode is used through its parts
                devices |= dict.fromkeys(self._names(gpu, None), edits)
            for mig in gpu.migs:
                part = self._mig(proc, gpu, mig)
                devices |= dict.fromkeys(self._names(gpu, mig), part) if part else {}
        return devices

    def _from_nodes(self) -> list[Gpu]:
        """Return a GPU for each /dev/nvidiaN where the driver tells nothing of them."""
        names = self.nodes.host.listdir("/dev")
        minors = sorted(int(n[6:]) for n in names if n.startswith("nvidia") and n[6:].isdigit())
        self.report.source = f"{self.nodes.prefix}/dev" if minors else ""
        return [Gpu(index, "", minor, "") for index, minor in enumerate(minors)]

    def _names(self, gpu: Gpu, mig: Mig | None) -> list[str]:
        number = f"{gpu.index}:{mig.index}" if mig else str(gpu.index)
        uuid = mig.uuid if mig else gpu.uuid
        by = {"index": number, "uuid": uuid, "type-index": ("mig" if mig else "gpu") + number}
        names = [by[naming] for naming in self.namings if _DEVICE_NAME.fullmatch(by[naming])]
        if len(names) < len(self.namings):
            what = f"MIG device {number}" if mig else f"GPU {number}"
            told = f"no name for a spec: {uuid!r}" if uuid else "not known"
            fact = f"the uuid of {what} is {told}"
            if names:
                self.report.tell(f"{fact}: it has no name by uuid")
            else:
                self.report.warn(
                    f"{what} is left out: its uuid is {told}", "--name-by index", of_device=True
                )
        return names

    def _gpu(self, gpu: Gpu) -> Edits | None:
        """Return the edits of a whole GPU; None, and a warning, when its node is missing."""
        edits = Edits()
        node = f"/dev/nvidia{gpu.minor}"
        if not self.nodes.add(edits, node):
            again = f"run 'nvidia-modprobe -c={gpu.minor}', or start nvidia-persistenced"
            what = f"GPU {gpu.index} is left out: no device node {node}"
            self.report.warn(what, again, of_device=True)
            return None
        dri = [path for path in self.nodes.dri(gpu.bus) if self.nodes.add(edits, path)]
        names = {os.path.basename(path) for path in dri}
        by_path = self.nodes.by_path(gpu.bus)
        self.hooks.add_links(
            edits, [link for link in by_path if os.path.basename(link[0]) in names]
        )
        return edits

    def _mig(self, proc: Host, gpu: Gpu, mig: Mig) -> Edits | None:
        """Return the edits of a MIG device; None, and a warning, when a node is missing."""
        edits = Edits()
        self.nodes.add(edits, f"/dev/nvidia{gpu.minor}")
        minors = gpus.caps(proc, gpu, mig)
        paths = [f"/dev/nvidia-caps/nvidia-cap{minor}" for minor in minors]
        gone = [path for path in paths if not self.nodes.add(edits, path)]
        if gone or len(minors) < 2:
            gi, ci = mig.instances
            where = f"/proc/driver/nvidia/capabilities/gpu{gpu.minor}/mig/gi{gi}"
            what = f"device node {' and '.join(gone)}" if gone else f"capability in {where}"
            self.report.warn(
                f"MIG device {gpu.index}:{mig.index} is left out: no {what}",
                f"run 'nvidia-modprobe -f {where}/access -f {where}/ci{ci}/access'",
                of_device=True,
            )
            return None
        return edits

    def common(self) -> Edits:
        """Return what all GPUs need: the driver's files, control nodes and hooks."""
        edits = Edits()
        found = self.driver.libraries
        edits.add("env", VOID)
        cuda = [library.folder for library in found if library.name.startswith("libcuda.so.")]
        edits.add("env", f"NVIDIA_CTK_LIBCUDA_DIR={cuda[0]}")
        for name in _CONTROL:
            there = self.nodes.add(edits, f"/dev/{name}")
            if not there and name in _MUST:
                why, remedy = _MUST[name]
                self.report.warn(f"no device node /dev/{name}: {why}", remedy)
        for library in found:
            edits.add_mount(library.path, self._host_path(library.path))
            self.report.add("libraries", library.path)
            if not elf.is_elf(self.host.real(library.path)):
                self.report.warn(
                    f"{library.path} is no ELF file: programs cannot load it",
                    "install the driver's packages again",
                )
        for name, means in libraries.missing(found, self.driver.version):
            self.report.warn(f"no {name}: {means}", "install the driver's packages whole")
        self._add_files(edits)
        self.hooks.add_links(edits, links.links(found))
        self.hooks.add(edits, "enable-cuda-compat", f"--host-driver-version={self.driver.version}")
        self.hooks.add_ldcache(edits, [library.folder for library in found])
        self.hooks.add(edits, "disable-device-node-modification")
        self.hooks.add(edits, "update-application-profile")
        # What it does not find in a container it skips.
        folders = ("--path", "/dev/dri", "--path", "/dev/nvidia-caps")
        self.hooks.add(edits, "chmod", "--mode", "755", *folders)
        return edits

    def _host_path(self, path: str) -> str:
        """Return where the file that the root's `path` leads to lies for the runtime."""
        return self.root + self.host.inside(self.host.real(path))

    def _add_files(self, edits: Edits) -> None:
        host, machine = self.host, self.driver.machine
        for file in (
            *self.driver.programs(),
            *driverfiles.firmware(host, self.driver.version, os.uname().release),
            *driverfiles.configuration(host, machine, self.driver.folders),
            *(driverfiles.sockets(host) if self.with_sockets else ()),
        ):
            edits.add_mount(file.path, self.root + file.there, socket=file.kind == "sockets")
            self.report.add(file.kind, file.path)
        if not any(path.endswith("/nvidia-smi") for path in self.report.found["programs"]):
            self.report.warn("no nvidia-smi: containers cannot look at their GPUs",
                             "install the driver's programs")  # fmt: skip


def imex_channels(
    dev_root: str, report: Report | None = None, *, with_all: bool = True
) -> dict[str, Edits]:
    """Return a device for each IMEX channel of the host, and `all`. Raises ConfigError: none."""
    folder = "/dev/nvidia-caps-imex-channels"
    report = report or Report()
    nodes = Nodes(dev_root, report)
    report.source = nodes.prefix + folder
    devices: dict[str, Edits] = {}
    for name in nodes.host.listdir(folder):
        number = name.removeprefix("channel")
        edits = Edits()
        if number != name and number.isdigit() and nodes.add(edits, f"{folder}/{name}"):
            devices[number] = edits
    if not devices:
        raise ConfigError(
            f"no IMEX channel found in {nodes.prefix}{folder}",
            hint="make one: nvidia-modprobe -i=0, or start nvidia-imex",
        )
    devices = dict(sorted(devices.items(), key=lambda item: int(item[0])))
    devices |= {"all": merged(devices)} if with_all else {}
    for name in devices:
        report.add("devices", name)
    return devices
