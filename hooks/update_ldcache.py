"""update-ldcache: make the container's loader find libraries in given folders.

Flags: --folder DIR, repeatable; --ldconfig-path PATH, a program of the host. What the container's
own ld.so.conf does not name yet is written to one file in its ld.so.conf.d; the host's ldconfig
looks through the folders (pyshim does where there is none), and from what is found
/etc/ld.so.cache is written, and the links by SONAME that the request's folders lack. Images with
musl get their folders in musl's own file; they have no use for the cache, unless they have glibc as
well.

ldconfig is given every folder, in the order of the files: our folder file, the image's files, then
the system folders of the image's distribution, which need not be those of the host's. It reads no
file of the image that names folders, so that none can hold it up, and an image whose ld.so.conf
includes nothing is served without being edited. The image's own C library stays the first.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import ForeignMountError, HookError, UsageError
from ocishim.hooks import (
    arch,
    corelibs,
    flags,
    ldcache,
    ldconf,
    ldconfig,
    libview,
    musl,
    soname,
)  # fmt: skip
from ocishim.hooks.outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "update-ldcache"

FOLDERS_FILE = "/etc/ld.so.conf.d/00-pyshim.conf"
"""Read before all other files of the folder, save the one of enable-cuda-compat."""

CUDA_COMPAT_FILE = "/etc/ld.so.conf.d/00-pyshim-cuda-compat.conf"
"""Sorts before FOLDERS_FILE, "-" before ".": compatibility libraries come first."""

_INCLUDE_ALL = b"include /etc/ld.so.conf.d/*.conf\n"
_CACHE = "/etc/ld.so.cache"


class Request:
    """Folders to search, absolute in the container; the path of the host's ldconfig."""

    __slots__ = ("folders", "ldconfig_path")

    def __init__(self, folders: list[str], ldconfig_path: str) -> None:
        self.folders = folders
        self.ldconfig_path = ldconfig_path


def parse(args: list[str]) -> Request:
    """Return the folders, each once, in order; UsageError names the bad value."""
    values = flags.of(NAME, args)
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


def apply(rootfs: Rootfs, request: Request) -> list[Outcome]:
    """Bring folder files and cache up to date; HookError or UnsafePathError if that fails."""
    machine = arch.host()
    # What is read here ends in files that everybody in the container can read.
    with rootfs.container().reading():
        conf = ldconf.load(rootfs, without=(FOLDERS_FILE,))
        compat = _cuda_compat(rootfs, conf)
        system = machine.system_folders(debian=_is_debians(rootfs, machine))
        is_musl = musl.is_musl(rootfs, machine)
    folders = [f for f in request.folders if f not in conf.folders and f not in system]
    order = dict.fromkeys([*compat, *folders, *conf.folders, *system])
    with libview.View(rootfs) as view:
        view.add(order, request.folders)
        data, maker = _cache(rootfs, request.ldconfig_path, view)
        cache, libraries = ldconfig.explained(data, view.folders)
        taken = corelibs.taken(libraries, folders)
        outdone = corelibs.outdone(libraries, rootfs.refused)
        outcomes = [*view.outcomes, *corelibs.told(taken)]
        outcomes += corelibs.told(outdone, "enable-cuda-compat decided for the driver's")
        libraries = [library for library in libraries if library not in taken | outdone]
        outcomes += _linked(rootfs, view, libraries)
        links = _development(view, libraries)
    cache.entries = [library.entry for library in libraries if library.entry.path]
    for entry in links:
        _insert(cache.entries, entry, signed=machine.signed)
    first = [*system, *folders] if taken else folders
    return [
        *(Outcome(sentence, warning=True) for sentence in conf.left),
        *_write_folders(rootfs, conf, first),
        *(_write_musl(rootfs, machine, request.folders) if is_musl else ()),
        *outcomes,
        *_put(rootfs, _CACHE, ldcache.build(cache), f"made by {maker}"),
    ]


def _is_debians(rootfs: Rootfs, machine: arch.Arch) -> bool:
    """Whether the image's loader looks into Debian's folders; chiselled Ubuntu has no release."""
    return rootfs.exists("/etc/debian_version") or any(
        rootfs.owns(f"{folder}/libc.so.6") for folder in machine.multiarch
    )


def _cache(rootfs: Rootfs, path: str, view: libview.View) -> tuple[bytes, str]:
    """Return a cache of the view's folders, and who made it: ldconfig, if the host has one."""
    try:
        return ldconfig.run(path, view), f"the host's {path}"
    except ldconfig.NoCacheError as why:
        from ocishim.hooks import cachewriter  # noqa: PLC0415 - few hosts have no ldconfig

        view.warn(f"{why.message}: pyshim makes {_CACHE} itself")
    return cachewriter.write(rootfs, view), "pyshim"


def _linked(rootfs: Rootfs, view: libview.View, libraries: list[ldconfig.Library]) -> list[Outcome]:
    """Give every library the path of a file, and make the links that the request's folders lack.

    ldconfig writes the SONAME's link, which it would have made. One without a file has no path.
    """
    outcomes = []
    for folder in view.folders:
        mine = [library for library in libraries if library.folder is folder]
        known = soname.Sonames(rootfs, folder)
        unlinked: dict[str, str] = {}
        names = [library.file for library in mine if "/" not in library.file]
        if folder.wanted:
            made, unlinked = soname.link(rootfs, folder, names, known)
            outcomes += made
        else:
            unlinked = {n: known.file_of(n) for n in names if not folder.leads(n)}
            outcomes += soname.told_unread(folder, known.unread)
        for library in mine:
            file = unlinked.get(library.file, library.file)
            path = posixos.fsencode(f"{folder.path.rstrip('/')}/{file}") if file else b""
            library.entry.path = path
    return outcomes


def _development(view: libview.View, libraries: list[ldconfig.Library]) -> list[ldcache.Entry]:
    """Return what ldconfig would have listed, had the links by SONAME been there: `libcuda.so`.

    A spec makes that link to libcuda.so.1, which nobody has made by then; dlopen(3) asks for it.
    """
    found = []
    for folder in view.folders:
        known = {
            posixos.fsdecode(lib.entry.name): lib.entry for lib in libraries if lib.folder is folder
        }
        for name, target in sorted(folder.links.items() if folder.wanted else ()):
            own = known.get(target)
            if name.endswith(".so") and name not in known and own and own.path:
                path = posixos.fsencode(f"{folder.path.rstrip('/')}/{name}")
                entry = ldcache.Entry(
                    posixos.fsencode(name), path, own.flags, own.os_version, own.hwcap
                )
                found.append(entry)
    return found


def _insert(entries: list[ldcache.Entry], entry: ldcache.Entry, *, signed: bool) -> None:
    """Put `entry` where the loader, which halves the list, looks for its name."""
    place = soname.order(entry.name, signed=signed)
    later = (soname.order(other.name, signed=signed) < place for other in entries)
    entries.insert(next((i for i, is_later in enumerate(later) if is_later), len(entries)), entry)


def _write_folders(rootfs: Rootfs, conf: ldconf.Conf, folders: list[str]) -> list[Outcome]:
    """Write ours, and an ld.so.conf where there is none. A second start finds them as they are."""
    outcomes = []
    if ldconf.MAIN in conf.absent:
        outcomes += _put(rootfs, ldconf.MAIN, _INCLUDE_ALL, "made, includes ld.so.conf.d")
    if not folders and not _has_ours(rootfs):
        return outcomes
    text = "".join(f"{folder}\n" for folder in folders)
    told = ", ".join(folders) or "no folder"
    return outcomes + _put(rootfs, FOLDERS_FILE, posixos.fsencode(text), told)


def _has_ours(rootfs: Rootfs) -> bool:
    with rootfs.container().reading():
        return rootfs.exists(FOLDERS_FILE)


def _write_musl(rootfs: Rootfs, machine: arch.Arch, folders: list[str]) -> list[Outcome]:
    try:
        text = musl.missing(rootfs, machine, folders)
    except ForeignMountError as error:
        return [Outcome(f"{error.message}: left as it is", warning=True)]
    except PermissionError:
        why = "the container's user may not read it"
        return [Outcome(f"{machine.musl_path_file}: {why}: left as it is", warning=True)]
    return _put(rootfs, machine.musl_path_file, text, "folders added") if text else []


def _put(rootfs: Rootfs, path: str, data: bytes, told: str) -> list[Outcome]:
    """Write a file of the container's; a warning where it is somebody else's."""
    try:
        changed = rootfs.put_file(path, data, 0o644)
    except ForeignMountError as error:
        return [Outcome(f"{error.message}: not written: {told}", warning=True)]
    except OSError as error:
        raise HookError(f"{path}: {error.strerror}") from error
    return [Outcome(f"{path}: {told}")] if changed else []


def _cuda_compat(rootfs: Rootfs, conf: ldconf.Conf) -> list[str]:
    """The folder that enable-cuda-compat chose, also where ld.so.conf does not lead to its file."""
    text, own = ldconf.read(rootfs, CUDA_COMPAT_FILE, conf)
    return [value for word, value in ldconf.entries(text) if word == "folder"] if own else []
