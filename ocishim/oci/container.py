"""What hooks must know of a container beside its rootfs: who it runs as, where it has tmpfs.

From config.json, or from the words in which pyshim has told a chain of hooks. Both decide what a
hook may do for the container: copy what its user could read, write to what it mounts itself.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import HookError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from typing_extensions import Self

USER_OPTION, TMPFS_OPTION = "--user", "--tmpfs"
_HELD = "held"  # as the last field of --user
_READS_ALL = ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")


class Container:
    """uid, gid and groups of process.user; tmpfs: destinations of tmpfs mounts.

    held: its root, too, reads only what it may as any user, having no capability to do more.
    """

    __slots__ = ("gid", "groups", "held", "tmpfs", "uid")

    def __init__(
        self, uid: int = 0, gid: int = 0, groups: Sequence[int] = (), tmpfs: Sequence[str] = (),
        *, held: bool = False,
    ) -> None:  # fmt: skip
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.tmpfs = tmpfs
        self.held = held

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        """Read config.json; what a runtime would refuse counts as not there."""
        process = spec.get("process")
        user = process.get("user") if isinstance(process, dict) else None
        user = user if isinstance(user, dict) else {}
        groups, mounts = user.get("additionalGids"), spec.get("mounts")
        uid = _number(user.get("uid"))
        return cls(
            uid,
            _number(user.get("gid")),
            [_number(group) for group in groups] if isinstance(groups, list) else (),
            list(_tmpfs_of(mounts if isinstance(mounts, list) else [])),
            held=isinstance(process, dict) and not uid and _is_held(process.get("capabilities")),
        )

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Read what `options` wrote; UsageError names a value that is not such."""
        text = options.get(USER_OPTION, "0:0:")
        tmpfs = [path for path in options.get(TMPFS_OPTION, "").split(":") if path]
        try:
            uid, gid, groups, *held = text.split(":")
            others = [int(group) for group in groups.split(",") if group]
            user = int(uid), int(gid), others, tmpfs
        except ValueError:
            held = [""]
        if held not in ([], [_HELD]):
            raise UsageError(f"option {USER_OPTION} {text!r} is not UID:GID:GROUPS")
        return cls(*user, held=bool(held))

    def options(self) -> list[str]:
        """Return the words for a chain's command line; for root, without tmpfs, there are none."""
        words = []
        if self.uid or self.held:
            groups = ",".join(map(str, self.groups))
            held = f":{_HELD}" if self.held else ""
            words += [USER_OPTION, f"{self.uid}:{self.gid}:{groups}{held}"]
        if self.tmpfs:
            words += [TMPFS_OPTION, ":".join(self.tmpfs)]
        return words

    def reading(self) -> Reading:
        """Open files as the container's user, in a `with`."""
        return Reading(self)


class Reading:
    """The thread's file system ids are the container's user's: the kernel tells what it may read.

    Its supplementary groups stay afterwards. Root stays root, with the capabilities it has there.
    """

    __slots__ = ("_capabilities", "_container")

    def __init__(self, container: Container) -> None:
        self._container = container
        self._capabilities = (0, 0, 0)

    def __enter__(self) -> None:
        user = self._container
        if not user.uid and not user.held:
            return
        from ocishim.linux import const, process, syscalls  # noqa: PLC0415 - most run as root

        try:
            posixos.setgroups(user.groups)
        except PermissionError:
            pass  # a user namespace without: none but its owner's
        process.set_fs_ids(user.uid, user.gid)
        if process.fs_uid() != user.uid:
            raise HookError(f"files cannot be read as the container's user {user.uid}")
        if not user.uid:
            self._capabilities = effective, permitted, inheritable = syscalls.capget()
            every = sum(1 << getattr(const, name) for name in _READS_ALL)
            syscalls.capset(effective & ~every, permitted, inheritable)

    def __exit__(self, *_: object) -> None:
        user = self._container
        if not user.uid and not user.held:
            return
        from ocishim.linux import process, syscalls  # noqa: PLC0415 - as above

        process.set_fs_ids(posixos.geteuid(), posixos.getegid())
        if not user.uid:
            syscalls.capset(*self._capabilities)


def _number(value: object) -> int:
    """A user or group id; 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0


def _is_held(capabilities: object) -> bool:
    """Whether root has none that reads everybody's files: execve(2) gives it the bounding set.

    Every engine tells that, `{}` where all are dropped; where it is missing nothing is known.
    """
    if not isinstance(capabilities, dict):
        return False
    bounding = capabilities.get("bounding")
    names = bounding if isinstance(bounding, list) else []
    return not any(name in names for name in _READS_ALL)


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
