"""Freeze pyshim and all it imports: frozen.bin, frozen.c and first.h, to be linked into one file.

Usage: python binary/freeze.py REPOSITORY SITE LIBRARY DIRECTORY

Runs under an interpreter of the version that is linked. SITE holds the libraries, unpacked,
LIBRARY the standard library. What is imported, in functions too, is found from the code
(modulefinder); what is named at run time alone stands in DYNAMIC. The same input gives the same
bytes.
"""

from __future__ import annotations
import __future__

import hashlib
import marshal
import os
import sys
import zlib
from modulefinder import ModuleFinder

PROGRAMS = ("ocishim.create.entry", "ocishim.hooks.program", "ocishim.admin.cli")
PACKAGES = ("ocishim", "yaml", "jsonschema", "tomlkit", "packaging")
"""Taken whole, for some of their modules are named at run time alone."""
DYNAMIC = (
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8"),
    *("encodings.utf_8_sig", "encodings.punycode", "encodings.raw_unicode_escape"),
    *("encodings.utf_16", "encodings.utf_32", "encodings.unicode_escape", "encodings.cp437"),
    *("importlib.resources.readers", "importlib.metadata", "prctl", "traceback"),
    *("pyroute2", "rich.progress", "rich.table", "rich._unicode_data.unicode17-0-0"),
)
NEVER = (
    *("tkinter", "test", "doctest", "pydoc", "pydoc_data", "idlelib", "turtle"),
    *("ssl", "sqlite3", "curses", "readline", "ensurepip", "venv", "lib2to3", "setuptools", "pip"),
    *("_pyrepl", "rlcompleter", "webbrowser", "ftplib", "smtplib", "nturl2path", "dbm"),
    *("IPython", "ipywidgets", "numpy", "hypothesis", "pytest", "pynvml", "attr._next_gen_test"),
    *("_sysconfigdata", "xmlrpc", "wsgiref", "lzma", "bz2", "_pydatetime"),
    *("_aix_support", "_osx_support", "asyncio.windows_events", "asyncio.windows_utils"),
    *("multiprocessing.popen_spawn_win32", "pygments.lexers", "pygments.styles", "antigravity"),
)
DATA = (".json", ".toml", ".yaml", ".sh", ".schema")
FUTURE = b"\nfrom __future__ import annotations\n"
_MODULE, _PACKAGE, _DATA = range(3)


class Frozen:
    """The entries by name: kind and bytes."""

    def __init__(self, *folders: str) -> None:
        self.path = list(folders)
        self.entries: dict[str, tuple[int, bytes]] = {}

    def collect(self) -> None:
        """Find all modules from the programs on."""
        finder = ModuleFinder(path=self.path, excludes=NEVER)
        wanted = [*PROGRAMS, *DYNAMIC]
        for package in PACKAGES:
            wanted += self._modules(package)
        for name in wanted:
            try:
                finder.import_hook(name)
            except ImportError as error:
                sys.stderr.write(f"freeze: {name}: {error}\n")
        for name, module in finder.modules.items():
            file = getattr(module, "__file__", None)
            if file and file.endswith(".py"):
                self._add(name, file)

    def _folder(self, package: str) -> str:
        return next(
            found for one in self.path if os.path.isdir(found := os.path.join(one, package))
        )

    def _modules(self, package: str) -> list[str]:
        """Return the names of a package's modules and add its other files."""
        top = self._folder(package)
        names = []
        for folder, folders, files in os.walk(top, followlinks=True):
            folders[:] = [one for one in folders if one not in ("tests", "__pycache__")]
            place = os.path.join(package, os.path.relpath(folder, top))
            place = os.path.normpath(place)
            for file in files:
                if file.endswith(".py"):
                    name = f"{place}/{file}".removesuffix(".py").removesuffix("/__init__")
                    names.append(name.replace("/", "."))
                elif file.endswith(DATA):
                    with open(f"{folder}/{file}", "rb") as data:
                        self.entries[f"{place}/{file}"] = (_DATA, data.read())
        return sorted(names)

    def _add(self, name: str, file: str) -> None:
        kind = _PACKAGE if file.endswith("/__init__.py") else _MODULE
        with open(file, "rb") as source:
            self.entries[name] = (kind, compiled(source.read(), name))

    def folder_data(self, folder: str, place: str) -> None:
        """Add the files of a folder as data under `place`."""
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                self.entries[f"{place}/{name}"] = (_DATA, file.read())


def compiled(source: bytes, name: str) -> bytes:
    """Return the marshalled code; docstrings stay where programs print them."""
    top, _, rest = name.partition(".")
    kept = top == "ocishim" and rest.startswith("admin")
    ours_or_standard = top == "ocishim" or name in sys.stdlib_module_names
    level = 2 if (ours_or_standard and not kept) or top in sys.stdlib_module_names else 0
    flags = 0
    if FUTURE in source:  # known to the compiler, need not be imported
        source, flags = source.replace(FUTURE, b"\n"), __future__.annotations.compiler_flag
    code = compile(source, f"<frozen {name}>", "exec", flags, dont_inherit=True, optimize=level)
    # Twice: which constants are marked as shared depends on who else holds them (bpo-34033).
    return marshal.dumps(marshal.loads(marshal.dumps(code)))  # noqa: S302 - our own


def packed(name: str, kind: int, data: bytes) -> bytes:
    """Return what is stored: `data` itself, for files and for modules of ours, or less."""
    ours = name.partition(".")[0] == "ocishim"
    return data if ours or kind == _DATA else zlib.compress(data, 9)


def order(item: tuple[str, tuple[int, bytes]]) -> tuple[bool, str]:
    """Keep together what every start reads: a page that is not touched stays on the disk."""
    name = item[0]
    hot = name.partition(".")[0] == "ocishim" and not name.startswith("ocishim.admin")
    return not hot, name


def write(frozen: Frozen, directory: str) -> None:
    """Write frozen.bin and the table of what lies where."""
    blob, offsets, stored = bytearray(), {}, {}
    for name, (kind, data) in sorted(frozen.entries.items(), key=order):
        offsets[name] = len(blob)
        stored[name] = packed(name, kind, data)
        blob += stored[name]
    build = int.from_bytes(hashlib.sha256(blob).digest()[:8], "big") >> 1
    rows = "".join(
        f'    {{"{name}", {offsets[name]}, {len(stored[name])}, '
        f"{0 if stored[name] is data else len(data)}, {kind}}},\n"
        for name, (kind, data) in sorted(frozen.entries.items())
    )
    table = (
        f'#include "frozen.h"\n\nconst struct entry frozen_entries[] = {{\n{rows}}};\n'
        f"const size_t frozen_count = {len(frozen.entries)};\n"
        f"const long frozen_build = {build}L;\n"
    )
    with open(f"{directory}/frozen.bin", "wb") as file:
        file.write(blob)
    with open(f"{directory}/frozen.c", "w", encoding="ascii") as file:
        file.write(table)


def write_first(repository: str, directory: str) -> None:
    """Write first.h: the code of start.py."""
    with open(f"{repository}/binary/start.py", "rb") as file:
        code = compiled(file.read(), "ocishim.__pyshim__")
    numbers = ",".join(map(str, code))
    with open(f"{directory}/first.h", "w", encoding="ascii") as file:
        file.write(f"static const unsigned char first_module[] = {{{numbers}}};\n")


def main(repository: str, site: str, library: str, directory: str) -> None:
    """Write all three files."""
    os.makedirs(directory, exist_ok=True)
    frozen = Frozen(repository, site, library)
    frozen.collect()
    frozen.folder_data(f"{repository}/deploy", "deploy")
    write(frozen, directory)
    write_first(repository, directory)
    total = sum(len(data) for _, data in frozen.entries.values())
    sys.stderr.write(f"freeze: {len(frozen.entries)} modules and files, {total >> 10} KiB\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
