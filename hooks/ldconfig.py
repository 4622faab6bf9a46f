"""The host's ldconfig, run in the container's rootfs: finding it, sealing it, telling how it went.

Only ever a program of the host (CVE-2024-0136): what the image calls /sbin/ldconfig is never
looked at. What ldconfig is asked to do is the hooks' part.
"""

from __future__ import annotations

from ocishim import posixos as os
from ocishim.errors import DocumentError, HookError, UsageError
from ocishim.hooks import arch, elf, ldconf, sandbox
from ocishim.linux import memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs import Rootfs

DEFAULT_PATH = "/sbin/ldconfig"
TIMEOUT = 10.0  # seconds, without an alarm


def run(rootfs: Rootfs, path: str, args: list[str]) -> None:
    """Run the host's ldconfig `path` with `args` inside `rootfs`.

    HookError: it cannot be used, fails, or is not done in time: ours where the hook program has
    set an alarm, else 10 s.
    """
    program = _sealed(path)
    timeout = _time_left()
    try:
        job = sandbox.Job(rootfs.fd, program, ["ldconfig", *args], timeout=timeout)
        result = sandbox.run(job)
    finally:
        os.close(program)
    if result.timed_out:
        raise HookError(f"ldconfig: not done after {timeout:.3g} s, killed")
    if result.status:
        raise HookError(f"ldconfig: {result.describe()}")


def _time_left() -> float:
    """Seconds: a little less than the alarm's, so that the message names ldconfig."""
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - `signal` costs 3 ms

    left: float = _signal.getitimer(_signal.ITIMER_REAL)[0]
    return left * 0.95 if left else TIMEOUT


def folder(unsafe_path: str) -> str:
    """Return a --folder value as an absolute path; UsageError when ldconfig could not name it."""
    if not unsafe_path or not ldconf.is_plain(unsafe_path):
        raise UsageError(f"--folder {unsafe_path!r} is not a path that ld.so.conf can hold")
    return "/" + unsafe_path.strip("/")


def _sealed(path: str) -> int:
    """A sealed copy of the program; the caller closes."""
    # Debian and Ubuntu have wrapped ldconfig in a script that ends by calling ldconfig.real.
    real = f"{path}.real"
    path = real if os.path.exists(real) else path
    try:
        program = memfd.sealed(path)
    except OSError as error:
        raise HookError(f"ldconfig {path!r} of the host: {error.strerror}") from error
    try:
        elf.require_static_program(
            lambda size, offset: os.pread(program, size, offset), arch.host().elf_machine
        )
    except DocumentError as error:
        os.close(program)
        raise HookError(f"ldconfig {path!r} of the host: {error.message}") from error
    return program
