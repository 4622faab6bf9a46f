"""A library cache made without ldconfig, for hosts that have none (Talos, Bottlerocket, musl).

Folders and their order are those that ldconfig would be told, and so is what counts there: shared
libraries for this machine that everybody may read, by SONAME, else by their file's name; of several
with one SONAME in a folder a file before a link, then the highest version. Every file is found by
the view's descriptors and read by hooks/elf.py. What is written is judged like ldconfig's.

Folders named glibc-hwcaps are not looked into: they have the same libraries once more, built for
newer processors, and those in the folder itself serve any.

Source: glibc 2.36, elf/ldconfig.c (search_dir), elf/cache.c (compare), elf/readelflib.c.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import DocumentError, UnsafePathError
from ocishim.hooks import arch, elf, ldcache, libview, soname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

MOST = 8192
"""Libraries that are read, of the image's own folders and of others' together: 0.12 ms each."""

_LITTLE_ENDIAN = 2  # in the header; glibc before 2.33 does not look


class _Folder:
    """The libraries of one folder, each read once. unread: what could not be, and why."""

    __slots__ = ("_folder", "_machine", "_read", "_rootfs", "unread")

    def __init__(self, rootfs: Rootfs, folder: libview.Folder, machine: arch.Arch) -> None:
        self._rootfs = rootfs
        self._folder = folder
        self._machine = machine
        self._read: dict[str, elf.Library | None] = {}
        self.unread: list[str] = []

    def entries(self, names: list[str], path: bytes) -> list[ldcache.Entry]:
        """Return one entry for each SONAME among the files and links `names`."""
        best: dict[bytes, tuple[bool, list[tuple[bool, int]]]] = {}
        flags: dict[bytes, int] = {}
        for text in names:
            library = self._library(text)
            if library is None:
                continue
            name, is_link = _called(
                posixos.fsencode(text), library.soname, link=self._is_link(text)
            )
            worth = (not is_link, soname.order(posixos.fsencode(text)))
            if name not in best or worth > best[name]:
                best[name] = worth
                flags[name] = self._machine.cached[library.bits, library.machine]
        return [ldcache.Entry(n, b"%b/%b" % (path, n), f, 0, 0) for n, f in flags.items()]

    def _is_link(self, name: str) -> bool:
        return name not in self._folder.files

    def _library(self, name: str) -> elf.Library | None:
        """What the file or link `name` leads to; None for no library of this machine."""
        if name not in self._folder.covers:
            name = self._folder.target(name)
        if name not in self._read:
            self._read[name] = self._look(name) if name else None
        return self._read[name]

    def _look(self, name: str) -> elf.Library | None:
        try:
            library = self._opened(name)
        except (UnsafePathError, DocumentError):
            return None
        except OSError as error:
            if error.errno in libview.TOLD:
                self.unread.append(f"{name} ({error.strerror})")
            return None
        known = library and (library.bits, library.machine) in self._machine.cached
        return library if known else None

    def _opened(self, name: str) -> elf.Library:
        fd = libview.read_at(self._folder, self._rootfs, name)
        try:
            return elf.library(lambda size, offset: posixos.pread(fd, size, offset))
        finally:
            posixos.close(fd)


def _called(name: bytes, own: bytes, *, link: bool) -> tuple[bytes, bool]:
    """The name a program asks for, and whether the file `name` is a link that has it.

    That is one called as its SONAME, or libx.so, there for ld(1); any other counts as a file.
    """
    if link and (not own or name == own or (name.endswith(b".so") and own.startswith(name))):
        return name, True
    return own or name, False


def write(rootfs: Rootfs, view: libview.View) -> bytes:
    """Return a cache of the view's folders, which are "/0", "/1"... in it, as for ldconfig.

    Warnings in the view say which folders have more than MOST, and what could not be read.
    """
    machine = arch.host()
    entries: list[ldcache.Entry] = []
    left = {True: MOST, False: MOST}
    for number, folder in enumerate(view.folders):
        names = sorted(filter(libview.is_library, {*folder.files, *folder.links}))
        if len(names) > left[folder.own]:
            view.warn(f"{folder.path}: more than {MOST} libraries, the rest is left out")
        libraries = _Folder(rootfs, folder, machine)
        names = names[: left[folder.own]]
        entries += libraries.entries(names, b"/%d" % number)
        view.outcomes += soname.told_unread(folder, libraries.unread)
        left[folder.own] -= len(names)
    # As the loader searches; of one name and kind, the first folder's stays the first.
    entries.sort(
        key=lambda entry: (soname.order(entry.name, signed=machine.signed), entry.flags),
        reverse=True,
    )
    return ldcache.build(ldcache.Cache(entries, flags=_LITTLE_ENDIAN))
