"""Compiles the driver's stand-in libraries and the programs that load them, each source once.

Leaves names and places to driver.py and rootfs.py.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

# The two calls a CUDA program makes first, so that a loader can do more than find the file.
_LIBRARY = """
int cuInit(unsigned flags) { (void)flags; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
const char *pyshim_soname(void) { return "%s"; }
"""

# dlopen(3) by SONAME is how CUDA's runtime finds the driver; dlinfo(3) says where it was found.
_LOADER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct link_map *map;
        void *handle = dlopen(argv[i], RTLD_NOW);
        if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map)) {
            printf("%s: %s\\n", argv[i], dlerror());
            failed = 1;
        } else {
            printf("%s => %s\\n", argv[i], map->l_name);
        }
    }
    return failed;
}
"""


# What GCC refuses by itself from 14 on, refused by older ones, too.
STRICT = [
    f"-Werror={fault}" for fault in ("implicit", "incompatible-pointer-types", "int-conversion")
]


class Compiler:
    """gcc with a folder of finished files; the same request compiles once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def library(self, soname: str) -> Path:
        """Return a shared library that carries `soname`."""
        return self._compile(_LIBRARY % soname, "-shared", "-fPIC", f"-Wl,-soname,{soname}")

    def loader(self) -> Path:
        """Return a dynamically linked program that loads each of its arguments by name.

        It prints `NAME => FILE` or `NAME: reason` a line, and exits 1 if one was not found.
        """
        return self._compile(_LOADER, "-ldl")

    def program(self, source: str, *flags: str) -> Path:
        """Return the program that the C text `source` makes."""
        return self._compile(source, *flags)

    def _compile(self, source: str, *flags: str) -> Path:
        name = hashlib.sha256("\0".join([source, *flags]).encode()).hexdigest()[:16]
        result = self.folder / name
        if not result.exists():
            text = self.folder / f"{name}.c"
            text.write_text(source)
            # -O0: compile time counts, the code does nothing.
            subprocess.run(
                ["gcc", "-O0", *STRICT, "-o", f"{result}.new", str(text), *flags],
                check=True,
            )
            Path(f"{result}.new").rename(result)
        return result
