"""A private, writable layer over a rootfs that cannot, or must not, be written.

An overlay whose upper folder is a tmpfs, mounted over root.path in a mount namespace that this
process enters and the low-level runtime inherits: the host never has the mount, and it goes with
the container's last process, whoever ends it. Why so: docs/readonly-rootfs.md. Other mounts go on
propagating to and from the host, or volumes with mountPropagation Bidirectional would not.
"""

from __future__ import annotations

import errno
import os
import stat

from ocishim.errors import ConfigError
from ocishim.linux import const, mntns, mountinfo, syscalls
from ocishim.oci.members import find_dict, find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A container that asked for a read-only root writes nothing there itself: the hooks' few files.
_READONLY_BYTES = 64 << 20
_LAYER, _FILES = "pyshim", "pyshim-files"  # the overlay and its tmpfs, as mountinfo calls them
_MOUNTS = (("overlay", _LAYER), ("tmpfs", _FILES))

_KEPT_FLAGS = const.MS_NOSUID | const.MS_NODEV | const.MS_NOEXEC
_MOVE_MOUNT_SET_GROUP = 0x100  # Linux 5.15, linux/mount.h
_SHARED = ("shared", "rshared")


def enter(rootfs: str, spec: dict[str, Any]) -> None:
    """Put a layer over the directory `rootfs`, for this process and what it becomes.

    ConfigError when this system cannot.
    """
    try:
        syscalls.unshare(const.CLONE_NEWNS)
        handle = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _seclude(handle, wants_shared=_wants_shared(spec))
        finally:
            os.close(handle)
        _cover(rootfs, spec)
    except OSError as err:
        raise _impossible(rootfs, err) from None


def stack(rootfs: str, spec: dict[str, Any]) -> None:
    """Put a layer on the engine's own mount at `rootfs`, where every process sees it.

    For gVisor's further containers of a pod, whose root is opened by `start`, from the host. Who
    mounted the rootfs unmounts until nothing is mounted there (containerd's UnmountAll), which
    takes the layer along. A layer that is there already serves. ConfigError when `rootfs` is no
    mount, since nobody would unmount it, or when this system cannot.
    """
    try:
        handle = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not mntns.is_mountpoint(handle):
                raise ConfigError(
                    f'hooks.readonly_rootfs = "overlay": gVisor opens {rootfs} at start only, and '
                    "over a folder that is no mount the layer would stay for ever",
                    hint='set it to "skip" or "when-writable" for this runtime',
                )
            there = mountinfo.mount_of(handle)
        finally:
            os.close(handle)
        if not is_layer(there):
            _cover(rootfs, spec)
        elif there.source == _FILES:  # a killed create got half-way
            unstack(rootfs)
            _cover(rootfs, spec)
    except OSError as err:
        raise _impossible(rootfs, err) from None


def is_layer(mount: mountinfo.Mount) -> bool:
    """Whether a mount is one of a layer's two, by its name and by a type that takes root's rights.

    Every user may mount a FUSE file system, and call it as he likes.
    """
    return (mount.kind, mount.source) in _MOUNTS


def unstack(rootfs: str) -> None:
    """Take a stacked layer, or what there is of one, away again."""
    while True:
        handle = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not is_layer(mountinfo.mount_of(handle)):
                return
            # What was looked at, wherever the path leads by now.
            syscalls.umount2(f"/proc/self/fd/{handle}", const.MNT_DETACH)
        finally:
            os.close(handle)


def _impossible(rootfs: str, err: OSError) -> ConfigError:
    return ConfigError(
        f'hooks.readonly_rootfs = "overlay": no layer over {rootfs}: {err.strerror or err}',
        hint=_HINTS.get(err.errno or 0, 'set it to "skip" or "when-writable"'),
    )


_HINTS = {
    errno.EPERM: "it needs CAP_SYS_ADMIN",
    errno.ENODEV: "the kernel has no overlay file system",
    errno.EINVAL: "the kernel's log tells more; an overlay over two overlays is one too many",
}


def _wants_shared(spec: dict[str, Any]) -> bool:
    """True when a mount of the container is to reach the host: then nothing may become a slave."""
    if str(find_dict(spec, "linux").get("rootfsPropagation")) in _SHARED:
        return True
    return any(
        option in _SHARED
        for mount in find_list(spec, "mounts")
        if isinstance(mount, dict)
        for option in mount.get("options") or ()
    )


def _seclude(handle: int, *, wants_shared: bool) -> None:
    """See to it that what is mounted on `handle` in this namespace stays in it.

    A mount propagates if the one it is made on does. Where `handle` is a mount's root, as engines
    make it, that one alone becomes a slave (it receives, and sends nothing): it is the
    container's. A plain folder shares its mount with other things, which may have to send.
    """
    mount = mountinfo.mount_of(handle)
    if not mount.shared:
        return
    top = os.open(mount.point, os.O_PATH | os.O_CLOEXEC)
    try:
        if mountinfo.mount_of(top).id != mount.id:
            raise ConfigError(f"{mount.point} with the rootfs is itself mounted over")
        if wants_shared and not os.path.sameopenfile(top, handle):
            _mask(handle, top)
        else:
            syscalls.mount(None, f"/proc/self/fd/{top}", None, const.MS_SLAVE)
    finally:
        os.close(top)


def _mask(handle: int, top: int) -> None:
    """Bind the folder `handle` on itself, privately, on a mount (its root: `top`) that has peers.

    The mount leaves its peer group for the moment and joins it again by a clone that stayed.
    """
    flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH
    member = syscalls.open_tree(top, "", flags)
    try:
        folder = syscalls.open_tree(handle, "", flags)
        try:
            syscalls.mount_setattr(folder, 0, const.MS_PRIVATE, recursive=False)
            syscalls.mount(None, f"/proc/self/fd/{top}", None, const.MS_PRIVATE)
            mntns.attach(folder, handle)
        finally:
            os.close(folder)
        _join_group(member, top)
    finally:
        os.close(member)


def _join_group(member: int, top: int) -> None:
    flags = const.MOVE_MOUNT_F_EMPTY_PATH | const.MOVE_MOUNT_T_EMPTY_PATH | _MOVE_MOUNT_SET_GROUP
    try:
        syscalls.move_mount(member, "", top, "", flags)
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        raise ConfigError(
            "a layer over a rootfs that is a plain folder, for a container with a volume that "
            "propagates to the host, needs Linux 5.15",
            hint="mount the rootfs, or take the volume's option rshared away",
        ) from None


def _cover(rootfs: str, spec: dict[str, Any]) -> None:
    """Mount a tmpfs, and on it the overlay, over the directory `rootfs`."""
    lower = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    readonly = find_dict(spec, "root").get("readonly") is True
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # tmpfs(5)'s own default
    files = mntns.tmpfs(size=_READONLY_BYTES if readonly else half, source=_FILES)
    try:
        _make_upper(files, os.fstat(lower))
        mntns.attach(files, lower)
        flags = os.fstatvfs(lower).f_flag & _KEPT_FLAGS
        target = f"/proc/self/fd/{files}"
        syscalls.mount(_LAYER, target, "overlay", flags, _options(spec, lower, files))
    finally:
        os.close(files)
        os.close(lower)


def _make_upper(files: int, root: os.stat_result) -> None:
    """Make the layer's folders in the tmpfs; the root's mode and owner are the overlay's."""
    os.mkdir("work", 0o700, dir_fd=files)
    os.mkdir("upper", 0o700, dir_fd=files)
    upper = os.open("upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=files)
    try:
        os.fchown(upper, root.st_uid, root.st_gid)
        os.fchmod(upper, stat.S_IMODE(root.st_mode))
    finally:
        os.close(upper)


def _options(spec: dict[str, Any], lower: int, files: int) -> str:
    """The overlay's options; descriptors for paths, so that no character of a path matters."""
    base = f"/proc/self/fd/{files}"
    options = f"lowerdir=/proc/self/fd/{lower},upperdir={base}/upper,workdir={base}/work"
    label = find_dict(spec, "linux").get("mountLabel")
    if label and os.path.exists("/sys/fs/selinux/enforce"):
        options += f',context="{label}"'
    return options
