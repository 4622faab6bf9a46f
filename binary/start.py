"""The first Python of the static file: the importer of what is frozen into it, and the programs.

The interpreter's core is all there is here: builtins, no streams, no files. Whatever is imported
that is neither ours nor in CORE finishes the interpreter's start first, 1.3 ms: what is rare.
"""

from __future__ import annotations

import builtins
import sys

import _pyshim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

OURS = "ocishim"
CORE = frozenset(("struct",))
ROOT = "/proc/self/exe"
"""Where modules and files seem to lie; below a file there is none of the machine's."""

_MODULE, _PACKAGE = 0, 1


class Importer:
    """A meta path finder and loader (importlib.abc) of the modules in this file."""

    finished = False
    dies_of_interrupts = True

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        """Return the spec of a module that is in the file, None for all others."""
        del path, target
        if not cls.finished and name.partition(".")[0] != OURS and name not in CORE:
            cls.finish()
        kind = _pyshim.kind(name)
        if kind not in (_MODULE, _PACKAGE):
            return None
        make: Any = type(sys.__spec__)
        spec = make(name, cls, origin=cls._place(name, kind), is_package=kind == _PACKAGE)
        if kind == _PACKAGE:
            spec.submodule_search_locations = [spec.origin.rpartition("/")[0]]
        return spec

    @classmethod
    def finish(cls) -> None:
        """Finish the interpreter's start, once."""
        cls.finished = True
        _pyshim.finish()
        sys.meta_path.pop()  # importlib's PathFinder, for what lies in folders
        if cls.dies_of_interrupts:
            from ocishim.posixos import die_of_interrupts  # noqa: PLC0415

            die_of_interrupts()

    @staticmethod
    def _place(name: str, kind: int) -> str:
        end = "/__init__.py" if kind == _PACKAGE else ".py"
        return f"{ROOT}/{name.replace('.', '/')}{end}"

    @staticmethod
    def create_module(spec: object) -> None:
        """Leave making the module to the import system."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Unpack the module's code and run it."""
        scope = vars(module)
        spec = scope["__spec__"]
        scope["__file__"] = spec.origin
        exec(_pyshim.code(spec.name), scope)  # noqa: S102 - our own code

    @staticmethod
    def get_code(name: str) -> CodeType:
        """Return a module's code (importlib.abc.InspectLoader)."""
        code: CodeType = _pyshim.code(name)
        return code

    @staticmethod
    def get_source(name: str) -> None:
        """No source is in the file: tracebacks have line numbers, no lines."""

    @staticmethod
    def is_package(name: str) -> bool:
        """Return whether a module is a package."""
        return bool(_pyshim.kind(name) == _PACKAGE)

    @staticmethod
    def get_data(path: str) -> bytes:
        """Return a file of a package by the path beside its __file__ (importlib.abc)."""
        data: bytes | None = _pyshim.data(path.removeprefix(f"{ROOT}/"))
        if data is None:
            raise FileNotFoundError(2, "No such file in the program", path)
        return data

    @staticmethod
    def get_resource_reader(name: str) -> object:
        """Return what importlib.resources reads a package's files by."""
        from ocishim.admin.frozen import Reader  # noqa: PLC0415 - for what is rare

        return Reader(name)


def open_late(*arguments: Any, **named: Any) -> Any:
    """Stand in for open(), which the rest of the start brings."""
    Importer.finish()
    return builtins.open(*arguments, **named)


HOT = (
    *("_json", "errno", "struct", "ocishim.create.entry", "ocishim.create.plan"),
    "ocishim.create.record",
    *("ocishim.create.device_lists", "ocishim.create.requests", "ocishim.settings.config"),
    *("ocishim.cdi.registry.registry", "ocishim.cdi.registry.scan", "ocishim.cdi.edits"),
    *("ocishim.cdi.stale", "ocishim.cdi.hostdev", "ocishim.oci.bundle", "ocishim.oci.reading"),
    *("ocishim.rootfs.readonly", "ocishim.log", "ocishim.lowlevel.quirks"),
    *("ocishim.hooks.program", "ocishim.hooks.create_symlinks", "ocishim.hooks.update_ldcache"),
    *("ocishim.hooks.ldconfig", "ocishim.hooks.sandbox", "ocishim.hooks.ldcache"),
    *("ocishim.hooks.chmod", "ocishim.hooks.disable_device_node_modification"),
    *("ocishim.hooks.enable_cuda_compat", "ocishim.hooks.update_application_profile"),
    *("ocishim.linux.memfd", "ocishim.linux.process", "ocishim.linux.mntns"),
)
"""What creates and hooks import: loaded once, while the file is built."""


def prepare() -> None:
    """Do what each start of the interpreter would do; its memory is kept (binary/core.c)."""
    import gc  # noqa: PLC0415

    gc.disable()  # a process of 10 ms has nothing to collect
    builtins.open = open_late
    finder: Any = Importer
    sys.meta_path.insert(1, finder)  # behind the builtin modules
    for name in HOT:
        __import__(name)
    if Importer.finished:
        raise RuntimeError("one of HOT imports what is rare")
    gc.collect()
    gc.freeze()


def run(program: str, path: str, arguments: list[str]) -> int:
    """Run one of the three programs; its exit status.

    path: of this file as it was called. SystemExit may be raised as well.
    """
    if program == "pyshim":
        from ocishim.create.entry import main  # noqa: PLC0415

        return main(path, arguments, _pyshim.restore_signals)
    if program == "pyshim-hook":
        from ocishim.hooks.program import start  # noqa: PLC0415
        from ocishim.posixos import die_of_interrupts, outlive_writes  # noqa: PLC0415

        die_of_interrupts()
        outlive_writes()
        start(arguments)
    import gc  # noqa: PLC0415

    gc.enable()
    Importer.dies_of_interrupts = False
    Importer.finish()
    sys.argv[:] = [path, *arguments]
    from ocishim.admin.cli import main as admin  # noqa: PLC0415

    admin(arguments, prog_name=program)
    return 0
