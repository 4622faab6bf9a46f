"""The format of /etc/ld.so.cache, read with suspicion, and written.

Source: glibc, sysdeps/generic/dl-cache.h.

Only the format that glibc has had since 2.2 (`ldconfig -c new`): a header, entries sorted by
library name, one string after another, and from 2.33 on an extension with the names of
glibc-hwcaps folders, which entries refer to by number. Loaders of either age read what is written.
Pure; what the entries say is for others to judge.
"""

from __future__ import annotations

import struct

from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sIIB3xI12x")  # entries, length of strings, flags, extension's offset
_ENTRY = struct.Struct("=iIIIQ")  # flags, name's offset, path's offset, OS version, hwcap
_EXTENSION_MAGIC = 0xEAA42174
_SECTION = struct.Struct("=IIII")  # tag, flags, offset, size
_HWCAPS = 1  # tag; 0 names ldconfig's version, for people
_MOST_SECTIONS, _MOST_HWCAPS = 16, 64
_LONGEST = 4096  # bytes of a name or a path with its end: PATH_MAX
_HWCAP_EXTENSION = 1 << 62
"""In an entry's hwcap: its low half is an index of the extension's names."""


class Entry:
    """One library: its SONAME, the path to open, and what the loader compares (kept as it is)."""

    __slots__ = ("flags", "hwcap", "name", "os_version", "path")

    def __init__(self, name: bytes, path: bytes, flags: int, os_version: int, hwcap: int) -> None:
        self.name = name
        self.path = path
        self.flags = flags
        self.os_version = os_version
        self.hwcap = hwcap


class Cache:
    """`entries` in the loader's order, `hwcaps` the names of glibc-hwcaps folders."""

    __slots__ = ("entries", "flags", "hwcaps")

    def __init__(self, entries: list[Entry], hwcaps: Sequence[bytes] = (), flags: int = 0) -> None:
        self.entries = entries
        self.hwcaps = hwcaps
        self.flags = flags  # of the header: the byte order


def parse(data: bytes) -> Cache:
    """Read a cache; DocumentError where it contradicts itself."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise DocumentError("not a library cache of glibc")
    _, count, _, flags, extension = _HEADER.unpack_from(data)
    end = _HEADER.size + count * _ENTRY.size
    if end > len(data):
        raise DocumentError(f"library cache: {count} entries in {len(data)} bytes")
    hwcaps = _hwcaps(data, extension) if extension else []
    entries = []
    for kind, name, path, version, hwcap in _ENTRY.iter_unpack(data[_HEADER.size : end]):
        if hwcap & _HWCAP_EXTENSION and hwcap & 0xFFFFFFFF >= len(hwcaps):
            raise DocumentError("library cache: an entry without its glibc-hwcaps folder")
        entries.append(Entry(_string(data, name), _string(data, path), kind, version, hwcap))
    return Cache(entries, hwcaps, flags)


def _string(data: bytes, offset: int) -> bytes:
    end = data.find(b"\0", offset, offset + _LONGEST)  # entries may share one string
    if offset >= len(data) or end < 0:
        outside = offset + _LONGEST > len(data)
        why = "lies outside of the file" if outside else f"has more than {_LONGEST - 1} bytes"
        raise DocumentError(f"library cache: a string {why}")
    return data[offset:end]


def _hwcaps(data: bytes, offset: int) -> list[bytes]:
    """Read the names that the extension at `offset` has."""
    try:
        magic, count = struct.unpack_from("=II", data, offset)
        if magic != _EXTENSION_MAGIC or count > _MOST_SECTIONS:
            raise DocumentError("library cache: unknown extension")
        for index in range(count):
            at = offset + 8 + index * _SECTION.size
            tag, _, begin, size = _SECTION.unpack_from(data, at)
            if tag == _HWCAPS:
                if size > 4 * _MOST_HWCAPS:
                    raise DocumentError(f"library cache: {size // 4} glibc-hwcaps folders")
                names = struct.unpack_from(f"={size // 4}I", data, begin)
                return [_string(data, name) for name in names]
    except struct.error:
        raise DocumentError("library cache: the extension lies outside of the file") from None
    return []


def build(cache: Cache) -> bytes:
    """Write the cache anew; a name that ends its path needs no place of its own."""
    at = _HEADER.size + len(cache.entries) * _ENTRY.size
    table, strings = [], []
    for entry in cache.entries:
        text = entry.path + b"\0"
        if not entry.path.endswith(entry.name):
            text += entry.name + b"\0"
        name = at + len(text) - len(entry.name) - 1
        table.append(_ENTRY.pack(entry.flags, name, at, entry.os_version, entry.hwcap))
        strings.append(text)
        at += len(text)
    names = []
    for hwcap in cache.hwcaps:
        names.append(at)
        strings.append(hwcap + b"\0")
        at += len(hwcap) + 1
    body = b"".join(strings)
    extension = -(-at // 4) * 4 if names else 0
    header = _HEADER.pack(_MAGIC, len(table), len(body), cache.flags, extension)
    whole = header + b"".join(table) + body
    return whole + bytes(extension - at) + _extension(extension, names) if names else whole


def _extension(offset: int, names: list[int]) -> bytes:
    begin = offset + 8 + _SECTION.size
    head = struct.pack("=II", _EXTENSION_MAGIC, 1)
    return (
        head
        + _SECTION.pack(_HWCAPS, 0, begin, 4 * len(names))
        + struct.pack(f"={len(names)}I", *names)
    )
