"""ocishim.hooks.elf: what it finds, and that no file makes it fail in another way than by its error."""

from __future__ import annotations

import os
import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocishim.errors import DocumentError
from ocishim.hooks import arch, elf
from tests import libs

MACHINE = arch.host().elf_machine


def reader(data: bytes) -> elf.Read:
    return lambda size, offset: data[offset : offset + size]


def patched(data: bytes, at: int, layout: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


@pytest.fixture(scope="module")
def static() -> bytes:
    return libs.static_program("int main(void) { return 0; }").read_bytes()


@pytest.fixture(scope="module")
def compat() -> bytes:
    return libs.compat_library(b'{"format": 1}').read_bytes()


@pytest.mark.parametrize(("at", "what"), [
    pytest.param(54, "segment", id="segments"), pytest.param(58, "section", id="sections"),
])  # fmt: skip
def test_entries_of_another_size_are_not_read(
    static: bytes, compat: bytes, at: int, what: str
) -> None:
    """1024 of 64 KiB would be 64 MiB. Found by tests/fuzz."""
    asked = []
    data = patched(static if what == "segment" else compat, at, "<I", 65535 | 1024 << 16)

    def read(size: int, offset: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    def look() -> None:
        if what == "segment":
            elf.require_static_program(read, MACHINE)
        else:
            elf.note(read, ".note.cuda", "NVIDIA")

    with pytest.raises(DocumentError) as caught:
        look()
    assert caught.value.message == f"ELF {what} table with 1024 entries of 65535 bytes"
    assert max(asked) == 64


def test_a_static_program_is_taken(static: bytes) -> None:
    elf.require_static_program(reader(static), MACHINE)


def test_the_hosts_ldconfig_is_taken() -> None:
    path = "/sbin/ldconfig.real" if os.path.exists("/sbin/ldconfig.real") else "/sbin/ldconfig"
    with open(path, "rb") as file:
        elf.require_static_program(reader(file.read()), MACHINE)


def test_a_dynamic_program_is_refused() -> None:
    with open(str(shutil.which("true")), "rb") as file:
        data = file.read()
    with pytest.raises(DocumentError, match="dynamically linked: its loader would come"):
        elf.require_static_program(reader(data), MACHINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda _: b"", "not a 64-bit little-endian ELF file", id="empty"),
        pytest.param(
            lambda _: b"#!/bin/sh\n" * 9, "not a 64-bit little-endian ELF file", id="script"
        ),
        pytest.param(lambda d: d[:63], "not a 64-bit little-endian ELF file", id="cut in header"),
        pytest.param(
            lambda d: patched(d, 4, "B", 1), "not a 64-bit little-endian ELF file", id="32 bit"
        ),
        pytest.param(
            lambda d: patched(d, 18, "<H", 8),
            f"an ELF file for machine 8, not {MACHINE}",
            id="MIPS",
        ),
        pytest.param(lambda d: patched(d, 16, "<H", 1), "an ELF file, but no program", id="object"),
        pytest.param(
            lambda d: patched(d, 56, "<H", 0), "an ELF file, but no program", id="no segments"
        ),
        pytest.param(
            lambda d: patched(d, 56, "<H", 0xFFFF),
            "ELF segment table with 65535 entries of 56 bytes",
            id="many segments",
        ),
        pytest.param(
            lambda d: patched(d, 32, "<Q", 1 << 63),
            "ELF segment table lies outside of the file",
            id="offset beyond pread",
        ),
    ],
)
def test_what_is_no_static_program(static: bytes, change: object, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        elf.require_static_program(reader(change(static)), MACHINE)  # type: ignore[operator]
    assert caught.value.message == message


def test_the_note_is_found(compat: bytes) -> None:
    note = elf.note(reader(compat), ".note.cuda.fwd_compatibility", "NVIDIA Corporation")
    assert note == b'{"format": 1}'


@pytest.mark.parametrize(
    ("section", "owner"),
    [(".note.other", "NVIDIA Corporation"), (".note.cuda.fwd_compatibility", "ACME")],
)
def test_other_notes_are_not_it(compat: bytes, section: str, owner: str) -> None:
    assert elf.note(reader(compat), section, owner) is None


def test_a_library_without_sections(compat: bytes) -> None:
    stripped = patched(compat, 60, "<H", 0)
    assert elf.note(reader(stripped), ".note.cuda.fwd_compatibility", "NVIDIA Corporation") is None


@given(st.data())
def test_damage_is_told_as_such(data: st.DataObject) -> None:
    damaged = bytearray(libs.compat_library(b'{"format": 1}').read_bytes())
    header, end = 64, len(damaged)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, header) | st.integers(end - 2048, end - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        elf.note(reader(bytes(damaged)), ".note.cuda.fwd_compatibility", "NVIDIA Corporation")
        elf.require_static_program(reader(bytes(damaged)), MACHINE)
    except DocumentError:
        pass


@given(st.binary(max_size=200))
def test_notes_of_any_content(data: bytes) -> None:
    try:
        elf._note_of(data, 4, b"NVIDIA Corporation")
    except DocumentError:
        pass
