"""update-ldcache: make the container's loader find libraries in given folders.

Flags: --folder DIR, repeatable; --ldconfig-path PATH, a program of the host. What the container's
own ld.so.conf does not name yet is written to one file in its ld.so.conf.d, then the host's
ldconfig makes /etc/ld.so.cache, and the links by SONAME with it. Images with musl get their
folders in musl's own file; they have no use for the cache, unless they have glibc as well.

ldconfig is given every folder on its command line, in the order of the files: our folder file,
the image's files, then the system folders of the image's distribution, which need not be those of
the host's. It reads no file of the image that names folders, so that none can hold it up, and an
image whose ld.so.conf includes nothing is served without being edited.
"""

from __future__ import annotations

from ocishim import posixos as os
from ocishim.errors import HookError, UnsafePathError, UsageError
from ocishim.hooks import arch, flags, ldconf, ldconfig, musl
from ocishim.hooks.change import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs import Rootfs

NAME = "update-ldcache"

FOLDERS_FILE = "/etc/ld.so.conf.d/00-pyshim.conf"
"""Read before all other files of the folder, save the one of enable-cuda-compat."""

CUDA_COMPAT_FILE = "/etc/ld.so.conf.d/00-pyshim-cuda-compat.conf"
"""Sorts before FOLDERS_FILE, "-" before ".": compatibility libraries come first."""

_INCLUDE_ALL = b"include /etc/ld.so.conf.d/*.conf\n"
_CACHE = "/etc/ld.so.cache"
# ldconfig opens these to write, whatever they are.
_TEMPORARY = (f"{_CACHE}~", "/var/cache/ldconfig/aux-cache~")


class Request:
    """Folders to search, absolute in the container; the path of the host's ldconfig."""

    __slots__ = ("folders", "ldconfig_path")

    def __init__(self, folders: list[str], ldconfig_path: str) -> None:
        self.folders = folders
        self.ldconfig_path = ldconfig_path


def parse(args: list[str]) -> Request:
    """Return the folders, each once, in order; UsageError names the bad value."""
    values = flags.parse(args, ("folder", "ldconfig-path"))
    folders = dict.fromkeys(ldconfig.folder(text) for text in values["folder"])
    path = flags.last(values, "ldconfig-path", ldconfig.DEFAULT_PATH)
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"--ldconfig-path {path!r} is not an absolute path")
    return Request(list(folders), path)


def merge(requests: list[Request]) -> Request:
    """One request for all: the folders in order; the last ldconfig that is not the default."""
    folders = dict.fromkeys(folder for request in requests for folder in request.folders)
    named = [r.ldconfig_path for r in requests if r.ldconfig_path != ldconfig.DEFAULT_PATH]
    return Request(list(folders), named[-1] if named else ldconfig.DEFAULT_PATH)


def apply(rootfs: Rootfs, request: Request) -> list[Change]:
    """Bring folder files and cache up to date; HookError or UnsafePathError if that fails."""
    machine = arch.host()
    conf = ldconf.load(rootfs, without=(FOLDERS_FILE,))
    system = machine.system_folders(debian=rootfs.exists("/etc/debian_version"))
    folders = [f for f in request.folders if f not in conf.folders and f not in system]
    changes = _write_folders(rootfs, folders)
    if musl.is_musl(rootfs, machine) and musl.add(rootfs, machine, request.folders):
        changes.append(Change(f"{machine.musl_path_file}: folders added"))
    order = [*_cuda_compat(rootfs), *folders, *conf.folders, *system]
    _make_cache(rootfs, request.ldconfig_path, list(dict.fromkeys(order)))
    changes.append(Change(f"{_CACHE}: made by the host's {request.ldconfig_path}"))
    return changes


def _write_folders(rootfs: Rootfs, folders: list[str]) -> list[Change]:
    """Write ours, and an ld.so.conf where there is none. A second start finds them as they are."""
    changes = []
    if not rootfs.exists(ldconf.MAIN):
        _put(rootfs, ldconf.MAIN, _INCLUDE_ALL)
        changes.append(Change(f"{ldconf.MAIN}: made, includes ld.so.conf.d"))
    if not folders and not rootfs.exists(FOLDERS_FILE):
        return changes
    text = "".join(f"{folder}\n" for folder in folders)
    if _put(rootfs, FOLDERS_FILE, os.fsencode(text)):
        changes.append(Change(f"{FOLDERS_FILE}: {', '.join(folders) or 'no folder'}"))
    return changes


def _put(rootfs: Rootfs, path: str, data: bytes) -> bool:
    try:
        return rootfs.put_file(path, data, 0o644)
    except OSError as error:
        raise HookError(f"{path}: {error.strerror}") from error


def _cuda_compat(rootfs: Rootfs) -> list[str]:
    """The folder that enable-cuda-compat chose, also where ld.so.conf does not lead to its file."""
    try:
        text = rootfs.read(CUDA_COMPAT_FILE, ldconf.LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [value for word, value in ldconf.entries(text) if word == "folder"]


def _make_cache(rootfs: Rootfs, path: str, folders: list[str]) -> None:
    for temporary in _TEMPORARY:
        _remove(rootfs, temporary)
    try:
        # -f /: no file with folders is read (a directory reads as empty). -i: neither is the
        # image's auxiliary cache, which may be anything.
        ldconfig.run(rootfs, path, ["-i", "-f", "/", "-C", _CACHE, *folders])
    except HookError:
        _remove(rootfs, _TEMPORARY[0])
        raise


def _remove(rootfs: Rootfs, path: str) -> None:
    """Remove what a killed ldconfig left, or an image put there; ldconfig tells if it stays."""
    try:
        rootfs.unlink(path)
    except (OSError, UnsafePathError):
        pass
