"""create-soname-symlinks: links from each library's SONAME to the library, in given folders.

Flags: --folder DIR, repeatable; --ldconfig-path PATH. The host's ldconfig makes the links
(`ldconfig -n -N`, no cache). Specs of nvidia-container-toolkit 1.18.0-rc.1 have this hook; later
ones list the links instead.
"""

from __future__ import annotations

from ocishim.hooks import ldconfig, update_ldcache
from ocishim.hooks.change import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs import Rootfs

NAME = "create-soname-symlinks"


def parse(args: list[str]) -> update_ldcache.Request:
    """Return the folders, each once, in order; UsageError names the bad value."""
    return update_ldcache.parse(args)


def apply(rootfs: Rootfs, request: update_ldcache.Request) -> list[Change]:
    """Make the links; HookError if ldconfig fails."""
    if not request.folders:
        return []
    ldconfig.run(rootfs, request.ldconfig_path, ["-n", "-N", *request.folders])
    return [Change(f"{folder}: links by SONAME made") for folder in request.folders]
