"""Whose files' owners the kernel maps for a container with a user namespace: asked, remembered.

Not on the way of a container without one. edits.py decides by the answers.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.cdi import hostdev
from ocishim.linux import idmap, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.cache import Cache

_ENTRY = "idmap"
_MOST = 256  # answers: a node has some ten file systems
_S_IFDIR, _S_IFMT = 0o040000, 0o170000


class Kernel(hostdev.Kernel):
    """Answers edits.plan(); `can_map`: whether the low-level runtime has mapped mounts at all."""

    __slots__ = ("_answers", "_cache", "_can_map", "_key")

    def __init__(self, cache: Cache, *, can_map: bool = True) -> None:
        self._cache = cache
        self._can_map = can_map
        self._key: tuple[int, int] | None = None
        self._answers: dict[object, bool] = {}

    def maps_owners(self, source: str, *, recursive: bool) -> bool:
        """Whether a bind mount of `source` can have its files' owners mapped.

        A file system's answer is kept, for the user namespace we are in; not that of a folder
        with what is mounted below, which may be something else tomorrow.
        """
        if not self._can_map:
            return False
        try:
            fd = posixos.open(posixos.fsencode(source), posixos.O_PATH | posixos.O_CLOEXEC)
        except (OSError, ValueError):  # gone, or a NUL: the runtime's to complain about
            return False
        try:
            return self._of(fd, recursive=recursive)
        finally:
            posixos.close(fd)

    def _of(self, fd: int, *, recursive: bool) -> bool:
        status = syscalls.statx(fd)
        if recursive and status.mode & _S_IFMT == _S_IFDIR:
            return idmap.maps_owners(fd, recursive=True)
        known = self._known()
        place = (status.device, status.mount, syscalls.fstatfs_type(fd))
        if place not in known:
            if len(known) >= _MOST:
                known.clear()
            known[place] = idmap.maps_owners(fd, recursive=False)
            self._cache.put(_ENTRY, self._key, known)
        return known[place]

    def _known(self) -> dict[object, bool]:
        if self._key is None:
            ours = posixos.stat("/proc/self/ns/user")
            self._key = (ours.st_dev, ours.st_ino)
            kept = self._cache.get(_ENTRY, self._key)
            self._answers = kept if isinstance(kept, dict) else {}
        return self._answers
