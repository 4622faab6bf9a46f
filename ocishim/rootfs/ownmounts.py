"""Which of a container's mounts are its own: where hooks may write.

Its own are the mount of the rootfs and the tmpfs that config.json itself mounts. Everything else
below the rootfs, a volume, a CDI mount, the host's /dev, belongs to somebody else, whatever its
path, its flags or the errors it gives: crun from 1.26 makes read-only mounts read-only only after
the hooks. Decided by the mount's id (statx(2)), on the descriptor that is written to.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import ForeignMountError, UnsafePathError
from ocishim.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Resolve = Callable[[str], int]

_TMPFS_MAGIC = 0x01021994  # linux/magic.h


class OwnMounts:
    """The container's own mounts. `root_fd` is the rootfs and stays its owner's.

    `destinations` names where config.json mounts a tmpfs, asked when it matters; `resolve` opens a
    path in the rootfs, O_PATH.
    """

    __slots__ = ("_destinations", "_resolve", "_root_fd", "_root_mount", "_tmpfs", "everywhere")

    def __init__(
        self, root_fd: int, resolve: Resolve, destinations: Callable[[], Sequence[str]]
    ) -> None:
        self._resolve = resolve
        self._destinations = destinations
        self._root_fd = root_fd
        self._root_mount = -1
        self._tmpfs: set[int] = set()
        self.everywhere = False  # for who puts the container's mounts together

    def is_root(self, fd: int, status: syscalls.Statx) -> bool:
        """Whether `fd`, which has this status, lies on the mount of the rootfs."""
        if self._root_mount < 0:
            self._root_mount = mount_id(self._root_fd, syscalls.statx(self._root_fd))
        return mount_id(fd, status) == self._root_mount

    def require(self, fd: int, unsafe_path: str) -> syscalls.Statx:
        """Return the status of `fd`; ForeignMountError when it is not the container's to write."""
        status = syscalls.statx(fd)
        own = self.everywhere or self.is_root(fd, status) or self._is_tmpfs(fd, status)
        if not own:
            raise self.foreign(fd, unsafe_path)
        return status

    def refusal(self, fd: int, unsafe_path: str) -> ForeignMountError | None:
        """Return what require() raises, None for what is the container's to write."""
        try:
            self.require(fd, unsafe_path)
        except ForeignMountError as error:
            return error
        return None

    def _is_tmpfs(self, fd: int, status: syscalls.Statx) -> bool:
        """Whether `fd` lies on a tmpfs that config.json mounts, and that can be written."""
        number = mount_id(fd, status)
        if number in self._tmpfs:
            return True
        if (
            syscalls.fstatfs_type(fd) != _TMPFS_MAGIC
            or posixos.fstatvfs(fd).f_flag & posixos.ST_RDONLY
        ):
            return False
        if not any(self._is_root_of(number, path) for path in self._destinations()):
            return False
        from ocishim.linux import mountinfo  # noqa: PLC0415 - a path below a container's /dev is rare

        # A volume on top of it may be a tmpfs, too: the host's /run, a pod's emptyDir. Those are
        # mounted elsewhere as well.
        if not mountinfo.is_sole_mount(number):
            return False
        self._tmpfs.add(number)
        return True

    def _is_root_of(self, number: int, path: str) -> bool:
        """Whether `path` is where the mount `number` is mounted."""
        try:
            fd = self._resolve(path)
        except (OSError, UnsafePathError):
            return False
        try:
            status = syscalls.statx(fd)
            if mount_id(fd, status) != number:
                return False
            above = posixos.open("..", posixos.O_PATH | posixos.O_CLOEXEC, dir_fd=fd)
        finally:
            posixos.close(fd)
        try:
            return mount_id(above, syscalls.statx(above)) != number
        finally:
            posixos.close(above)

    def foreign(self, fd: int, unsafe_path: str) -> ForeignMountError:
        """Return the error that names the mount of `fd` as the container sees it."""
        from ocishim.linux import mountinfo  # noqa: PLC0415 - for a warning

        try:
            point = mountinfo.mount_of(fd).point
            root = posixos.readlink(f"/proc/self/fd/{self._root_fd}").rstrip("/")
        except (OSError, LookupError):
            return ForeignMountError(unsafe_path, "of somebody else")
        return ForeignMountError(unsafe_path, point.removeprefix(root) or "/")


def mount_id(fd: int, status: syscalls.Statx) -> int:
    """Return the id of the mount that `fd` lies on."""
    if status.mount >= 0:
        return status.mount
    return syscalls.fdinfo_mount_id(fd)
