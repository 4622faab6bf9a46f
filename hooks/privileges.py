"""The capabilities each hook's work needs; a chain keeps the sum of its hooks' and no other.

Files and folders of an image belong to anybody: DAC_OVERRIDE and FOWNER, also in a folder with the
sticky bit. SETUID and SETGID where folders are read as the container's user. FSETID keeps a setgid
bit that chmod was asked for. Mounts are SYS_ADMIN's, and so are the namespaces of ldconfig, which
becomes nobody there, with an empty bounding set, and is killed at its deadline; SYS_CHROOT is for
where no root can be pivoted (an initramfs).
"""

from __future__ import annotations

from ocishim.linux import const, privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_FILES = (const.CAP_DAC_OVERRIDE, const.CAP_FOWNER)
_AS_USER = (const.CAP_SETUID, const.CAP_SETGID)
_LDCONFIG = (const.CAP_SYS_ADMIN, const.CAP_SETPCAP, const.CAP_KILL, const.CAP_SYS_CHROOT)

NEEDED = {
    "chmod": (*_FILES, const.CAP_FSETID),
    "create-soname-symlinks": (*_FILES, *_AS_USER),
    "create-symlinks": _FILES,
    "disable-device-node-modification": (const.CAP_DAC_OVERRIDE, const.CAP_SYS_ADMIN),
    "enable-cuda-compat": _FILES,
    "move-net-devices": (const.CAP_NET_ADMIN, const.CAP_SYS_ADMIN, const.CAP_SYS_PTRACE),
    "update-application-profile": _FILES,
    "update-ldcache": (*_FILES, *_AS_USER, *_LDCONFIG),
}
"""Hook name -> capabilities (capabilities(7))."""


def limit(names: Iterable[str]) -> None:
    """Keep what the hooks `names` need; also of the parts that run later in this process."""
    kept = 0
    for name in names:
        for capability in NEEDED[name]:
            kept |= 1 << capability
    privileges.limit(kept)
