"""Can the rootfs be written, and may it be: the facts behind `hooks.readonly_rootfs`.

Asks the kernel (statvfs); what follows from the answer is decided in hookplan.py.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import DocumentError, UnsafePathError, reason
from ocishim.oci.members import SOURCE, find_list, must_be

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


_PLACE = posixos.O_PATH | posixos.O_CLOEXEC
_MOST_LINKS = 40  # MAXSYMLINKS, path_resolution(7)
_OVERFLOW = 65534  # user_namespaces(7), "Unmapped user and group IDs"
_GVISOR_ROOT = "dev.gvisor.spec.rootfs.type"


def rootfs_path(spec: dict[str, Any], bundle: str) -> str:
    """Return root.path as an absolute path without links (runtime-spec: relative to the bundle).

    Resolved as the low-level runtime does, which enters the bundle first: text alone would take
    `..` in a linked bundle for another folder. Raises DocumentError when config.json names none.
    """
    place = _place(spec, bundle)
    try:
        return posixos.path.realpath(place)
    except OSError as err:  # links that change meanwhile
        raise _missing(place, err) from None


def identity(spec: dict[str, Any], bundle: str) -> tuple[int, int]:
    """Return st_dev and st_ino of the rootfs: no other directory counts for what is planned now.

    Raises DocumentError when it is not there, UnsafePathError when another user's link leads there.
    """
    place = _place(spec, bundle)
    try:
        fd = _opened(place)
    except OSError as err:
        raise _missing(place, err) from None
    try:
        status = posixos.fstat(fd)
    finally:
        posixos.close(fd)
    return status.st_dev, status.st_ino


def _place(spec: dict[str, Any], bundle: str) -> str:
    """Return root.path as an absolute path, links in it as they are. Raises DocumentError."""
    root = spec.get("root")
    path = must_be(str, root.get("path") if isinstance(root, dict) else None, "root.path")
    if not path or "\0" in path or not _is_text(path):
        raise DocumentError(f"expected a path, found {path!r} in 'root.path'", source=SOURCE)
    return posixos.path.join(posixos.path.realpath(bundle), path)


def _opened(path: str) -> int:
    """Return an O_PATH descriptor of `path`; the caller closes it. UnsafePathError: see _walked."""
    fd = posixos.open(path, _PLACE)
    try:
        lies = posixos.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # no /proc
        lies = ""
    if lies == path:  # no link has led there
        return fd
    posixos.close(fd)
    return _walked(path)


def _walked(path: str) -> int:
    """Return an O_PATH descriptor of `path`, each link of it looked at; the caller closes it.

    UnsafePathError for a link of another user's on the way, or in another's folder: it leads to a
    folder of the host now, and to the rootfs when the runtime looks.
    """
    here = posixos.open("/", _PLACE)
    todo, links = path.split("/")[::-1], 0
    try:
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            here, above = posixos.open(name, _PLACE | posixos.O_NOFOLLOW, dir_fd=here), here
            try:
                status = posixos.fstat(here)
                if not stat.S_ISLNK(status.st_mode):
                    continue
                _require_ours(f"root.path {path}: the link {name!r}", status, posixos.fstat(above))
                target = posixos.readlink("", dir_fd=here)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, posixos.strerror(errno.ELOOP))
                todo += target.split("/")[::-1]
                start = "/" if target.startswith("/") else "."
                here, link = posixos.open(start, _PLACE, dir_fd=above), here
                posixos.close(link)
            finally:
                posixos.close(above)
    except BaseException:
        posixos.close(here)
        raise
    return here


def _require_ours(link: str, *statuses: posixos.stat_result) -> None:
    for status in statuses:
        if status.st_uid not in (0, posixos.geteuid()) and not _is_nobodys(status.st_uid):
            raise UnsafePathError(
                f"{link} is user {status.st_uid}'s, who can have it lead elsewhere",
                hint="name the folder that it leads to",
            )


def _is_nobodys(uid: int) -> bool:
    """Whether it stands for users that this user namespace does not have: the host's root, too."""
    everybody = posixos.contents("/proc/self/uid_map").split()[2:] == [b"4294967295"]
    return uid == _OVERFLOW and not everybody


def _missing(rootfs: str, error: OSError) -> DocumentError:
    return DocumentError(
        f"root.path {rootfs}: {reason(error)}",
        source=SOURCE,
        hint="the engine mounts it before create: is the container being removed",
    )


def _is_text(path: str) -> bool:
    """False for the halves of a UTF-16 pair, which JSON can spell and a path cannot hold."""
    try:
        posixos.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def asked_readonly(spec: dict[str, Any]) -> bool:
    """Return True when config.json wants the container's root read-only."""
    root = spec.get("root")
    return isinstance(root, dict) and root.get("readonly") is True


def why_elsewhere(spec: dict[str, Any]) -> str:
    """Return why what is written under root.path will not be seen by gVisor, "" when it will.

    An annotation can give it another root than the directory (gVisor, boot/mount_hints.go).
    """
    annotations = spec.get("annotations")
    kind = annotations.get(_GVISOR_ROOT, "bind") if isinstance(annotations, dict) else "bind"
    return "" if kind == "bind" else f"gVisor makes the root itself ({_GVISOR_ROOT}: {kind})"


def why_readonly(rootfs: str) -> str:
    """Return why the file system under `rootfs` cannot be written, "" when it can.

    Covers EROFS and squashfs images, read-only bind mounts and overlays without an upper folder:
    statvfs reports the mount's and the file system's flag alike. Raises DocumentError when the
    directory is not there.
    """
    try:
        flags = posixos.statvfs(rootfs).f_flag
    except OSError as err:
        raise _missing(rootfs, err) from None
    return f"the file system under {rootfs} is read-only" if flags & posixos.ST_RDONLY else ""


def lacking(
    rootfs: str, spec: dict[str, Any], mount_points: Sequence[str], *, own_root: bool
) -> str:
    """Return the first of `mount_points` that is not there in `rootfs`, or "".

    What lies below another mount of `spec` is that one's to have; not under a runtime with
    `own_root` (gVisor), which mounts binds on the rootfs and shows other mounts to nobody there.
    """
    from ocishim.rootfs.rootfs import Rootfs  # noqa: PLC0415 - where a root cannot be written

    mounts = [mount for mount in find_list(spec, "mounts") if isinstance(mount, dict)]
    counting = [m for m in mounts if not own_root or m.get("type") == "bind"]
    folders = {f"{str(mount.get('destination', '')).rstrip('/')}/" for mount in counting}
    above = tuple(folders - {"/"})
    with Rootfs.open_dir(rootfs) as root:
        for place in mount_points:
            if place.startswith(above):
                continue
            try:
                posixos.close(root.resolve(place))
            except (OSError, UnsafePathError):
                return place
    return ""
