"""disable-device-node-modification: keep the driver's tools from making device nodes inside.

No flags. A container that sees `ModifyDeviceFiles: 1` in /proc/driver/nvidia/params may create
device nodes that were not given to it. Where the host says so, the container gets a copy that
says 0, mounted over that file, read-only, from a tmpfs that is visible nowhere else.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import HookError
from ocishim.hooks import flags
from ocishim.hooks.outcome import Outcome
from ocishim.linux import const, mntns, syscalls
from ocishim.rootfs.handle import reopen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "disable-device-node-modification"

PARAMS = "/proc/driver/nvidia/params"
_LARGEST_FILE = 64 << 10  # bytes; the driver's has 1 KiB
_ALLOWED, _FORBIDDEN = b"ModifyDeviceFiles: 1", b"ModifyDeviceFiles: 0"
_PROC_MAGIC = 0x9FA0  # linux/magic.h
_ATTRIBUTES = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC


def parse(args: list[str]) -> None:
    """Take no flag; UsageError for any."""
    flags.of(NAME, args)


def modified(text: bytes) -> bytes | None:
    """The parameters with device files forbidden; None when nothing has to change."""
    lines = text.splitlines()
    if _ALLOWED not in lines or _FORBIDDEN in lines:
        return None
    changed = [_FORBIDDEN if line == _ALLOWED else line for line in lines]
    return b"\n".join((*changed, b""))


def apply(rootfs: Rootfs, request: None) -> list[Outcome]:  # noqa: ARG001 - every hook's signature
    """Mount the copy, once; a warning where the container has no such file to mount it on."""
    try:
        fd = posixos.open(PARAMS, posixos.O_RDONLY | posixos.O_CLOEXEC)
    except FileNotFoundError:
        return []  # no NVIDIA driver on the host
    hosts = posixos.fstat(fd).st_dev
    text = modified(_read(fd))
    if text is None:
        return []
    try:
        target = rootfs.resolve(PARAMS, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        # Without /proc (gVisor mounts its own later, with the right value) there is nothing to
        # hide; the peer fails here and the container with it.
        return [Outcome(f"{PARAMS}: not in the container's /proc, left as it is", warning=True)]
    folder = -1
    try:
        if _is_served(rootfs, target):
            return []
        folder = rootfs.resolve(posixos.path.dirname(PARAMS), posixos.O_PATH | posixos.O_DIRECTORY)
        if _has_peers(target, hosts) or _has_peers(folder, hosts):
            shared = f"{PARAMS}: on a volume shared with others, left as it is"
            return [Outcome(shared, warning=True)]
        _mount_over(target, folder, text)
    except OSError as error:
        raise HookError(f"{PARAMS}: {error.strerror}") from error
    finally:
        posixos.close(target)
        if folder >= 0:
            posixos.close(folder)
    return [Outcome(f"{PARAMS}: a copy with {_FORBIDDEN.decode()!r} mounted")]


def _is_served(rootfs: Rootfs, target: int) -> bool:
    """Whether the container has a copy already; what lies in its /proc is the driver's own file.

    UnsafePathError when there is something else than a file.
    """
    if syscalls.fstatfs_type(target) == _PROC_MAGIC:
        return False
    flags = posixos.O_RDONLY | posixos.O_NONBLOCK | posixos.O_NOCTTY
    return modified(_read(reopen(target, PARAMS, flags, rootfs.look(target, PARAMS)))) is None


def _has_peers(place: int, hosts: int) -> bool:
    """Whether what is mounted on `place` would be mounted elsewhere, too: on the host, to stay.

    An image without a /proc of the kernel's may have a link there, to a volume of rshared mounts;
    the host's /proc, whose st_dev is `hosts`, may be such a volume itself.
    """
    if syscalls.fstatfs_type(place) == _PROC_MAGIC and posixos.fstat(place).st_dev != hosts:
        return False  # the container's own, whatever its runtime made of it
    from ocishim.linux import mountinfo  # noqa: PLC0415 - it is the container's own /proc elsewhere

    try:
        return mountinfo.mount_of(place).shared
    except LookupError:
        return False  # a detached mount has nobody


def _read(fd: int) -> bytes:
    """Read at most _LARGEST_FILE bytes from `fd` and close it; files in /proc come in pieces."""
    data = b""
    try:
        while len(data) < _LARGEST_FILE:
            chunk = posixos.read(fd, _LARGEST_FILE)
            if not chunk:
                break
            data += chunk
    finally:
        posixos.close(fd)
    return data


def _mount_over(target: int, folder: int, text: bytes) -> None:
    """Mount a new file with `text`, read-only, on the file `target`; `folder` is its folder."""
    tree = mntns.tmpfs(size=max(len(text), 4096), attributes=_ATTRIBUTES)
    try:
        how = posixos.O_RDWR | posixos.O_CREAT | posixos.O_EXCL | posixos.O_CLOEXEC
        file = posixos.open("params", how, 0o444, dir_fd=tree)
        try:
            posixos.write(file, text)
            posixos.fchmod(file, 0o444)  # whatever the umask is
            _bind(tree, folder, file, target)
        finally:
            posixos.close(file)
    finally:
        posixos.close(tree)


def _bind(tree: int, folder: int, file: int, target: int) -> None:
    """Bind `file` of the tmpfs `tree` on `target`.

    Before Linux 6.15 a file can be bound only while its file system is mounted somewhere: for
    that moment it lies on the folder of the parameters.
    """
    mntns.attach(tree, folder)
    try:
        posixos.close(mntns.bind(file, target, read_only=True))
    finally:
        syscalls.umount2(f"/proc/self/fd/{tree}", const.MNT_DETACH)
