"""Library folders for images with musl: /etc/ld-musl-ARCH.path, which its loader reads at start.

One path after another, separated by newlines or colons; when the file is there, the defaults
count only if they stand in it (musl, ldso/dynlink.c). There is no cache and no ld.so.conf.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import UnsafePathError
from ocishim.hooks import ldconf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.hooks.arch import Arch
    from ocishim.rootfs.rootfs import Rootfs

DEFAULTS = ("/lib", "/usr/local/lib", "/usr/lib")
_ALPINE = "/etc/alpine-release"
_LARGEST_FILE = 64 << 10  # bytes


def is_musl(rootfs: Rootfs, machine: Arch) -> bool:
    """Whether the image is Alpine, or brings musl's loader."""
    return rootfs.exists(_ALPINE) or rootfs.exists(machine.musl_loader)


def missing(rootfs: Rootfs, machine: Arch, folders: list[str]) -> bytes:
    """Return what musl's file must be for its loader to search `folders` too, after the present.

    Nothing when it is that already. Its text is copied: what the container's user may not read
    (PermissionError), or what a link leads to on another mount (ForeignMountError), is not taken.
    UnsafePathError when the file is no regular file or larger than 64 KiB.
    """
    try:
        with rootfs.container().reading():
            present = rootfs.read(machine.musl_path_file, _LARGEST_FILE, cross=False)
    except (FileNotFoundError, NotADirectoryError):
        present = b""
    except UnsafePathError as error:
        raise ldconf.refused(error.message) from error
    return posixos.fsencode(updated(posixos.fsdecode(present), folders))


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
