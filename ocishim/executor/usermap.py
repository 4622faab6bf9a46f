"""The container's user namespace, for hooks that pyshim runs itself.

Files a hook makes must belong to the container's root, so the hooks' process enters a user
namespace with the mappings of config.json, or the one it names. Sources: runtime-spec
config-linux.md "User namespace mappings", user_namespaces(7).
"""

from __future__ import annotations

import os

from ocishim.linux import const, syscalls, usernamespace
from ocishim.oci.members import find_list, must_be

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAPPING = ("containerID", "hostID", "size")


class Mapping:
    """A user namespace to make (`uids`, `gids`: texts for /proc) or, with `path`, to join."""

    __slots__ = ("gids", "path", "uids")

    def __init__(self, path: str, uids: str, gids: str) -> None:
        self.path = path
        self.uids = uids
        self.gids = gids

    @property
    def needs_writing(self) -> bool:
        """True when the parent has to write the mapping: only it has the right to."""
        return not self.path

    def root_ids(self) -> tuple[int, int]:
        """The host's ids of the namespace's root; (0, 0) where config.json does not say."""
        return _host_id(self.uids), _host_id(self.gids)

    def enter(self) -> None:
        """Move this process into the namespace, and into a mount namespace that belongs to it.

        Hooks may mount there, as they may under the low-level runtimes.
        """
        os.setgroups([])
        if self.path:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(fd, const.CLONE_NEWUSER)
            finally:
                os.close(fd)
            syscalls.unshare(const.CLONE_NEWNS)
        else:
            syscalls.unshare(const.CLONE_NEWUSER | const.CLONE_NEWNS)

    def write(self, pid: int) -> None:
        """Give the namespace of process `pid` its mappings; called by the parent."""
        usernamespace.write(f"/proc/{pid}/uid_map", self.uids)
        usernamespace.write(f"/proc/{pid}/gid_map", self.gids)

    def become_root(self) -> None:
        """Be the namespace's root, once the mapping is there."""
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # A change of ids switches the parent-death signal off (prctl(2)).
        syscalls.prctl(const.PR_SET_PDEATHSIG, 9)


def wanted(spec: dict[str, Any]) -> Mapping | None:
    """The user namespace config.json asks for, or None."""
    for space in find_list(spec, "linux", "namespaces"):
        if isinstance(space, dict) and space.get("type") == "user":
            path = str(space.get("path") or "")
            return Mapping(path, _lines(spec, "uidMappings"), _lines(spec, "gidMappings"))
    return None


def own_root(uid: int, gid: int) -> None:
    """In a new user namespace of the ordinary user `uid`: be root there, mapped to that user."""
    usernamespace.map_root("self", uid, gid)


def _lines(spec: dict[str, Any], name: str) -> str:
    text = ""
    for index, entry in enumerate(find_list(spec, "linux", name)):
        field = f"linux.{name}[{index}]"
        members = must_be(dict, entry, field)
        numbers = (must_be(int, members.get(key), f"{field}.{key}") for key in _MAPPING)
        text += " ".join(map(str, numbers)) + "\n"
    return text


def _host_id(lines: str) -> int:
    for line in lines.splitlines():
        inside, outside, _ = line.split()
        if inside == "0":
            return int(outside)
    return 0
