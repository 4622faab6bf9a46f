"""Whose library counts where image and vendor have one of the same name.

The C library of an image stays its own, whatever lies in the folders a vendor adds.

A driver built with its own libc (NixOS, k8s-device-plugin 1182) may bring libc.so.6 in its folder,
which comes before the image's: every dynamic program of the image would meet a libc that does not
fit its loader. What glibc consists of is taken from the image where it has it.

An image's CUDA compatibility folder counts no longer once enable-cuda-compat has decided against
it: one that lists it in ld.so.conf would win over a driver in a system folder, which comes last
(vllm 32373).
"""

from __future__ import annotations

from ocishim.hooks.outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from ocishim.hooks.ldconfig import Library

# What `make install` of glibc 2.36 and older ones leaves under these names (shlib-versions).
_NAMES = frozenset((
    b"libc.so.6", b"libm.so.6", b"libmvec.so.1", b"libpthread.so.0", b"libdl.so.2", b"librt.so.1",
    b"libresolv.so.2", b"libutil.so.1", b"libanl.so.1", b"libnsl.so.1", b"libBrokenLocale.so.1",
    b"libthread_db.so.1", b"libc_malloc_debug.so.0", b"libnss_files.so.2", b"libnss_dns.so.2",
    b"libnss_compat.so.2", b"libnss_db.so.2", b"libnss_hesiod.so.2",
))  # fmt: skip
_LOADERS = (b"ld-linux", b"ld64.so", b"ld.so")


def is_core(name: bytes) -> bool:
    """Whether a SONAME is one of glibc's own."""
    return name in _NAMES or name.startswith(_LOADERS)


def taken(libraries: Sequence[Library], vendor: Container[str]) -> set[Library]:
    """Return the core libraries in the folders `vendor` of which the image has its own.

    Its own is one of the same name and kind: 32-bit programs have another libc.so.6.
    """
    core = [library for library in libraries if is_core(library.entry.name)]
    foreign = [library for library in core if library.folder.path in vendor]
    if not foreign:
        return set()
    own = {
        (library.entry.name, library.entry.flags)
        for library in core
        if library.folder.path not in vendor
    }
    return {library for library in foreign if (library.entry.name, library.entry.flags) in own}


def outdone(libraries: Sequence[Library], refused: Container[tuple[int, int]]) -> set[Library]:
    """Return the libraries in the folders `refused` (device, inode) of which another has one, too.

    That is one of the same name and kind.
    """
    foreign = [library for library in libraries if library.folder.identity in refused]
    own = {
        (library.entry.name, library.entry.flags) for library in libraries if library not in foreign
    }
    return {library for library in foreign if (library.entry.name, library.entry.flags) in own}


def told(taken: set[Library], why: str = "the image's own come first") -> list[Outcome]:
    """Return one warning for each folder."""
    folders: dict[str, set[str]] = {}
    for library in taken:
        names = folders.setdefault(library.folder.path, set())
        names.add(library.entry.name.decode("utf-8", "backslashreplace"))
    return [
        Outcome(f"{folder}: {', '.join(sorted(names))}: {why}", warning=True)
        for folder, names in sorted(folders.items())
    ]
