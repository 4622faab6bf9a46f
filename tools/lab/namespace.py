"""A private mount namespace for this process, so that nothing of the host is changed.

What is mounted inside dies with the process, however it ends; /run is empty and private, and so
is what engines write to SHIELDED. The process can become the reaper of its orphans, so that a
container left behind is seen as a child.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_CHILD_SUBREAPER = 36

SHIELDED = ("/opt", "/etc/docker", "/etc/cni")
"""Where containerd, dockerd and podman write on their own, whatever their configuration says."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter() -> None:
    """Unshare the mounts of the calling thread and its future children; needs root."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount(/, MS_PRIVATE)")
    _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"), "mount(/run)")
    for runtime in ("runc", "crun"):
        # Their default --root; some of their commands make it even when another one is named.
        os.mkdir(f"/run/{runtime}", 0o700)
    os.makedirs("/run/containers/networks")  # Podman 5 makes it, whatever its --runroot
    for folder in filter(os.path.isdir, SHIELDED):
        _shield(folder)


def _shield(folder: str) -> None:
    """Put a layer over `folder` that takes what is written and dies with the namespace."""
    layer = f"/run/.shields{folder}"
    for part in ("upper", "work"):
        os.makedirs(f"{layer}/{part}")
    options = f"lowerdir={folder},upperdir={layer}/upper,workdir={layer}/work"
    _check(
        _libc.mount(b"overlay", folder.encode(), b"overlay", 0, options.encode()),
        f"mount({folder}, overlay)",
    )


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ended (prctl(2))."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")
