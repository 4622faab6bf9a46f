"""One function per system call, with the kernel's name and argument order.

Every function raises OSError whose text reads like strace's:
`openat2(5, 'usr/lib', O_DIRECTORY|O_PATH, RESOLVE_IN_ROOT): Too many levels of symbolic links`.
The class is the one Python picks for the errno (FileNotFoundError...). Paths go through
os.fsencode; one that holds a NUL is refused, because the kernel would read half of it.
What Python's `os` offers on 3.10 already (openat, fchmod, memfd_create...) is not repeated.
"""

from __future__ import annotations

import errno
import struct

from ocishim import posixos
from ocishim.linux import const
from ocishim.linux.ffi import address, get_errno, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    PathLike = str | bytes

# asm/unistd_64.h and asm-generic/unistd.h; numbers from 424 on are the same everywhere.
_NUMBERS = {
    "x86_64": (165, 166, 155, 272, 308, 322, 332, 157, 125, 126, 138),
    "aarch64": (40, 39, 41, 97, 268, 281, 291, 167, 90, 91, 44),
}
_MACHINE = posixos.machine()
if _MACHINE not in _NUMBERS:
    _message = f"no system call numbers for {_MACHINE}"
    raise OSError(errno.ENOSYS, _message)
(
    _MOUNT, _UMOUNT2, _PIVOT_ROOT, _UNSHARE, _SETNS, _EXECVEAT, _STATX, _PRCTL,
    _CAPGET, _CAPSET, _FSTATFS,
) = _NUMBERS[_MACHINE]  # fmt: skip
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR, _FCHMODAT2 = 437, 442, 452

# A rename or mount anywhere on the host makes openat2 return EAGAIN while it walks `..`
# (openat2(2)); with 128 tries the chance to lose against one busy renamer is about 0.1 %
# (libpathrs measured it).
_OPENAT2_TRIES = 128


def _encode(path: PathLike | None) -> bytes | None:
    """A path as the kernel reads it; None stays NULL."""
    if path is None:
        return None
    encoded = posixos.fsencode(path)
    if b"\0" in encoded:
        message = f"path holds a NUL byte: {path!r}"
        raise OSError(errno.EINVAL, message)
    return encoded


def _fail(describe: Callable[[], str]) -> OSError:
    """The error of the call that just failed."""
    code = get_errno()
    return OSError(code, f"{describe()}: {posixos.strerror(code)}")


def openat2(dirfd: int, path: PathLike, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` below `dirfd` and return a descriptor, O_CLOEXEC always; the caller closes."""
    # struct open_how; O_PATH refuses flags it does not know, O_CLOEXEC it knows.
    how = struct.pack("=QQQ", flags | posixos.O_CLOEXEC, mode, resolve)
    encoded = _encode(path)
    for _ in range(_OPENAT2_TRIES):
        fd = syscall(_OPENAT2, dirfd, encoded, how, len(how))
        if fd >= 0:
            return fd
        if get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    if get_errno() == errno.ENOENT:  # an answer; to name the flags takes ten times as long
        raise _fail(lambda: f"openat2({dirfd}, {path!r})")
    raise _fail(
        lambda: (
            f"openat2({dirfd}, {path!r}, {const.names(flags, 'O_')}, "
            f"{const.names(resolve, 'RESOLVE_')})"
        )
    )


def mount(
    source: PathLike | None,
    target: PathLike,
    fstype: str | None,
    flags: int,
    data: str | None = None,
) -> None:
    """mount, section 2 of the manual."""
    if syscall(_MOUNT, _encode(source), _encode(target), _encode(fstype), flags, _encode(data)):
        raise _fail(
            lambda: (
                f"mount({source!r}, {target!r}, {fstype!r}, {const.names(flags, 'MS_')}, {data!r})"
            )
        )


def umount2(target: PathLike, flags: int) -> None:
    """umount2, section 2 of the manual."""
    if syscall(_UMOUNT2, _encode(target), flags):
        raise _fail(lambda: f"umount2({target!r}, {const.names(flags, ('MNT_', 'UMOUNT_'))})")


def pivot_root(new_root: PathLike, put_old: PathLike) -> None:
    """pivot_root, section 2 of the manual."""
    if syscall(_PIVOT_ROOT, _encode(new_root), _encode(put_old)):
        raise _fail(lambda: f"pivot_root({new_root!r}, {put_old!r})")


def unshare(flags: int) -> None:
    """unshare, section 2 of the manual."""
    if syscall(_UNSHARE, flags):
        raise _fail(lambda: f"unshare({const.names(flags, 'CLONE_')})")


def setns(fd: int, flags: int) -> None:
    """setns, section 2 of the manual."""
    if syscall(_SETNS, fd, flags):
        raise _fail(lambda: f"setns({fd}, {const.names(flags, 'CLONE_')})")


def fchmodat2(dirfd: int, path: PathLike, mode: int, flags: int) -> None:
    """Linux 6.6; ENOSYS before. With AT_EMPTY_PATH it takes an O_PATH descriptor."""
    if syscall(_FCHMODAT2, dirfd, _encode(path), mode, flags):
        raise _fail(lambda: f"fchmodat2({dirfd}, {path!r}, {mode:#o}, {const.names(flags, 'AT_')})")


def execveat(fd: int, argv: list[str], env: dict[str, str]) -> None:
    """Replace this process by the program behind `fd`; returns by raising only.

    os.execve on a descriptor is fexecve(3): execveat(fd, "", ..., AT_EMPTY_PATH) in glibc from
    2.27 and in musl, so that no /proc is needed. A script (#!) cannot be run this way when `fd`
    is close-on-exec (execveat(2)).
    """
    try:
        posixos.execve(fd, argv, env)
    except OSError as error:
        message = f"execveat({fd}, {argv!r}): {error.strerror}"
        raise OSError(error.errno, message) from None


def prctl(option: int, *args: int | bytes) -> int:
    """Return the value that PR_GET_... calls return."""
    result = syscall(_PRCTL, option, *args)
    if result < 0:
        raise _fail(lambda: f"prctl({option}, {', '.join(map(repr, args))})")
    return result


def capget() -> tuple[int, int, int]:
    """Return the thread's (effective, permitted, inheritable) capability masks."""
    header = bytearray(struct.pack("=Ii", const.CAP_VERSION_3, 0))
    data = bytearray(24)
    if syscall(_CAPGET, header, data):
        raise _fail(lambda: "capget()")
    low = struct.unpack("=6I", data)
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the thread's capability masks."""
    masks = (effective, permitted, inheritable)
    data = struct.pack("=6I", *(m & 0xFFFFFFFF for m in masks), *(m >> 32 for m in masks))
    if syscall(_CAPSET, struct.pack("=Ii", const.CAP_VERSION_3, 0), data):
        raise _fail(lambda: "capset({:#x}, {:#x}, {:#x})".format(*masks))


class Statx:
    """What is looked at of struct statx: type and mode, which file, how long, on which mount.

    mount: the mount's id, -1 where the kernel does not tell (before Linux 5.8). attributes, known:
    STATX_ATTR_..., and those of them that the file system reports.
    """

    __slots__ = ("attributes", "device", "inode", "known", "links", "mode", "mount", "size")

    def __init__(self, data: bytes | bytearray) -> None:
        mask, _, self.attributes, self.links, _, _, self.mode, _ = _STATX_HEAD.unpack_from(data)
        self.inode, self.size, _, self.known = _STATX_SIZES.unpack_from(data, 32)
        self.device = _STATX_DEVICE.unpack_from(data, 136)
        mount = _STATX_MOUNT.unpack_from(data, 144)[0]
        self.mount: int = mount if mask & const.STATX_MNT_ID else -1

    def same_file(self, other: Statx) -> bool:
        """Whether both are of one file, of one type."""
        mine = (self.device, self.inode, self.mode & _S_IFMT)
        return mine == (other.device, other.inode, other.mode & _S_IFMT)


_S_IFMT = 0o170000
_STATX_HEAD = struct.Struct("=IIQIIIHH")  # stx_mask ... stx_mode, spare
_STATX_SIZES = struct.Struct("=QQQQ")  # stx_ino, stx_size, stx_blocks, stx_attributes_mask
_STATX_DEVICE = struct.Struct("=II")  # stx_dev_major, stx_dev_minor
_STATX_MOUNT = struct.Struct("=Q")  # stx_mnt_id
_STATX_WANTED = 0x7FF | const.STATX_MNT_ID  # STATX_BASIC_STATS
# One for all calls: to make a pointer of a new one takes ten times as long as the call.
_buffer = bytearray(256)
_buffer_at = address(_buffer)


def statx(fd: int) -> Statx:
    """Look at an open file, O_PATH included: section 2 of the manual. os.fstat tells no mount."""
    if syscall(_STATX, fd, b"", const.AT_EMPTY_PATH, _STATX_WANTED, _buffer_at):
        raise _fail(lambda: f"statx({fd}, '', AT_EMPTY_PATH)")
    return Statx(_buffer)


def fdinfo_mount_id(fd: int) -> int:
    """The same as Statx.mount from proc(5), for Linux 5.6 and 5.7."""
    info = posixos.open(f"/proc/self/fdinfo/{fd}", posixos.O_RDONLY | posixos.O_CLOEXEC)
    try:
        text = posixos.read(info, 4096)
    finally:
        posixos.close(info)
    return int(text.partition(b"mnt_id:")[2].split()[0])


def fstatfs_type(fd: int) -> int:
    """Return f_type of the file system of an open file; fstatfs(2). os.fstatvfs leaves it out."""
    if syscall(_FSTATFS, fd, _buffer_at):
        raise _fail(lambda: f"fstatfs({fd})")
    return int(struct.unpack_from("=Q", _buffer)[0]) & 0xFFFFFFFF  # __fsword_t


def open_tree(dirfd: int, path: PathLike, flags: int) -> int:
    """Linux 5.2: with OPEN_TREE_CLONE a detached bind mount; the caller closes."""
    fd = syscall(_OPEN_TREE, dirfd, _encode(path), flags | const.OPEN_TREE_CLOEXEC)
    if fd < 0:
        raise _fail(lambda: f"open_tree({dirfd}, {path!r}, {flags:#x})")
    return fd


def move_mount(
    from_dirfd: int, from_path: PathLike, to_dirfd: int, to_path: PathLike, flags: int
) -> None:
    """Linux 5.2."""
    if syscall(_MOVE_MOUNT, from_dirfd, _encode(from_path), to_dirfd, _encode(to_path), flags):
        raise _fail(
            lambda: f"move_mount({from_dirfd}, {from_path!r}, {to_dirfd}, {to_path!r}, {flags:#x})"
        )


def fsopen(fstype: str) -> int:
    """Linux 5.2: a file system to configure; the caller closes."""
    fd = syscall(_FSOPEN, _encode(fstype), const.FSOPEN_CLOEXEC)
    if fd < 0:
        raise _fail(lambda: f"fsopen({fstype!r})")
    return fd


def fsconfig(fd: int, command: int, key: str | None, value: str | None) -> None:
    """Set a string or a flag, or give a command."""
    if syscall(_FSCONFIG, fd, command, _encode(key), _encode(value), 0):
        raise _fail(lambda: f"fsconfig({fd}, {command}, {key!r}, {value!r})")


def fsmount(fd: int, attributes: int) -> int:
    """Return the configured file system as a detached mount; the caller closes."""
    mount_fd = syscall(_FSMOUNT, fd, const.FSMOUNT_CLOEXEC, attributes)
    if mount_fd < 0:
        raise _fail(lambda: f"fsmount({fd}, {const.names(attributes, 'MOUNT_ATTR_')})")
    return mount_fd


def mount_setattr(
    fd: int, set_attributes: int, propagation: int, *, recursive: bool, user_namespace: int = 0
) -> None:
    """Linux 5.12, on the mount behind `fd`; ENOSYS before.

    user_namespace: a descriptor, for MOUNT_ATTR_IDMAP.
    """
    attributes = struct.pack("=QQQQ", set_attributes, 0, propagation, user_namespace)
    flags = const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    if syscall(_MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes)):
        raise _fail(
            lambda: (
                f"mount_setattr({fd}, {const.names(set_attributes, 'MOUNT_ATTR_')}, "
                f"{const.names(propagation, 'MS_')})"
            )
        )
