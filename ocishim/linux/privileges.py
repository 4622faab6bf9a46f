"""What the process may, and how long: fewer capabilities, none gained by exec, an end.

Capabilities by python-prctl's C part where it can be imported, which is a builtin of the static
file; else our own system calls do the same. Its Python part costs 1 ms at every start. What a
process needs is its program's business.
"""

from __future__ import annotations

import struct

from ocishim import posixos
from ocishim.linux import const, syscalls
from ocishim.linux.ffi import get_errno, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

# asm/unistd_64.h and asm-generic/unistd.h
_NUMBERS = {"x86_64": (222, 223, 302), "aarch64": (107, 110, 261)}
_TIMER_CREATE, _TIMER_SETTIME, _PRLIMIT64 = _NUMBERS[posixos.machine()]
_CLOCK_MONOTONIC = 1
_SIGKILL = 9
# Bytes of a file: ldconfig's copy, a cache; descriptors; signals, for one timer; seconds of CPU.
_LEAST = ((1, 64 << 20), (7, 1024), (11, 16), (0, (1 << 64) - 1))


def limit(kept: int) -> None:
    """Keep of the thread's capabilities those of the mask `kept`; gain none by exec any more.

    The bounding set stays: with no_new_privs even root's exec gives no more than is permitted
    (capabilities(7), prctl(2)).

    Not dumpable before that: ptrace(2) lets whoever has the same user and as many capabilities as
    are left enter, and from there /proc/PID/root, which before the pivot is the host's. Root of
    another container that shares the PID namespace has DAC_OVERRIDE and FOWNER.
    """
    syscalls.prctl(const.PR_SET_DUMPABLE, 0, 0, 0, 0)
    library = _prctl()
    if library is None:
        permitted = syscalls.capget()[1] & kept
        syscalls.capset(permitted, permitted, 0)
        syscalls.prctl(const.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return
    every = range(library.CAP_LAST_CAP + 1)
    others = [number for number in every if not kept >> number & 1]
    # To set in the effective, permitted and inheritable set; to clear there.
    library.set_caps([], [], [], others, others, list(every))
    library.prctl(library.PR_SET_NO_NEW_PRIVS, 1)


def raise_limits() -> None:
    """Raise the process's limits to what its work needs, as far as the kernel lets it.

    crun has hooks under the container's own limits, which are for its programs: a small one must
    not keep it from starting.
    """
    for resource, least in _LEAST:
        old = bytearray(16)
        if syscall(_PRLIMIT64, 0, resource, None, old):
            continue
        soft, hard = struct.unpack("=QQ", old)
        if soft >= least:
            continue
        for most in (max(least, hard), hard):
            if not syscall(
                _PRLIMIT64, 0, resource, struct.pack("=QQ", min(least, most), most), None
            ):
                break


def kill_after(seconds: float) -> None:
    """Have the kernel send this process SIGKILL then, whatever it is doing, stopped or not.

    A timer of the process's own (timer_create, section 2 of the manual): crun 1.8 waits for a
    stopped hook for ever, and nobody else is there to watch.
    """
    # struct sigevent: value, signal, notify (SIGEV_SIGNAL)
    event = struct.pack("=qii48x", 0, _SIGKILL, 0)
    timer = bytearray(4)
    # struct itimerspec: no interval; seconds and nanoseconds
    when = struct.pack("=4q", 0, 0, int(seconds), int(seconds % 1 * 1e9))
    if syscall(_TIMER_CREATE, _CLOCK_MONOTONIC, event, timer) or syscall(
        _TIMER_SETTIME, struct.unpack("=i", timer)[0], 0, when, None
    ):
        code = get_errno()
        raise OSError(code, f"timer_create(CLOCK_MONOTONIC, SIGKILL): {posixos.strerror(code)}")


def _prctl() -> ModuleType | None:
    try:
        import _prctl as library  # type: ignore[import-not-found]  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    found: ModuleType = library
    return found
