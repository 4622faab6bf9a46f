"""create-soname-symlinks: links from each library's SONAME to the library, in given folders.

Flags: --folder DIR, repeatable; --ldconfig-path PATH, for which there is no need. Specs of
nvidia-container-toolkit 1.18.0-rc.1 have this hook; later ones list the links instead.
"""

from __future__ import annotations

from ocishim.hooks import libview, soname, update_ldcache
from ocishim.hooks.outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "create-soname-symlinks"


def parse(args: list[str]) -> update_ldcache.Request:
    """Return the folders, each once, in order; UsageError names the bad value."""
    return update_ldcache.parse(args)


def apply(rootfs: Rootfs, request: update_ldcache.Request) -> list[Outcome]:
    """Make the links that are missing; UnsafePathError where the image is in the way."""
    with libview.View(rootfs) as view:
        view.add(request.folders, request.folders)
        outcomes = view.outcomes
        for folder in view.folders:
            known = soname.Sonames(rootfs, folder)
            outcomes += soname.link(rootfs, folder, known.all(), known)[0]
    return outcomes
