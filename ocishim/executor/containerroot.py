"""The container's root as createContainer hooks expect it, put together in a mount namespace.

The rootfs with config.json's bind mounts, empty tmpfs where the container will have its own, and
device nodes. Works in the present mount namespace, which must be private (hookprocess.py sees to
that) and ends with the process. proc, sysfs, devpts and cgroup mounts are left out, as gVisor
leaves them out: a hook that needs proc mounts one.
"""

from __future__ import annotations

import errno
import os
import stat

from ocishim.errors import DocumentError, HookError, UnsafePathError
from ocishim.linux import const, mntns, process, syscalls
from ocishim.oci.members import SOURCE, find_list, must_be
from ocishim.rootfs import locate
from ocishim.rootfs.rootfs import Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_TMPFS_BYTES = 64 << 20
_ATTRIBUTES = {
    "ro": const.MOUNT_ATTR_RDONLY,
    "rro": const.MOUNT_ATTR_RDONLY,
    "nosuid": const.MOUNT_ATTR_NOSUID,
    "nodev": const.MOUNT_ATTR_NODEV,
    "noexec": const.MOUNT_ATTR_NOEXEC,
}
_DEVICE_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK}


class Builder:
    """Builds one root. `note` is told in a sentence what hooks will not see."""

    __slots__ = ("_bundle", "_identity", "_note", "_owner", "_path", "_private", "_unseen")

    def __init__(
        self, path: str, bundle: str, owner: tuple[int, int], note: Callable[[str], None],
        identity: locate.Identity | None = None,
    ) -> None:  # fmt: skip
        """path: the rootfs; bundle: what relative mount sources start from. Both absolute.

        identity: st_dev and st_ino of the rootfs for which the hooks were planned.

        owner: uid and gid, on the host, of the container's root, whose the mount points will be.
        """
        self._path = path
        self._identity = identity
        self._owner = owner
        self._bundle = bundle
        self._note = note
        self._private: dict[str, int] = {}  # where our own tmpfs are, and their st_dev
        self._unseen: list[str] = []  # where the container will have proc, sysfs...

    def build(self, spec: dict[str, Any]) -> Rootfs:
        """Mount everything; return the root, which the caller closes.

        DocumentError for a mount without a source, HookError for one that cannot be made,
        UnsafePathError where the image is in the way.
        """
        root = self._open()
        for index, mount in enumerate(find_list(spec, "mounts")):
            must_be(dict, mount, f"mounts[{index}]")
            try:
                self._add(root, mount, f"mounts[{index}]")
            except OSError as err:
                field = f"'mounts[{index}]' at {mount.get('destination')}"
                raise HookError(
                    f"config.json: {field} cannot be mounted for the hooks: {err.strerror or err}"
                ) from None
        for device in find_list(spec, "linux", "devices"):
            if isinstance(device, dict):
                self._add_device(root, device)
        return root

    def _open(self) -> Rootfs:
        """The rootfs as a mount of its own: what is mounted in it below goes with it."""
        with locate.open_rootfs(self._path, self._identity) as opened:
            root = Rootfs.from_fd(mntns.bind(opened.fd, opened.fd, recursive=True), self._path)
        root.mounts.everywhere = True  # mount points lie where config.json has them, as with runc
        return root

    def _add(self, root: Rootfs, mount: dict[str, Any], field: str) -> None:
        destination = os.path.normpath("/" + str(mount.get("destination") or "").lstrip("/"))
        options = [str(option) for option in find_list({field: mount}, field, "options")]
        kind = mount.get("type")
        is_bind = kind == "bind" or "bind" in options or "rbind" in options
        if destination == "/" or _within(destination, self._unseen):
            self._note(f"hooks do not see the mount {destination}")
        elif is_bind:
            self._bind(root, mount, destination, options, field)
        elif kind == "tmpfs":
            self._tmpfs(root, destination, options)
        else:
            self._unseen.append(destination)

    def _bind(
        self, root: Rootfs, mount: dict[str, Any], destination: str, options: list[str], field: str
    ) -> None:
        source = os.path.join(self._bundle, str(mount.get("source") or ""))
        try:
            source_fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError) as err:
            why = getattr(err, "strerror", None) or "a NUL is in the path"
            raise DocumentError(f"'{field}.source' {source}: {why}", source=SOURCE) from None
        try:
            is_directory = stat.S_ISDIR(os.fstat(source_fd).st_mode)
            target = self._mount_point(root, destination, is_directory=is_directory)
            if target is not None:
                recursive = "rbind" in options
                flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH
                flags |= const.AT_RECURSIVE if recursive else 0
                self._attach(syscalls.open_tree(source_fd, "", flags), target, options)
        finally:
            os.close(source_fd)

    def _tmpfs(self, root: Rootfs, destination: str, options: list[str]) -> None:
        target = self._mount_point(root, destination, is_directory=True)
        if target is not None:
            mount_fd = mntns.tmpfs(size=_TMPFS_BYTES)
            if self._owner != (0, 0):
                os.chown(f"/proc/self/fd/{mount_fd}", *self._owner)
            self._private[destination] = os.fstat(mount_fd).st_dev
            self._attach(mount_fd, target, options)

    def _mount_point(self, root: Rootfs, path: str, *, is_directory: bool) -> int | None:
        """Open the place for a mount, made like its source; None where it cannot be made.

        A read-only file system without the place is the low-level runtime's to complain about.
        """
        make = root.mkdir_all if is_directory else lambda path: _find_file(root, path)
        try:
            return self._as_owner(make, path)
        except OSError as err:
            if err.errno != errno.EROFS:
                raise
            self._note(f"hooks do not see the mount {path}: no place for it, and no way to make it")
            return None

    def _as_owner(self, make: Callable[[str], int], path: str) -> int:
        """Return make(path), as the container's root if it can, since it will own the result."""
        if self._owner == (0, 0):
            return make(path)
        process.set_fs_ids(*self._owner)
        try:
            return make(path)
        except PermissionError:
            process.set_fs_ids(0, 0)
            return make(path)
        finally:
            process.set_fs_ids(0, 0)

    def _attach(self, mount_fd: int, target: int, options: list[str]) -> None:
        """Put a detached mount on `target` with the attributes of `options`; closes both."""
        attributes = 0
        for option in options:
            attributes |= _ATTRIBUTES.get(option, 0)
        try:
            early = not attributes or mntns.restrict(
                mount_fd, attributes, recursive="rro" in options
            )
            mntns.attach(mount_fd, target)
            if not early:
                mntns.restrict_late(mount_fd, attributes)
        finally:
            os.close(target)
            os.close(mount_fd)

    def _add_device(self, root: Rootfs, device: dict[str, Any]) -> None:
        """Make a node on our tmpfs (never in the image) so that hooks that look at /dev see it.

        One that is none is the low-level runtime's to complain about.
        """
        path = os.path.normpath(str(device.get("path") or "/"))
        kind = _DEVICE_KINDS.get(str(device.get("type")))
        if kind is None or not _within(path, self._private) or not _is_device(device, path):
            return
        folder, _, name = path.rpartition("/")
        number = os.makedev(device.get("major") or 0, device.get("minor") or 0)
        mode = (device.get("fileMode") or 0o666) & 0o7777
        parent = root.mkdir_all(folder)
        try:
            # A link in the image, swapped meanwhile, could have led us elsewhere.
            if os.fstat(parent).st_dev not in self._private.values():
                return
            os.mknod(name, kind | mode, number, dir_fd=parent)
        except FileExistsError:
            pass
        except PermissionError:  # in a user namespace nobody makes devices
            self._note(f"hooks do not see the device {path}")
        finally:
            os.close(parent)


def _is_device(device: dict[str, Any], path: str) -> bool:
    """Whether its numbers are those of a device (dev_t has 12 and 20 bits), and its path is one."""
    largest = {"major": 0xFFF, "minor": 0xFFFFF, "fileMode": 0xFFFFFFFF}
    values = [(device.get(name) or 0, most) for name, most in largest.items()]
    return "\0" not in path and all(
        isinstance(value, int) and 0 <= value <= most for value, most in values
    )


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _find_file(root: Rootfs, path: str) -> int:
    """Open `path`, made as an empty file like runtimes do if it is missing; O_PATH."""
    try:
        return root.resolve(path)
    except FileNotFoundError:
        pass
    folder, _, name = path.rpartition("/")
    parent = root.mkdir_all(folder or "/")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    except FileExistsError:
        pass  # made by another create meanwhile, or a dangling link
    finally:
        os.close(parent)
    try:
        return root.resolve(path)
    except FileNotFoundError:
        raise UnsafePathError(
            f"mount point {path!r} is a symbolic link that leads to nothing in the rootfs"
        ) from None
