"""The CDI spec of Windows' WSL 2: /dev/dxg, and the driver that Windows lends in its driver store.

Windows' drivers lie in /usr/lib/wsl/drivers, a folder each; NVIDIA's is the one with libcuda. All
GPUs are behind the one node, so that there is one device, `all`.
"""

from __future__ import annotations

import os

from ocishim.admin.generate import elf
from ocishim.admin.generate.edits import Edits
from ocishim.admin.generate.hooks import Hooks
from ocishim.admin.generate.nodes import Nodes
from ocishim.admin.generate.patterns import expand
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_LIB = "/usr/lib/wsl/lib"
_STORE_FOLDER = "/usr/lib/wsl/drivers"
_STORES = f"{_STORE_FOLDER}/*/libcuda.so.1.1"
NODE = "/dev/dxg"
_REQUIRED = (
    *("libcuda.so.1.1", "libcuda_loader.so", "libnvidia-ptxjitcompiler.so.1", "libnvidia-ml.so.1"),
    *("libnvidia-ml_loader.so", "libnvdxgdmal.so.1", "nvcubins.bin", "nvidia-smi"),
)
_OTHERS = ("*.so*", "*.bin", "*.dll")
_DXCORE = f"{_LIB}/libdxcore.so"


def is_one(driver: Host, dev: Host) -> bool:
    """Whether these are the roots of a WSL 2: the node, and Windows' library or a driver store.

    The node alone is any guest's of Hyper-V that has the module dxgkrnl, whose GPU may be passed on
    with a driver of its own. nvidia-ctk goes by the library.
    """
    return dev.exists(NODE) and (driver.is_file(_DXCORE) or bool(expand(driver, _STORES)))


def is_served(driver: Host, dev: Host) -> bool:
    """Whether NVIDIA's driver is there, too: Windows lends a folder of any GPU's."""
    return is_one(driver, dev) and bool(expand(driver, f"{_STORE_FOLDER}/nv*"))


def generate(
    driver_root: str, dev_root: str, hooks: Hooks, report: Report
) -> tuple[dict[str, Edits], Edits]:
    """Return the device `all` and the driver's files. Raises ConfigError: this is no such WSL."""
    device = Edits()
    nodes = Nodes(dev_root or driver_root, report)
    if not nodes.add(device, NODE):
        raise ConfigError(
            f"no device node {nodes.prefix}{NODE}", hint="this is not WSL 2: --mode nvidia"
        )
    files = Nodes(driver_root, report)
    common = Edits()
    store = _store(files, report)
    paths = [f"{store}/{name}" for name in _REQUIRED]
    for path in [_DXCORE, *paths]:
        if not os.path.isfile(files.host.real(path)):
            report.warn(f"no {path}", "update the driver in Windows, then 'wsl --shutdown'")
    paths += [one.path for name in _OTHERS for one in expand(files.host, f"{store}/{name}")]
    links = []
    for path in dict.fromkeys([_DXCORE, *paths]):
        real = files.host.real(path)
        if not os.path.isfile(real):
            continue
        common.add_mount(path, files.prefix + files.host.inside(real))
        name, soname = os.path.basename(path), elf.soname(real)
        report.add("libraries" if ".so" in name else "files", path)
        if soname not in ("", name):
            links.append((name, f"{store}/{soname}"))
    smi = f"{store}/nvidia-smi"
    links += [(smi, "/usr/bin/nvidia-smi")] if os.path.isfile(files.host.real(smi)) else []
    hooks.add_links(common, links)
    hooks.add_ldcache(common, [store, _LIB])
    report.source = NODE
    report.add("devices", "all")
    return {"all": device}, common


def _store(files: Nodes, report: Report) -> str:
    """Return NVIDIA's folder in the driver store: the newest of several, of which one is in use."""
    found = [one.path for one in expand(files.host, _STORES)]
    if not found:
        raise ConfigError(
            f"no NVIDIA driver found: no {files.prefix}{_STORES}",
            hint="install NVIDIA's driver in Windows, then 'wsl --shutdown'",
        )
    stores = sorted(found, key=lambda path: os.stat(files.host.real(path)).st_mtime_ns)
    if len(stores) > 1:
        others = ", ".join(os.path.dirname(path) for path in stores[:-1])
        report.tell(f"older drivers are left out: {others}")
    return os.path.dirname(stores[-1])
