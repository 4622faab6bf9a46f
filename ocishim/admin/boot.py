"""The interpreter that the hot programs start: the real one, by a link beside which it finds less.

    FOLDER/.pyshim-python/python           a link to the interpreter
    FOLDER/.pyshim-python/python._pth      its search path, which it then does not work out
    FOLDER/.pyshim-python/lib/encodings/   UTF-8 alone (utf8.py), the rest left to the library

0.7 ms of 6 less at every start: no look around for the library, no folder of 200 files listed, no
table of 300 names of encodings. 3.10 knows no such file on Linux, and works as ever. Source:
https://docs.python.org/3.11/library/sys_path_init.html, "_pth files".
"""

from __future__ import annotations

import os
import py_compile
import sys

from ocishim.admin import files, slimming

FOLDER = ".pyshim-python"


def program(folder: str) -> str:
    """Return the path of the link to the interpreter for the programs in `folder`."""
    return f"{folder}/{FOLDER}/python"


def write(folder: str, python: str, search_path: list[str]) -> None:
    """Write the link and what lies beside it, each by rename.

    python: the interpreter's path where the programs will run. search_path: its own sys.path
    under -I -S. To be called in that interpreter, whose bytecode this leaves, and with a umask of
    022: containers' roots that are somebody else here start it.
    """
    own = f"{folder}/{FOLDER}"
    encodings = f"{own}/lib/encodings"
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/utf8.py", "rb") as file:
        files.replace(f"{encodings}/__init__.py", slimming.text(file.read()).encode(), 0o644)
    # Never compared with the source, which is in the same hands.
    py_compile.compile(
        f"{encodings}/__init__.py",
        doraise=True,
        optimize=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    there = [path for path in search_path if os.path.isdir(path)]
    files.replace(f"{program(folder)}._pth", "\n".join(["lib", *there, ""]).encode(), 0o644)
    # Where that interpreter looks for the parts of packages that are frozen into it (importlib).
    version = "{}.{}".format(*sys.version_info)
    files.link(os.path.dirname(os.__file__), f"{own}/lib/python{version}")
    files.link(python, program(folder))
