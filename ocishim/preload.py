"""Modules that are there before anything is imported: one read instead of a search for each.

CPython looks for a module in every folder of sys.path, compares its source's time with the
compiled file's, reads and unmarshals that: five system calls and 60 us a module, and the create
path has forty. The launchers' scripts read all code objects from one file (admin/preloading.py
writes it) and hand them to install(); whatever is wrong with that file, imports work as ever.
"""

from __future__ import annotations

import sys
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    # name, path of the source, its st_mtime_ns and st_size (both 0: an installed copy, which
    # nobody edits), whether it is a package, its code. That of a later one is still marshalled,
    # and stays in the file's bytes until it is imported: a page that is not touched costs nothing,
    # one that is, 1.5 us.
    Entry = tuple[str, str, int, int, bool, CodeType]
    Later = tuple[str, str, int, int, bool, tuple[int, int]]


def install(
    now: list[Entry], later: list[Later], extensions: dict[str, str], codes: memoryview
) -> bool:
    """Run the modules `now`, in order, and have imports find those `later`.

    extensions: modules in C and their files, 0.15 ms each to search for. codes: the marshalled
    code of the later ones, which name theirs by offset and length.

    Does nothing and returns False when a source is not what was compiled: somebody is at work on
    it, or the interpreter's own library was upgraded.
    """
    for _, path, mtime, size, _, _ in (*now, *later):
        if not mtime:
            continue
        try:
            found = stat(path)
        except OSError:
            return False
        if found.st_mtime_ns != mtime or found.st_size != size:
            return False
    # An empty view would keep the whole file in memory.
    kept = codes if later else memoryview(b"")
    finder: Any = Finder({entry[0]: entry for entry in later}, extensions, kept)
    sys.meta_path.insert(0, finder)
    for entry in now:
        if entry[0] not in sys.modules:
            _run(entry)
    return True


def _run(entry: Entry) -> None:
    """Make one module as the import system would, and bind it in its package."""
    name, path, _, _, is_package, code = entry
    module = type(sys)(name)
    parent, _, last = name.rpartition(".")
    module.__file__ = path
    module.__package__ = name if is_package else parent
    if is_package:
        module.__path__ = [path[: -len("/__init__.py")]]
    sys.modules[name] = module
    exec(code, module.__dict__)  # noqa: S102 - our own code, compiled from the source checked
    if parent:
        setattr(sys.modules[parent], last, module)


class Finder:
    """A meta path finder and loader (importlib.abc) of the entries by name."""

    __slots__ = ("codes", "entries", "extensions")

    def __init__(
        self, entries: dict[str, Later], extensions: dict[str, str], codes: memoryview
    ) -> None:
        self.entries = entries
        self.extensions = extensions
        self.codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Return the spec of a module that is in the file, None for all others."""
        del path, target
        if name in self.extensions:
            return _extension(name, self.extensions[name])
        entry = self.entries.get(name)
        if entry is None:
            return None
        kind: Any = type(sys.__spec__)
        spec = kind(name, self, origin=entry[1], is_package=entry[4])
        spec.has_location = True
        if entry[4]:
            spec.submodule_search_locations = [entry[1][: -len("/__init__.py")]]
        return spec

    def create_module(self, spec: object) -> None:
        """Leave making the module to the import system."""

    def exec_module(self, module: object) -> None:
        """Unpack the module's code and run it."""
        from marshal import loads  # noqa: PLC0415 - a builtin

        scope = vars(module)
        offset, length = self.entries[scope["__name__"]][5]
        code = loads(self.codes[offset : offset + length])  # noqa: S302 - our own, as above
        exec(code, scope)  # noqa: S102 - as above


def _extension(name: str, path: str) -> object:
    """The spec of a module in C; None when its file has moved, for the usual finders."""
    from _frozen_importlib_external import (  # noqa: PLC0415 - rare
        spec_from_file_location,
    )

    try:
        stat(path)
    except OSError:
        return None
    spec: object = spec_from_file_location(name, path)
    return spec
