"""Links a container needs beside the driver's libraries: SONAMEs, and names no SONAME tells of.

Pure. A name for linkers (libX.so) is made where the host has it, and for the few that programs
open.
"""

from __future__ import annotations

from ocishim.admin.generate.libraries import Library

Link = tuple[str, str]
"""Its target and its path."""

# Programs open these by the name for linkers, whether or not a development package made it.
_ALWAYS = ("libcuda.so", "libnvidia-opticalflow.so")
# Those whose name for linkers leads to the file itself: X.Org and Vulkan open it so.
_DIRECT = ("libglxserver_nvidia.so", "libnvidia-vulkan-producer.so")


def links(found: list[Library]) -> list[Link]:
    """Return the links for the libraries, each path once."""
    made: dict[str, str] = {}
    for library in found:
        for target, path in (*_names(library), *_graphics(library)):
            made.setdefault(path, target)
    return [(target, path) for path, target in made.items()]


def _names(library: Library) -> list[Link]:
    stem = library.name.partition(".so")[0] + ".so"
    soname = library.soname or library.name
    made = []
    if soname != library.name:
        made.append((library.name, f"{library.folder}/{soname}"))
    wanted = stem in library.links or stem in _ALWAYS or stem in _DIRECT
    if wanted and stem not in (soname, library.name):
        target = library.name if stem in _DIRECT else soname
        made.append((target, f"{library.folder}/{stem}"))
    return made


def _graphics(library: Library) -> list[Link]:
    """Return GLX's fall-back and GBM's back end."""
    if library.name.startswith("libGLX_nvidia.so."):
        return [(library.name, f"{library.folder}/libGLX_indirect.so.0")]
    if library.name.startswith("libnvidia-allocator.so."):
        soname = library.soname or library.name
        return [(f"../{soname}", f"{library.folder}/gbm/nvidia-drm_gbm.so")]
    return []
