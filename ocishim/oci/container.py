"""What hooks must know of a container beside its rootfs: who it runs as, where it has tmpfs.

From config.json, or from the words in which pyshim has told a chain of hooks. Both decide what a
hook may do for the container: copy what its user could read, write to what it mounts itself.
"""

from __future__ import annotations

from ocishim import posixos as os
from ocishim.errors import HookError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from typing_extensions import Self

USER_OPTION, TMPFS_OPTION = "--user", "--tmpfs"


class Container:
    """uid, gid and groups of process.user; tmpfs: destinations of tmpfs mounts."""

    __slots__ = ("gid", "groups", "tmpfs", "uid")

    def __init__(
        self, uid: int = 0, gid: int = 0, groups: Sequence[int] = (), tmpfs: Sequence[str] = ()
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.tmpfs = tmpfs

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        """Read config.json; what a runtime would refuse counts as not there."""
        process = spec.get("process")
        user = process.get("user") if isinstance(process, dict) else None
        user = user if isinstance(user, dict) else {}
        groups, mounts = user.get("additionalGids"), spec.get("mounts")
        return cls(
            _number(user.get("uid")),
            _number(user.get("gid")),
            [_number(group) for group in groups] if isinstance(groups, list) else (),
            list(_tmpfs_of(mounts if isinstance(mounts, list) else [])),
        )

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Read what `options` wrote; UsageError names a value that is not such."""
        text = options.get(USER_OPTION, "0:0:")
        tmpfs = [path for path in options.get(TMPFS_OPTION, "").split(":") if path]
        try:
            uid, gid, groups = text.split(":")
            return cls(
                int(uid), int(gid), [int(group) for group in groups.split(",") if group], tmpfs
            )
        except ValueError:
            raise UsageError(f"option {USER_OPTION} {text!r} is not UID:GID:GROUPS") from None

    def options(self) -> list[str]:
        """Return the words for a chain's command line; for root, without tmpfs, there are none."""
        words = []
        if self.uid:
            groups = ",".join(map(str, self.groups))
            words += [USER_OPTION, f"{self.uid}:{self.gid}:{groups}"]
        if self.tmpfs:
            words += [TMPFS_OPTION, ":".join(self.tmpfs)]
        return words

    def reading(self) -> Reading:
        """Open files as the container's user, in a `with`."""
        return Reading(self)


class Reading:
    """The thread's file system ids are the container's user's: the kernel tells what it may read.

    Its supplementary groups stay afterwards. Root stays root.
    """

    __slots__ = ("_container",)

    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> None:
        user = self._container
        if not user.uid:
            return
        from ocishim.linux import process  # noqa: PLC0415 - most containers run as root

        try:
            os.setgroups(user.groups)
        except PermissionError:
            pass  # a user namespace without: none but its owner's
        process.set_fs_ids(user.uid, user.gid)
        if process.fs_uid() != user.uid:
            raise HookError(f"files cannot be read as the container's user {user.uid}")

    def __exit__(self, *_: object) -> None:
        if self._container.uid:
            from ocishim.linux import process  # noqa: PLC0415 - as above

            process.set_fs_ids(os.geteuid(), os.getegid())


def _number(value: object) -> int:
    """A user or group id; 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0


def _tmpfs_of(mounts: list[Any]) -> Sequence[str]:
    """Where config.json mounts a tmpfs of its own: those of a bind are somebody else's."""
    found = []
    for mount in mounts:
        if not isinstance(mount, dict) or mount.get("type") != "tmpfs":
            continue
        path, binds = mount.get("destination"), has_bind_option(mount)
        if isinstance(path, str) and path and not binds and not set(":\0") & set(path):
            found.append("/" + path.strip("/"))
    return found


def has_bind_option(mount: dict[str, Any]) -> bool:
    """Whether the options of a mount make it a bind mount, whatever its type says."""
    options = mount.get("options")
    return isinstance(options, list) and ("bind" in options or "rbind" in options)
