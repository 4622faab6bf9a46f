"""Private mount namespaces: entering one, changing its root, mounts by descriptor.

Every mount here names its place by descriptor (move_mount(2), or the working directory), because
a path inside an image can change between the look and the act. The callers decide what to mount;
seccomp, capabilities and the other namespaces are theirs too.
"""

from __future__ import annotations

import errno

from ocishim import posixos
from ocishim.linux import const, syscalls

_MS_NODIRATIME, _MS_RELATIME, _ST_RELATIME = 0x800, 0x200000, 0x1000
# What fstatvfs tells and mount(2) sets by the same bits; what is not named would be taken away.
_KEPT_FLAGS = (
    const.MS_RDONLY | const.MS_NOSUID | const.MS_NODEV | const.MS_NOEXEC
    | const.MS_NOATIME | _MS_NODIRATIME
)  # fmt: skip


def private() -> None:
    """Move this process into a mount namespace of its own that still receives the host's mounts.

    MS_SLAVE, not MS_PRIVATE: unmounts on the host must reach us, or we keep its disks busy.
    """
    syscalls.unshare(const.CLONE_NEWNS)
    syscalls.mount(None, "/", None, const.MS_SLAVE | const.MS_REC)


def attach(mount_fd: int, target_fd: int) -> None:
    """Put the detached mount `mount_fd` on the file or directory `target_fd` (O_PATH is enough)."""
    syscalls.move_mount(
        mount_fd, "", target_fd, "",
        const.MOVE_MOUNT_F_EMPTY_PATH | const.MOVE_MOUNT_T_EMPTY_PATH,
    )  # fmt: skip


def restrict(mount_fd: int, attributes: int, *, recursive: bool = False) -> bool:
    """Set attributes (MOUNT_ATTR_...) of the mount behind `mount_fd`, also before it is attached.

    False on Linux before 5.12, which cannot: then `restrict_late` does, once it is attached.
    """
    try:
        syscalls.mount_setattr(mount_fd, attributes, 0, recursive=recursive)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return False
    return True


def restrict_late(mount_fd: int, attributes: int) -> None:
    """Set them by mount(2) on the attached mount, beside those it has, and not below it.

    The values of read-only, nosuid, nodev, noexec are those of mount(2).
    """
    present = posixos.fstatvfs(mount_fd).f_flag
    flags = present & _KEPT_FLAGS
    if present & _ST_RELATIME:
        flags |= _MS_RELATIME
    flags |= attributes | const.MS_REMOUNT | const.MS_BIND
    syscalls.mount(None, f"/proc/self/fd/{mount_fd}", None, flags)


def bind(
    source_fd: int, target_fd: int, *, recursive: bool = False, read_only: bool = False
) -> int:
    """Bind the file or directory `source_fd` on `target_fd`; return the new mount, caller closes.

    `read_only` is complete before the mount can be seen, on Linux 5.12 and later; before, it
    follows at once and does not reach the mounts below (`recursive`).
    """
    flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    mount_fd = syscalls.open_tree(source_fd, "", flags)
    try:
        early = not read_only or restrict(mount_fd, const.MOUNT_ATTR_RDONLY, recursive=recursive)
        attach(mount_fd, target_fd)
        if not early:
            restrict_late(mount_fd, const.MOUNT_ATTR_RDONLY)
    except BaseException:
        posixos.close(mount_fd)
        raise
    return mount_fd


def tmpfs(
    *, size: int, mode: int = 0o755, attributes: int = 0, source: str = "pyshim-scratch"
) -> int:
    """Return a tmpfs of `size` bytes that is mounted nowhere yet; the caller closes.

    `source` is what mountinfo will call it.

    Files are made in it by descriptor (`os.open(name, flags, dir_fd=fd)`), and a clone of one
    can be attached: nothing of it is ever visible at a path of the image.
    """
    context = syscalls.fsopen("tmpfs")
    try:
        syscalls.fsconfig(context, const.FSCONFIG_SET_STRING, "source", source)
        syscalls.fsconfig(context, const.FSCONFIG_SET_STRING, "size", str(size))
        syscalls.fsconfig(context, const.FSCONFIG_SET_STRING, "mode", f"{mode:o}")
        syscalls.fsconfig(context, const.FSCONFIG_CMD_CREATE, None, None)
        return syscalls.fsmount(context, attributes)
    finally:
        posixos.close(context)


def is_mountpoint(fd: int) -> bool:
    """Whether `fd` (a file or directory, O_PATH is enough) is the root of a mount."""
    status = syscalls.statx(fd)
    if status.known & const.STATX_ATTR_MOUNT_ROOT:
        return bool(status.attributes & const.STATX_ATTR_MOUNT_ROOT)
    return _listed_mountpoint(fd)  # Linux 5.6 and 5.7


def _listed_mountpoint(fd: int) -> bool:
    """The same from /proc: the file's mount is mounted where the file is."""
    from ocishim.linux import mountinfo  # noqa: PLC0415 - old kernels only

    try:
        return mountinfo.mount_of(fd).point == posixos.readlink(f"/proc/self/fd/{fd}")
    except LookupError:  # a mount of another namespace
        return False


def pivot_into(root_fd: int) -> None:
    """Make the mount behind `root_fd` this process's root and drop everything else.

    `root_fd` must be the root of a mount in a private namespace (see `bind`). When the kernel
    refuses (EINVAL: the present root is an initramfs, or came from chroot), the mount is moved
    over "/" and entered by chroot(2), as runc does with --no-pivot; then the old root stays in
    the namespace, below the new one.
    """
    posixos.fchdir(root_fd)
    try:
        # "." twice: the old root lands on top of the new one, and no directory of the image is
        # needed to keep it (pivot_root(2)).
        syscalls.pivot_root(".", ".")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        syscalls.mount(".", "/", None, const.MS_MOVE)
        posixos.chroot(".")
    else:
        # The working directory is the old root now. Slave first, so that the unmounts below do
        # not travel back to the host.
        syscalls.mount(None, ".", None, const.MS_SLAVE | const.MS_REC)
        syscalls.umount2(".", const.MNT_DETACH)
    posixos.chdir("/")
