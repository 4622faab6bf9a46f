"""Write the files of compiled modules that ocishim/preload.py reads, one for each hot process.

And, with boot.py, the interpreter's link beside them.

Usage: PYTHON -I -S .../ocishim/admin/preloading.py LIBRARY DIRECTORY [FINAL]

FINAL is where LIBRARY will lie, unchanged from then on: an installed copy. Runs under the
interpreter that will read them, with nothing but the standard library: which modules a program
needs, and in which order, is found out by importing its roots.
"""

from __future__ import annotations

import importlib
import marshal
import os
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType, ModuleType
from typing import Any

NAMES = {"pyshim": ".pyshim-create.bin", "pyshim-hook": ".pyshim-hook.bin"}
"""Program -> file beside the programs."""

OPTIONS = ("-I", "-S", "-X", "no_debug_ranges")
"""The interpreter's: tracebacks have line numbers, not columns; a sixth less to read."""

_CREATE = (
    *("ocishim.start", "ocishim.entry", "ocishim.config", "ocishim.runtime", "ocishim.log"),
    *("ocishim.cdi.edits", "ocishim.cdi.hostdev", "ocishim.cdi.registry", "ocishim.cdi.stale"),
    "ocishim.oci.container",
)
_HOOK = (
    "ocishim.hooks.program",
    "ocishim.hooks.change",
    "ocishim.hooks.flags",
    "ocishim.hooks.create_symlinks",
)
_USUAL = (
    *(
        "ocishim.hooks.update_ldcache",
        "ocishim.hooks.enable_cuda_compat",
        "ocishim.hooks.update_application_profile",
    ),
    "ocishim.hooks.disable_device_node_modification",
)
# What is run at once, what is run when it is imported. All else, as the shim executor, is found as
# ever.
_ROOTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pyshim": (_CREATE, ()),
    "pyshim-hook": (_HOOK, (*_USUAL, "ocishim.hooks.chmod", "ocishim.jsonio")),
}


class Recorder:
    """Notes which modules are run from source, in the order they are done."""

    def __init__(self) -> None:
        self.done: list[ModuleType] = []

    def __enter__(self) -> Recorder:  # noqa: PYI034 - Self is Python 3.11
        original: Any = SourceFileLoader.exec_module
        done = self.done

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            original(loader, module)
            done.append(module)

        self._original = original
        SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *_: object) -> None:
        SourceFileLoader.exec_module = self._original  # type: ignore[method-assign]


class Library:
    """The packages' folder, and where it will lie; "" where it stays and may be edited."""

    def __init__(self, folder: str, final: str) -> None:
        self.folder = folder
        self.final = final

    def build(self, program: str) -> bytes:
        """Return the file for `program`; to be called once in a fresh interpreter."""
        done = []
        for roots in _ROOTS[program]:
            with Recorder() as recorder:
                for root in roots:
                    importlib.import_module(root)
            done.append(recorder.done)
        now, later = done
        extensions = _extensions()
        entries = [self._describe(one) for one in now if one.__name__ != "__future__"]
        rare = [self._describe(one) for one in later]
        packed, codes = [], b""
        for entry in rare:
            code = marshal.dumps(entry[5])
            packed.append((*entry[:5], (len(codes), len(code))))
            codes += code
        loader = self._compile(f"{self.folder}/ocishim/preload.py")
        # The reader ignores what follows what it unpacks (marshal).
        head = (loader, entries, packed, extensions, len(codes))
        return MAGIC_NUMBER + marshal.dumps(head) + codes

    def _describe(self, module: ModuleType) -> tuple[str, str, int, int, bool, CodeType]:
        """Return what preload.py wants to know of a module, with its code."""
        path = str(module.__file__)
        status = os.stat(path)
        settled = bool(self.final) and path.startswith(self.folder + "/")
        mtime, size = (0, 0) if settled else (status.st_mtime_ns, status.st_size)
        is_package = hasattr(module, "__path__")
        return module.__name__, self._place(path), mtime, size, is_package, self._compile(path)

    def _place(self, path: str) -> str:
        """Return where the source `path` will lie."""
        if self.final and path.startswith(self.folder + "/"):
            return self.final + path[len(self.folder) :]
        return path

    def _compile(self, path: str) -> CodeType:
        """Compile one source file; ours without what only people read."""
        from ocishim.admin import slimming  # noqa: PLC0415 - once nothing is recorded any more

        with open(path, "rb") as file:
            source = file.read()
        if path.startswith(self.folder + "/"):
            return slimming.compiled(source, self._place(path))
        return compile(source, path, "exec", dont_inherit=True, optimize=2)


def _extensions() -> dict[str, str]:
    """Return the files of the modules in C that have been imported."""
    specs = [getattr(module, "__spec__", None) for module in sys.modules.values()]
    return {
        spec.name: str(spec.origin)
        for spec in specs if spec and isinstance(spec.loader, ExtensionFileLoader)
    }  # fmt: skip


def write(library: Library, program: str, directory: str) -> None:
    """Write the file for `program` into `directory` by rename."""
    data = library.build(program)
    from ocishim.admin import files  # noqa: PLC0415 - once nothing is recorded any more

    files.replace(os.path.join(directory, NAMES[program]), data, 0o644)


def main(arguments: list[str]) -> int:
    """Write the files, each from a process of its own; the exit status."""
    library, directory, final, program = (*arguments, "", "")[:4]
    search_path = [path for path in sys.path if path != os.path.dirname(__file__)]
    sys.path.insert(0, library)
    if program:
        write(Library(library, final), program, directory)
        return 0
    import subprocess  # noqa: PLC0415 - not in the processes that record

    from ocishim.admin import boot  # noqa: PLC0415 - likewise

    os.umask(0o022)
    boot.write(directory, sys.executable, search_path)
    for name in NAMES:
        words = [__file__, library, directory, final, name]
        subprocess.run([sys.executable, *OPTIONS, *words], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
