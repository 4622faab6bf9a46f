"""Library folders for images with musl: /etc/ld-musl-ARCH.path, which its loader reads at start.

One path after another, separated by newlines or colons; when the file is there, the defaults
count only if they stand in it (musl, ldso/dynlink.c). There is no cache and no ld.so.conf.
"""

from __future__ import annotations

from ocishim import posixos as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.hooks.arch import Arch
    from ocishim.rootfs import Rootfs

DEFAULTS = ("/lib", "/usr/local/lib", "/usr/lib")
_ALPINE = "/etc/alpine-release"
_LARGEST_FILE = 64 << 10  # bytes


def is_musl(rootfs: Rootfs, machine: Arch) -> bool:
    """Whether the image is Alpine, or brings musl's loader."""
    return rootfs.exists(_ALPINE) or rootfs.exists(machine.musl_loader)


def add(rootfs: Rootfs, machine: Arch, folders: list[str]) -> bool:
    """Make musl's loader search `folders` too, after those it searches now; True when that changed.

    UnsafePathError when the file is no regular file or larger than 64 KiB.
    """
    try:
        present = rootfs.read(machine.musl_path_file, _LARGEST_FILE)
    except FileNotFoundError:
        present = b""
    text = updated(os.fsdecode(present), folders)
    return bool(text) and rootfs.put_file(machine.musl_path_file, os.fsencode(text), 0o644)


def updated(present: str, folders: list[str]) -> str:
    """Return the file's new text, or nothing when `folders` are all in it already.

    An empty file (or none) stands for the defaults: the loader, too, takes them then.
    """
    known = [part for part in present.replace(":", "\n").split("\n") if part]
    if not known:
        known, present = list(DEFAULTS), "\n".join((*DEFAULTS, ""))
        if all(folder in known for folder in folders):
            return ""
    missing = [folder for folder in dict.fromkeys(folders) if folder not in known]
    if not missing:
        return ""
    if not present.endswith("\n"):
        present += "\n"
    return present + "\n".join((*missing, ""))
