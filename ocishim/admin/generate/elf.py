"""What an ELF file says of itself: its class and machine, its SONAME, the loader it asks for."""

from __future__ import annotations

import struct
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from ocishim.admin.editing import files

MACHINES = {"x86_64": (2, 62), "aarch64": (2, 183)}
"""Machine (uname -m): class (2: 64 bit) and e_machine of its programs, elf(5)."""


def is_elf(path: str) -> bool:
    """Whether the file at `path` begins as ELF files do; not when it cannot be read."""
    return _header(path)[:4] == b"\x7fELF"


def is_foreign(path: str, machine: str) -> bool:
    """Whether `path` is an ELF file of another class or machine. What is no ELF file is not."""
    header = _header(path)
    if header[:4] != b"\x7fELF" or len(header) < 20:
        return False
    order = ">" if header[5] == 2 else "<"
    return (header[4], struct.unpack_from(order + "H", header, 18)[0]) != MACHINES[machine]


class Names(NamedTuple):
    """A library's SONAME, "" without, and those of the libraries that it is loaded with."""

    soname: str = ""
    needed: tuple[str, ...] = ()


def names(path: str) -> Names:
    """Return the names in the library at `path`, none when it is no ELF file."""
    try:
        with files.opened(path) as file:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, DynamicSection):
                    own = [getattr(tag, "soname", "") for tag in section.iter_tags("DT_SONAME")]
                    others = [getattr(tag, "needed", "") for tag in section.iter_tags("DT_NEEDED")]
                    return Names(str(own[0]) if own else "", tuple(map(str, others)))
    except (ELFError, OSError, UnicodeDecodeError):
        pass
    return Names()


def soname(path: str) -> str:
    """Return the SONAME in the library at `path`, "" when there is none or it is no ELF file."""
    return names(path).soname


def interpreter(path: str) -> str:
    """Return the loader that the program at `path` asks for, "" when it is static or no ELF."""
    try:
        with files.opened(path) as file:
            for segment in ELFFile(file).iter_segments():
                if isinstance(segment, InterpSegment):
                    return str(segment.get_interp_name())
    except (ELFError, OSError, UnicodeDecodeError):
        pass
    return ""


def _header(path: str) -> bytes:
    try:
        with files.opened(path) as file:
            return file.read(20)
    except OSError:
        return b""
