"""Find and open the container's root directory for a hook: the recorded one, and no other."""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import DocumentError, UnsafePathError
from ocishim.rootfs.rootfs import Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    Identity = tuple[int, int]


def parse_identity(text: str) -> Identity:
    """`DEV:INO`, decimal, as st_dev and st_ino of the rootfs; DocumentError when it is not."""
    device, _, inode = text.partition(":")
    try:
        return int(device), int(inode)
    except ValueError:
        raise DocumentError(f"rootfs identity {text!r} is not DEV:INO") from None


def open_rootfs(path: str, identity: Identity | None) -> Rootfs:
    """Open the container's root directory `path`, or the working directory if it is that one.

    In a user namespace the mapped root may not enter the folders above `path`; but runc starts a
    createContainer hook in the rootfs, and crun in the bundle, mostly with `rootfs` in it. With an
    `identity` (st_dev, st_ino), which was recorded when the hooks were planned, no other directory
    counts, wherever it is found: who owns the folder above can put another in its place.
    Errors: UnsafePathError for "/", DocumentError that says what was tried.
    """
    tried: list[str] = []
    for candidate in (path, ".", "rootfs") if identity else (path,):
        rootfs = _identified(candidate, identity, tried)
        if rootfs is not None:
            return _checked(rootfs)
    raise DocumentError("no rootfs found: " + "; ".join(tried))


def _identified(candidate: str, identity: Identity | None, tried: list[str]) -> Rootfs | None:
    """The directory `candidate`, if it is the one recorded, or none was."""
    place = candidate if candidate.startswith("/") else f"working directory: {candidate}"
    try:
        rootfs = Rootfs.open_dir(candidate)
    except OSError as error:
        tried.append(f"{place}: {error.strerror}")
        return None
    status = posixos.fstat(rootfs.fd)
    if identity is None or (status.st_dev, status.st_ino) == identity:
        return rootfs
    rootfs.close()
    tried.append(f"{place} is another directory")
    return None


def _checked(rootfs: Rootfs) -> Rootfs:
    """Refuse the host's own root, as which an empty or wrong path would come out."""
    if posixos.path.samestat(posixos.fstat(rootfs.fd), posixos.stat("/")):
        rootfs.close()
        raise UnsafePathError(f"rootfs {rootfs.path!r} is the host's root directory")
    return rootfs
