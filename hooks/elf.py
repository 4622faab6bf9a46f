"""A small bounded reader of little-endian ELF files: what hooks must know of one.

64-bit ones, but for the SONAME, which libraries of 32-bit programs have as well.

It reads through a function `read(size, offset) -> bytes` (os.pread on a descriptor), never more
than the limits below, whatever a header claims. Layouts: elf(5), System V gABI.
"""

from __future__ import annotations

import struct

from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]

_IDENT = b"\x7fELF\x02\x01"  # magic, 64 bit, little-endian
_HEADER_SIZE, _SEGMENT_SIZE, _SECTION_SIZE = 64, 56, 64
_LARGEST_ENTRY = _SECTION_SIZE  # bytes; the field may say 65535
_MOST_ENTRIES = 1024  # segments, sections; libcuda.so has 40
_LONGEST_NOTE = 65536
_LONGEST_NAMES = 1 << 20
_EXECUTABLE, _SHARED = 2, 3  # e_type; a static program at any address (static-pie) is ET_DYN
_PT_INTERP = 3
_SHT_NOTE = 7


class Header:
    """The ELF header: `kind` (e_type), `machine`, and where the two tables lie."""

    __slots__ = ("kind", "machine", "names_index", "sections", "segments")

    def __init__(self, data: bytes) -> None:
        fields = struct.unpack_from("<HHIQQQIHHHHHH", data, 16)
        self.kind, self.machine = fields[0], fields[1]
        # (offset, entry size, number of entries)
        self.segments = (fields[4], fields[8], fields[9])
        self.sections = (fields[5], fields[10], fields[11])
        self.names_index = fields[12]


def header(read: Read) -> Header:
    """Return the header; DocumentError when the file is no 64-bit little-endian ELF."""
    data = read(_HEADER_SIZE, 0)
    if len(data) < _HEADER_SIZE or not data.startswith(_IDENT):
        raise DocumentError("not a 64-bit little-endian ELF file")
    return Header(data)


def _table(read: Read, where: tuple[int, int, int], size: int, what: str) -> list[bytes]:
    offset, entry_size, count = where
    if not count:
        return []
    if not size <= entry_size <= _LARGEST_ENTRY or count > _MOST_ENTRIES:
        raise DocumentError(f"ELF {what} table with {count} entries of {entry_size} bytes")
    data = _exactly(read, entry_size * count, offset, f"{what} table")
    return [data[i : i + size] for i in range(0, len(data), entry_size)]


def _exactly(read: Read, size: int, offset: int, what: str) -> bytes:
    # Offsets are 64 bits wide; pread takes 63.
    data = read(size, offset) if offset < 1 << 62 else b""
    if len(data) < size:
        raise DocumentError(f"ELF {what} lies outside of the file")
    return data


def require_static_program(read: Read, machine: int) -> None:
    """DocumentError unless the file is a program for `machine` that needs no other file to run.

    A dynamic one's loader and libraries would be looked up where it runs.
    """
    found = header(read)
    if found.machine != machine:
        raise DocumentError(f"an ELF file for machine {found.machine}, not {machine}")
    if found.kind not in (_EXECUTABLE, _SHARED):
        raise DocumentError("an ELF file, but no program")
    segments = _table(read, found.segments, _SEGMENT_SIZE, "segment")
    if not segments:
        raise DocumentError("an ELF file, but no program")
    if any(struct.unpack_from("<I", entry)[0] == _PT_INTERP for entry in segments):
        raise DocumentError("dynamically linked: its loader would come from the image")


def note(read: Read, section: str, owner: str) -> bytes | None:
    """Return the content of the first note of `owner` in the note section called `section`.

    None when there is none; DocumentError when the file contradicts itself.
    """
    found = header(read)
    sections = _table(read, found.sections, _SECTION_SIZE, "section")
    if found.names_index >= len(sections):
        return None
    names = _content(read, sections[found.names_index], _LONGEST_NAMES)
    for entry in sections:
        name_at, kind = struct.unpack_from("<II", entry)
        name = names[name_at : names.find(b"\0", name_at)]
        if kind == _SHT_NOTE and name == section.encode():
            align = struct.unpack_from("<Q", entry, 48)[0]
            return _note_of(_content(read, entry, _LONGEST_NOTE), align, owner.encode())
    return None


def _content(read: Read, entry: bytes, limit: int) -> bytes:
    offset, size = struct.unpack_from("<QQ", entry, 24)
    if size > limit:
        raise DocumentError(f"ELF section of {size} bytes, more than {limit}")
    return _exactly(read, size, offset, "section")


def _note_of(data: bytes, align: int, owner: bytes) -> bytes | None:
    """The descriptor of the first note (Elf64_Nhdr: three words) whose name is `owner`."""
    align = 8 if align == 8 else 4  # gABI: 4, GNU property notes: 8
    at = 0
    while at + 12 <= len(data):
        name_size, size, _ = struct.unpack_from("<III", data, at)
        begin = at + 12 + -(-name_size // align) * align
        end = begin + size
        if end > len(data):
            raise DocumentError("ELF note lies outside of its section")
        if size and data[at + 12 : at + 12 + name_size].rstrip(b"\0") == owner:
            return data[begin:end].strip(b"\0")
        at = -(-end // align) * align
    return None


class _Class:
    """Where the fields lie that differ between 32-bit and 64-bit files; elf.h."""

    __slots__ = ("dynamic", "header", "segment", "tables")

    def __init__(self, header: int, tables: str, segment: str, dynamic: str) -> None:
        self.header = header  # bytes
        self.tables = struct.Struct(tables)  # e_phoff at 28 or 32 ... e_phentsize, e_phnum
        self.segment = struct.Struct(segment)
        self.dynamic = struct.Struct(dynamic)


_CLASSES = {
    b"\x7fELF\x01\x01": _Class(52, "<28xI10xHH", "<IIIIII8x", "<iI"),
    b"\x7fELF\x02\x01": _Class(64, "<32xQ14xHH", "<II4Q16x", "<qQ"),
}
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_STRTAB, _DT_SONAME = 0, 5, 14
_LARGEST_DYNAMIC = 65536  # bytes; libcuda.so has 600
_LONGEST_SONAME = 255


class Library:
    """What the loader asks of a library: 32 or 64 `bits`, its machine; its SONAME, b"" for none."""

    __slots__ = ("bits", "machine", "soname")

    def __init__(self, bits: int, machine: int, soname: bytes) -> None:
        self.bits = bits
        self.machine = machine
        self.soname = soname


def library(read: Read) -> Library:
    """Return what the file says of itself; DocumentError when it is no library, or cut off."""
    head = read(_HEADER_SIZE, 0)
    layout = _CLASSES.get(head[:6])
    if layout is None or len(head) < layout.header:
        raise DocumentError("not a little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", head, 16)
    if kind != _SHARED:
        raise DocumentError("an ELF file, but no library")
    return Library(64 if layout.header == _HEADER_SIZE else 32, machine, soname(read))


def soname(read: Read) -> bytes:
    """Return the library's DT_SONAME, b"" when it has none.

    DocumentError for no ELF file, one that is cut off, or not dynamic.
    """
    head = read(_HEADER_SIZE, 0)
    layout = _CLASSES.get(head[:6])
    if layout is None or len(head) < layout.header:
        raise DocumentError("not a little-endian ELF file")
    segments = _table(read, layout.tables.unpack_from(head), layout.segment.size, "segment")
    loads, dynamic = [], (0, 0)
    for entry in segments:
        kind, offset, address, size = _segment(layout, entry)
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, min(size, _LARGEST_DYNAMIC))
    tags = _tags(layout, _exactly(read, dynamic[1], dynamic[0], "dynamic section"))
    if _DT_STRTAB not in tags:
        raise DocumentError("an ELF file without a dynamic section")
    strings = _offset_of(tags[_DT_STRTAB], loads)
    if _DT_SONAME not in tags:
        return b""
    place = strings + tags[_DT_SONAME]
    text = read(_LONGEST_SONAME + 1, place) if place < 1 << 62 else b""
    name, end, _ = text.partition(b"\0")
    if not end:
        raise DocumentError(f"ELF SONAME of more than {_LONGEST_SONAME} bytes, or cut off")
    return name


def _segment(layout: _Class, entry: bytes) -> tuple[int, int, int, int]:
    """(p_type, p_offset, p_vaddr, p_filesz)."""
    fields = layout.segment.unpack(entry)
    if layout.header == _HEADER_SIZE:  # p_flags comes second there
        kind, _, offset, address, _, size = fields
    else:
        kind, offset, address, _, size, _ = fields
    return kind, offset, address, size


def _tags(layout: _Class, data: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    whole = len(data) - len(data) % layout.dynamic.size
    for tag, value in layout.dynamic.iter_unpack(data[:whole]):
        if tag == _DT_NULL:
            break
        found.setdefault(tag, value)
    return found


def _offset_of(address: int, loads: list[tuple[int, int, int]]) -> int:
    """Where in the file lies what will be at `address` in memory."""
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise DocumentError("ELF string table lies outside of the file")
