"""When a part of the rootfs cannot be written: the container's own choice, or a failure.

A volume mounted read-only over a folder (a ConfigMap at /etc/nvidia), or a file mounted where a
link should go, must not stop the container: nvidia-container-toolkit issue 2026 took whole nodes
down. A rootfs that is read-only as a whole is a failure: nothing the hook is for would happen.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs import Rootfs


def tolerable(rootfs: Rootfs, error: OSError) -> bool:
    """True when `error` comes from a read-only volume or a mounted file inside the rootfs."""
    if error.errno == errno.EBUSY:
        return True
    return error.errno == errno.EROFS and not rootfs.read_only()
