"""Where a root's loader looks for libraries: its ld.so.cache and ld.so.conf, read and not run.

A driver root is not always a root that programs can be run in, and its ldconfig may be another
machine's: the cache's form is glibc's (sysdeps/generic/dl-cache.h), the same since 1999.
"""

from __future__ import annotations

import fnmatch
import os
import struct

from ocishim.admin.editing import files
from ocishim.admin.host import Host

_CACHE = "/etc/ld.so.cache"
_CONF = "/etc/ld.so.conf"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = 48
_ENTRY = struct.Struct("=iIIIQ")
_FLAGS = {"x86_64": 0x0300, "aarch64": 0x0A00}
"""Machine: the architecture's part of an entry's flags."""
_MAX_BYTES = 64 << 20
_MAX_DEPTH = 8


def cached(host: Host, machine: str) -> list[str]:
    """Return the paths of the machine's libraries in the root's ld.so.cache; none without one."""
    data = _read(host, _CACHE)
    start = data.find(_MAGIC)
    if start < 0 or len(data) < start + _HEADER:
        return []
    count = struct.unpack_from("=I", data, start + len(_MAGIC))[0]
    found = []
    for number in range(min(count, (len(data) - start - _HEADER) // _ENTRY.size)):
        place = start + _HEADER + number * _ENTRY.size
        flags, _key, value, _version, _hwcap = _ENTRY.unpack_from(data, place)
        if flags & 0xFF00 == _FLAGS[machine]:
            text = data[start + value : start + value + 4096].split(b"\0", 1)[0]
            found.append(os.fsdecode(text))
    return [path for path in found if path.startswith("/")]


def configured(host: Host) -> list[str]:
    """Return the folders that the root's ld.so.conf names, what it includes read in place."""
    return list(dict.fromkeys(_configured(host, _CONF, 0)))


def _configured(host: Host, path: str, depth: int) -> list[str]:
    found: list[str] = []
    for line in os.fsdecode(_read(host, path)).splitlines():
        words = line.partition("#")[0].replace(",", " ").replace(":", " ").split()
        if words[:1] == ["include"]:
            for pattern in words[1:] if depth < _MAX_DEPTH else ():
                for name in _matches(host, pattern, os.path.dirname(path)):
                    found += _configured(host, name, depth + 1)
        elif words[:1] != ["hwcap"]:
            found += [word for word in words if word.startswith("/")]
    return found


def _matches(host: Host, pattern: str, base: str) -> list[str]:
    folder, name = os.path.split(os.path.join(base, pattern))
    return [f"{folder}/{one}" for one in fnmatch.filter(host.listdir(folder), name)]


def _read(host: Host, path: str) -> bytes:
    try:
        return files.content(host.target(path), _MAX_BYTES)
    except OSError:
        return b""
