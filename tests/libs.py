"""Libraries and programs for tests, built with gcc, each once in a session.

`library()` has the SONAME it is asked for; `libraries()` makes hundreds by writing other SONAMEs
of the same length into a copy; `compat_library()` carries the note of CUDA's compatibility
libraries; `root_with_loader()` is an image whose own loader starts a program.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import need
from tools.lab.compiler import STRICT

_WORK = tempfile.TemporaryDirectory(prefix="pyshim-libs-")
_TEMPLATE = "libpyshim000000.so.1"
_MACHINE_AT = 18  # e_machine in the ELF header

# Prints what the library it needs by name says.
_USER = "extern const char *who(void); int puts(const char *); int main(void) { puts(who()); }"


@functools.cache
def _build(name: str, source: str, *flags: str) -> Path:
    """Compile `source` to a file; the same arguments give the same file."""
    folder = Path(tempfile.mkdtemp(dir=_WORK.name))
    target = folder / name
    code = folder / "source.c"
    code.write_text(source)
    command = [need("gcc"), "-O1", *STRICT, str(code), "-o", str(target), *flags]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return target


def library(soname: str, says: str = "libpyshim") -> Path:
    """A shared library whose function who() returns `says`."""
    source = f'const char *who(void) {{ return "{says}"; }}'
    return _build("lib.so", source, "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{soname}")


def put(source: Path, target: Path) -> Path:
    """Copy a built file to its place in an image; parents are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def libraries(folder: Path, count: int) -> list[str]:
    """Put `count` libraries in `folder` as libpyshimN.so.1.0; return their SONAMEs."""
    folder.mkdir(parents=True, exist_ok=True)
    data = library(_TEMPLATE).read_bytes()
    sonames = []
    for number in range(count):
        soname = f"libpyshim{number:06}.so.1"
        (folder / f"{soname}.0").write_bytes(data.replace(_TEMPLATE.encode(), soname.encode()))
        sonames.append(soname)
    return sonames


def foreign(source: Path, machine: int, target: Path) -> Path:
    """A copy of an ELF file that says it is for another machine (elf.h, EM_...)."""
    data = bytearray(source.read_bytes())
    struct.pack_into("<H", data, _MACHINE_AT, machine)
    target.write_bytes(data)
    target.chmod(0o755)
    return target


def static_program(source: str) -> Path:
    """A program that needs no other file; for places that have none, and as a false ldconfig."""
    return _build("program", source, "-static")


def compat_library(note: bytes | None, owner: str = "NVIDIA Corporation") -> Path:
    """A library with the note section of CUDA's compatibility libraries; None: without."""
    if note is None:
        return library("libcuda.so.1")
    name = owner.encode() + b"\0"
    words = struct.pack("<III", len(name), len(note), 1)
    data = words + _padded(name) + _padded(note)
    section = '.note.cuda.fwd_compatibility,\\"a\\",%note'
    lines = (
        f".pushsection {section}",
        ".balign 4",
        f".byte {','.join(map(str, data))}",
        ".popsection",
    )
    source = f'asm("{"; ".join(lines)}");'
    return _build("lib.so", source, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libcuda.so.1")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def user_of(soname: str) -> Path:
    """A program that needs `soname` and prints what its who() says."""
    stub = library(soname)
    return _build("user", _USER, str(stub), "-Wl,--allow-shlib-undefined")


def root_with_loader(root: Path, program: Path) -> Path:
    """An image: the host's libc and loader where they lie here, and `program` as /bin/program."""
    put(program, root / "bin/program").chmod(0o755)
    plain = _build("plain", 'int puts(const char *); int main(void) { puts("plain"); }')
    listed = subprocess.run([need("ldd"), str(plain)], capture_output=True, text=True, check=True)
    for word in listed.stdout.split():
        if word.startswith("/"):
            put(Path(word).resolve(), root / word.lstrip("/")).chmod(0o755)
    return root
