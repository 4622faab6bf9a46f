"""The place for one of the container's mounts, made in its root where the image has none.

As runtimes do it (securejoin): a link of the image leads somewhere in the root, whether anything is
there or not, and what is missing is made there, never on the host. Images link /etc/resolv.conf to
where systemd-resolved would write it, and engines mount over that name.
"""

from __future__ import annotations

import errno
import os

from ocishim.errors import UnsafePathError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

_MOST_LINKS = 40  # MAXSYMLINKS, path_resolution(7)


def find(root: Rootfs, unsafe_path: str, *, is_directory: bool) -> int:
    """Return an O_PATH descriptor of `unsafe_path`, made if it is missing; the caller closes it.

    Raises UnsafePathError for links without end, for what is in the way, and below /dev for a link
    that leads to nothing.
    """
    try:
        return root.resolve(unsafe_path)
    except (FileNotFoundError, NotADirectoryError):
        place = _without_links(root, unsafe_path)
        if f"{unsafe_path}/".startswith("/dev/") and place != unsafe_path:
            # runc makes its links by the path on the host: seen with 1.1.5, outside of the root.
            message = f"mount point {unsafe_path!r} is refused: a link there leads to nothing"
            raise UnsafePathError(
                f"{message} in the rootfs, and runtimes write below /dev"
            ) from None
    if is_directory:
        return root.mkdir_all(place)
    return _file(root, place, unsafe_path)


def _without_links(root: Rootfs, unsafe_path: str) -> str:
    """Where `unsafe_path` leads in the root: a path without links, there or not."""
    place, links = "", 0
    rest = unsafe_path.split("/")[::-1]
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = place.rpartition("/")[0]
            continue
        try:
            target = root.readlink(f"{place}/{name}")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                raise
            place = f"{place}/{name}"  # no link, or nothing yet
            continue
        links += 1
        if links > _MOST_LINKS:
            raise UnsafePathError(f"mount point {unsafe_path!r} is refused: too many links")
        place = "" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place or "/"


def _file(root: Rootfs, place: str, unsafe_path: str) -> int:
    """Open the file `place`, made empty if it is missing."""
    folder, _, name = place.rpartition("/")
    parent = root.mkdir_all(folder or "/")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    except FileExistsError:
        pass  # made by another create meanwhile
    finally:
        os.close(parent)
    try:
        return root.resolve(place)
    except FileNotFoundError:
        message = f"mount point {unsafe_path!r} changed while it was made"
        raise UnsafePathError(message) from None
