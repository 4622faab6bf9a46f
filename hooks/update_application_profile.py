"""update-application-profile: tell the driver's EGL and Vulkan which GPUs the container has.

No flags. The GPUs are the character devices /dev/nvidiaN of the container; their minor numbers
become a mask in a profile that the driver's libraries read.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import posixos
from ocishim.errors import ForeignMountError, HookError
from ocishim.hooks import flags
from ocishim.hooks.outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "update-application-profile"

_FOLDER = "/etc/nvidia/nvidia-application-profiles-rc.d"
PROFILE = f"{_FOLDER}/10-container.conf"
_DEVICE = "nvidia"
_BITS = 64


def parse(args: list[str]) -> None:
    """Take no flag; UsageError for any."""
    flags.of(NAME, args)


def profile(mask: int) -> bytes:
    """Return the text as nvidia-container-toolkit v1.20.0 has it; hexadecimal is not JSON."""
    return (
        f'{{"profiles":[{{"name":"_container_","settings":["EGLVisibleDGPUDevices",{mask:#x}]}}],'
        f'"rules":[{{"pattern":[],"profile":"_container_"}}]}}'
    ).encode()


def apply(rootfs: Rootfs, request: None) -> list[Outcome]:  # noqa: ARG001 - every hook's signature
    """Write the profile when there is a GPU; a warning where a read-only volume is in the way."""
    mask = 0
    for minor in _minors(rootfs):
        if minor < _BITS:
            mask |= 1 << minor
    if not mask:
        return []
    try:
        posixos.close(rootfs.mkdir_all(_FOLDER, 0o555))
        changed = rootfs.put_file(PROFILE, profile(mask), 0o444)
    except ForeignMountError as error:
        # Nothing but EGL's and Vulkan's choice is lost; a ConfigMap at /etc/nvidia must not keep
        # the container from starting (nvidia-container-toolkit issue 2026).
        return [Outcome(f"{error.message}: profile not written", warning=True)]
    except OSError as error:
        if error.errno != errno.EROFS:
            raise HookError(f"{PROFILE}: {error.strerror}") from error
        return [Outcome(f"{PROFILE}: {posixos.strerror(errno.EROFS)}: not written", warning=True)]
    return [Outcome(f"{PROFILE}: GPU mask {mask:#x}")] if changed else []


def _minors(rootfs: Rootfs) -> list[int]:
    """The minor numbers of the container's GPUs."""
    try:
        names = rootfs.listdir("/dev")
    except (FileNotFoundError, NotADirectoryError):
        return []
    minors = []
    for name in names:
        digits = name.removeprefix(_DEVICE)
        if digits == name or not (digits.isdecimal() and digits.isascii()):
            continue
        try:
            status = rootfs.lstat(f"/dev/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue  # unplugged meanwhile, where the host's /dev is the container's
        if stat.S_ISCHR(status.st_mode):
            minors.append(posixos.minor(status.st_rdev))
    return minors
