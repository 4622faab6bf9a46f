"""The CDI spec of a Jetson, whose driver says in CSV files what a container gets (mode csv).

    dev, /dev/nvmap     a device node           lib, /usr/lib/...   a file
    dir, /usr/...       a folder                sym, /usr/lib/...   a link, and what it leads to

A file may be a link, too; paths may be patterns. The board's GPU is `0`; cards in its slots follow.
"""

from __future__ import annotations

import os
import re

from ocishim.admin.editing import files
from ocishim.admin.generate import driverfiles, elf, gpus
from ocishim.admin.generate.driver import smi_of
from ocishim.admin.generate.edits import Edits, merged
from ocishim.admin.generate.gpus import Gpu
from ocishim.admin.generate.hooks import Hooks
from ocishim.admin.generate.nodes import Nodes
from ocishim.admin.generate.patterns import expand, is_wild
from ocishim.admin.generate.report import Report
from ocishim.admin.generate.smi import Smi, children, value
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

FOLDER = "/etc/nvidia-container-runtime/host-files-for-container.d"
_BASE = ("devices.csv", "drivers.csv", "l4t.csv")
_RELEASE = "/etc/nv_tegra_release"
_KINDS = ("dev", "dir", "lib", "sym")
_BOARDS = ("(nvgpu)", "Thor", "Orin", "Xavier", "Tegra")
"""What is in the names of GPUs that are part of a board."""
_COMPAT = "/usr/local/cuda/compat_orin"  # in images for Orin, whose driver is another than Thor's
_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
_OF_GPU = re.compile(r"/dev/nvidia\d+")
_AGAIN = "install the driver's packages (nvidia-l4t-*) whole"


def is_one(host: Host) -> bool:
    """Whether `host` is a Jetson whose GPU is the board's own.

    A card in a slot (IGX) has the ordinary driver, which knows nothing of the board's GPU.
    """
    if not any(host.is_file(f"{FOLDER}/{name}") for name in _BASE):
        return False
    return all(map(is_of_board, gpus.models(host)))


def is_of_board(model: str) -> bool:
    """Whether the name is that of a GPU that is part of a board."""
    return any(word in model for word in _BOARDS)


class Jetson:
    """One run: where the driver's files and the nodes are, and who makes links."""

    def __init__(self, driver_root: str, dev_root: str, hooks: Hooks, report: Report) -> None:
        self.files = Nodes(driver_root, report)
        self.nodes = Nodes(dev_root or driver_root, report)
        self.hooks = hooks
        self.report = report
        self.links: list[tuple[str, str]] = []
        self.folders: list[str] = []

    def generate(self, *, with_all: bool = True) -> tuple[dict[str, Edits], Edits]:
        """Return the devices and the driver's files. Raises ConfigError: no CSV file, no node."""
        lines = self._lines()
        device, common = Edits(), Edits()
        for kind, pattern in lines:
            paths = [one.path for one in expand(self.files.host, pattern)]
            if kind == "dev":
                self._device(device, pattern)
            elif not paths:
                self.report.warn(f"no {pattern}", _AGAIN)
            for path in paths if kind != "dev" else ():
                self._file(common, kind, path)
        if not device.deviceNodes:
            raise ConfigError(f"no device node of {FOLDER} is on this host", hint=_AGAIN)
        cards = self._cards()
        devices = self._with_cards(device, cards) if cards else {"0": device}
        if self.files.host.is_file(_RELEASE):
            self._file(common, "lib", _RELEASE)
        self.hooks.add_links(common, self._links())
        if flags := self._compat():
            self.hooks.add(common, "enable-cuda-compat", *flags)
        self.hooks.add_ldcache(common, self.folders)
        self.report.source = FOLDER
        devices |= {"all": merged(devices)} if with_all else {}
        for name in devices:
            self.report.add("devices", name)
        return devices, common

    def _cards(self) -> list[Gpu]:
        """Return the GPUs that are no part of the board; none where nobody tells their names."""
        found = gpus.find(self.files.host, self._smi(), Report())
        return [gpu for gpu in found if gpu.model and not is_of_board(gpu.model)]

    def _with_cards(self, board: Edits, cards: list[Gpu]) -> dict[str, Edits]:
        """Return the board's GPU and the cards, which need the board's other nodes, too.

        As nvidia-ctk's: the files name the nodes of all GPUs, and /dev/nvidia2 is the board's
        display beside a card.
        """
        paths = [node["path"] for node in board.deviceNodes]
        own = {f"/dev/nvidia{card.minor}" for card in cards}
        devices = {"0": Edits()}
        for path in (*paths, "/dev/nvidia2"):
            if path not in own:
                self.nodes.add(devices["0"], path)
        for number, card in enumerate(cards, 1):
            edits = Edits()
            if not self.nodes.add(edits, f"/dev/nvidia{card.minor}"):
                self.report.warn(
                    f"GPU {number} is left out: no device node /dev/nvidia{card.minor}",
                    f"run 'nvidia-modprobe -c={card.minor}'", of_device=True,
                )  # fmt: skip
                continue
            others = [path for path in paths if not _OF_GPU.fullmatch(path)]
            for path in (*self.nodes.dri(card.bus), *_CONTROL, *others):
                self.nodes.add(edits, path)
            self.hooks.add_links(edits, self.nodes.by_path(card.bus))
            devices |= dict.fromkeys(
                [str(number), card.uuid] if card.uuid else [str(number)], edits
            )
        return devices

    def _lines(self) -> list[tuple[str, str]]:
        """Return kind and path of each line, once; what is none is told with file and line."""
        names = self.files.host.listdir(FOLDER)
        found: dict[tuple[str, str], None] = {}
        if not set(names) & set(_BASE):
            raise ConfigError(
                f"none of {', '.join(_BASE)} in {self.files.prefix}{FOLDER}",
                hint="this is no Jetson, or its package nvidia-l4t-init is missing: --mode nvidia",
            )
        for name in names:
            if name not in _BASE:
                self.report.tell(f"{FOLDER}/{name} is not the driver's: left out")
                continue
            data = files.content(self.files.host.real(f"{FOLDER}/{name}"))
            for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
                kind, comma, path = (word.strip() for word in line.partition(","))
                if comma and kind in _KINDS and path.startswith("/"):
                    found[kind, path] = None
                elif line.strip() and not line.startswith("#"):
                    place = f"{FOLDER}/{name}:{number}"
                    expected = f"expected '{'|'.join(_KINDS)}, /path', found {line.strip()!r}"
                    self.report.warn(f"{place}: {expected}", "left out")
        return list(found)

    def _links(self) -> list[tuple[str, str]]:
        """Return the links, each path once, with libcuda.so, which programs open, at the end."""
        made: dict[str, str] = {}
        for target, path in self.links:
            made.setdefault(path, target)
        for path in [path for path in made if path.endswith("/libcuda.so.1")]:
            made.setdefault(path.removesuffix(".1"), "libcuda.so.1")
        return [(target, path) for path, target in made.items()]

    def _smi(self) -> Smi | None:
        host, folders = self.files.host, list(dict.fromkeys(self.folders))
        return smi_of(host, folders, driverfiles.programs(host, os.uname().machine, [], []))

    def _compat(self) -> list[str]:
        """Return the flags of enable-cuda-compat; none without nvidia-smi, before Orin."""
        smi = self._smi()
        try:
            log = smi.log() if smi else None
        except ConfigError as err:
            self.report.tell(f"no enable-cuda-compat, since {err.message}")
            return []
        if not log or not (version := value(log, "cuda_version")):
            return []
        names = [value(gpu, "product_name") for gpu in children(log, "gpu")]
        root = (
            [f"--cuda-compat-container-root={_COMPAT}"] if any("Orin" in n for n in names) else []
        )
        return [f"--host-cuda-version={version}", *root]

    def _device(self, device: Edits, pattern: str) -> None:
        found = [one.path for one in expand(self.nodes.host, pattern)]
        for path in found:
            self.nodes.add(device, path)
        if not found and not is_wild(pattern):
            # The files name the nodes of every board.
            self.report.notes.append(f"no device node {pattern}")

    def _file(self, common: Edits, kind: str, path: str) -> None:
        """Add what `path` leads to, and each link on the way as a link."""
        host = self.files.host
        entry = host.inside(host.entry(path))
        if entry != path:
            path = entry  # a folder above is a link: the container's own may be none
        for _ in range(40):  # path_resolution(7)
            place = host.entry(path)
            if not os.path.islink(place):
                break
            target = os.readlink(place)
            self.links.append((target, path))
            path = host.inside(host.entry(os.path.join(os.path.dirname(path), target)))
        real = host.real(path)
        common.add_mount(path, self.files.prefix + host.inside(real))
        name = os.path.basename(path)
        if kind == "dir" or ".so" not in name:
            self.report.add("files", path)
            return
        self.report.add("libraries", path)
        self.folders.append(os.path.dirname(path))
        soname = elf.soname(real)
        if soname not in ("", name):
            self.links.append((name, f"{os.path.dirname(path)}/{soname}"))
