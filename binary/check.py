"""Import every module of ours from what is frozen alone: whatever is missing there fails the build.

Usage: python -I -S binary/check.py REPOSITORY DIRECTORY

DIRECTORY holds what freeze.py wrote. Runs under the interpreter that is linked, or its twin.
"""

from __future__ import annotations

import marshal
import re
import sys
import zlib
from types import CodeType, ModuleType

_ROW = re.compile(r'\{"([^"]+)", (\d+), (\d+), (\d+), (\d)\}')
_DATA = 2
_LATE = ("pyroute2", "rich.console", "rich.table", "rich.progress", "rich.text", "yaml")
"""What ours import in functions."""
_NOT_HERE = ("ocishim.admin.__main__",)
"""Programs, and what runs as the package `encodings` of a clone."""


class Frozen(ModuleType):
    """Stands in for the builtin module _pyshim (binary/module.c)."""

    BUILD = 0

    def __init__(self, directory: str) -> None:
        super().__init__("_pyshim")
        with open(f"{directory}/frozen.c", encoding="ascii") as file:
            rows = _ROW.findall(file.read())
        with open(f"{directory}/frozen.bin", "rb") as data:
            self.blob = data.read()
        self.rows = {name: tuple(map(int, numbers)) for name, *numbers in rows}

    def kind(self, name: str) -> int | None:
        """Return what is frozen under this name, None for nothing."""
        return self.rows[name][3] if name in self.rows else None

    def _bytes(self, name: str) -> bytes:
        offset, size, unpacked, _ = self.rows[name]
        stored = self.blob[offset : offset + size]
        return zlib.decompress(stored) if unpacked else stored

    def code(self, name: str) -> CodeType:
        """Return a module's code."""
        code: CodeType = marshal.loads(self._bytes(name))  # noqa: S302 - just written by freeze.py
        return code

    def data(self, path: str) -> bytes | None:
        """Return a file of a package, None where there is none."""
        return self._bytes(path) if self.kind(path) == _DATA else None

    def syscall(self, *arguments: object) -> int:
        """Return what a failed call does: no system call is needed for an import."""
        del arguments
        return -1

    def get_errno(self) -> int:
        """Return ENOSYS."""
        return 38

    def address(self, buffer: bytearray) -> int:
        """Return NULL."""
        del buffer
        return 0

    def finish(self) -> None:
        """Do nothing: this interpreter's start is finished."""


def main(repository: str, directory: str) -> int:
    """Import them all; the exit status."""
    frozen = Frozen(directory)
    sys.modules["_pyshim"] = frozen
    sys.builtin_module_names = (*sys.builtin_module_names, "_pyshim")
    with open(f"{repository}/binary/start.py", "rb") as file:
        scope = {"__name__": "__pyshim__"}
        exec(compile(file.read(), "start.py", "exec"), scope)  # noqa: S102 - our own
    sys.path.clear()
    sys.meta_path[:] = [sys.meta_path[0], scope["Importer"], sys.meta_path[1]]  # type: ignore[list-item]
    failed = 0
    for name, (*_, kind) in frozen.rows.items():
        ours = name.startswith("ocishim") and name not in _NOT_HERE
        if kind == _DATA or not (ours or name in _LATE):
            continue
        try:
            __import__(name)
        except ImportError as error:
            sys.stderr.write(f"binary: {name}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
