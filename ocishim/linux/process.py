"""System calls about processes: starting one in namespaces of its own, limits, seccomp.

As in `syscalls`: the kernel's names, OSError with the call in its text. Who uses them together,
and in which order, is the hooks' sandbox's business.
"""

from __future__ import annotations

import errno
import struct

from ocishim import posixos
from ocishim.linux import const
from ocishim.linux.ffi import address, get_errno, syscall

# clone3, close_range: the same everywhere. The others: asm/unistd_64.h, asm-generic.
_CLONE3, _CLOSE_RANGE = 435, 436
_NUMBERS = {"x86_64": (157, 302, 317, 122, 123), "aarch64": (167, 261, 277, 151, 152)}
_PRCTL, _PRLIMIT64, _SECCOMP, _SETFSUID, _SETFSGID = _NUMBERS[posixos.machine()]

_SIGKILL, _SIGCHLD = 9, 17
_PR_GET_SECCOMP = 21
_SECCOMP_SET_MODE_FILTER = 1
_CLOSE_RANGE_CLOEXEC = 4  # Linux 5.11
_LAST_FD = 0xFFFFFFFF

RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE = 0, 1, 2, 3, 4
RLIMIT_NOFILE, RLIMIT_AS = 7, 9


def _fail(call: str) -> OSError:
    code = get_errno()
    return OSError(code, f"{call}: {posixos.strerror(code)}")


def clone3(flags: int) -> int:
    """Start a child process in new namespaces: its pid in the parent, 0 in the child.

    fork(2) with CLONE_NEW... in one call: a PID namespace by unshare(2) would take a second fork
    (measured: 0.65 ms more). libc's and Python's fork handlers do not run, therefore only for a
    process with a single thread, whose child soon becomes another program or ends by os._exit.
    """
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, its size, tls
    arguments = struct.pack("=8Q", flags, 0, 0, 0, _SIGCHLD, 0, 0, 0)
    pid = syscall(_CLONE3, arguments, len(arguments))
    if pid < 0:
        raise _fail(f"clone3({const.names(flags, 'CLONE_')})")
    return pid


def close_on_exec(first: int) -> None:
    """Let no descriptor from `first` on live through the next exec; close_range(2).

    Before Linux 5.11 the descriptors are found in /proc, which must be the host's still.
    """
    if not syscall(_CLOSE_RANGE, first, _LAST_FD, _CLOSE_RANGE_CLOEXEC):
        return
    for name in posixos.listdir("/proc/self/fd"):
        try:
            if int(name) >= first:
                posixos.set_inheritable(int(name), False)
        except OSError:
            continue  # the listing's own descriptor


def keep_only(*kept: int) -> None:
    """Close every descriptor but `kept`, which are above 2; /dev/null takes the place of 0 to 2."""
    for name in posixos.listdir("/proc/self/fd"):
        try:
            if int(name) not in kept:
                posixos.close(int(name))
        except OSError:
            continue  # the listing's own descriptor
    for _ in range(3):
        posixos.open("/dev/null", posixos.O_RDWR)


def die_with_parent(writer: int) -> None:
    """Be killed when the parent, who reads the pipe `writer`, ends; also when it has already."""
    import select  # noqa: PLC0415 - whoever has such a child waits for it by this

    if syscall(_PRCTL, const.PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0):
        raise _fail("prctl(PR_SET_PDEATHSIG)")
    # getppid(2) is 0 in a new PID namespace; a pipe that nobody reads tells the same.
    poll = select.poll()
    poll.register(writer, 0)
    if poll.poll(0):
        posixos._exit(1)


def forget_environment() -> None:
    """Take from this process the environment it was started with, /proc/PID/environ included."""
    posixos.clearenv()
    # From the third field on (proc(5)).
    fields = posixos.contents("/proc/self/stat").rpartition(b")")[2].split()
    start, end = int(fields[50 - 3]), int(fields[51 - 3])
    memory = posixos.open("/proc/self/mem", posixos.O_WRONLY | posixos.O_CLOEXEC)
    try:
        posixos.pwrite(memory, bytes(end - start), start)
    finally:
        posixos.close(memory)


def prlimit(resource: int, limit: int) -> None:
    """Lower this process's soft and hard limit, or leave a hard one that is lower.

    Both the same: the soft one's signals do not reach a namespace's first process, the kernel's
    SIGKILL at the hard one does.
    """
    wanted = struct.pack("=QQ", limit, limit)
    if not syscall(_PRLIMIT64, 0, resource, wanted, None):
        return
    old = bytearray(16)
    if syscall(_PRLIMIT64, 0, resource, None, old):
        raise _fail(f"prlimit64(0, {resource}, NULL)")
    hard = struct.unpack("=QQ", old)[1]
    if limit <= hard or syscall(_PRLIMIT64, 0, resource, struct.pack("=QQ", hard, hard), None):
        raise _fail(f"prlimit64(0, {resource}, {limit})")


def set_fs_ids(uid: int, gid: int) -> None:
    """Make files as `uid`:`gid` from now on, mounts and all else as before; setfsuid(2).

    The calls do not fail: who has no right to keeps the ids there were.
    """
    syscall(_SETFSGID, gid)
    syscall(_SETFSUID, uid)


def fs_uid() -> int:
    """Return the user as whom files are opened; an id that is none changes nothing."""
    return syscall(_SETFSUID, -1)


def drop_bounding(kept: int) -> None:
    """Drop every capability of this kernel from the bounding set but those of the mask `kept`."""
    for capability in range(64):
        if kept >> capability & 1 or not syscall(
            _PRCTL, const.PR_CAPBSET_DROP, capability, 0, 0, 0
        ):
            continue
        if get_errno() == errno.EINVAL:  # past the last one
            return
        raise _fail(f"prctl(PR_CAPBSET_DROP, {capability})")


def has_seccomp() -> bool:
    """Whether the kernel can filter system calls; PR_GET_SECCOMP is EINVAL where it cannot."""
    return syscall(_PRCTL, _PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def seccomp(program: bytes) -> None:
    """Install `program` (struct sock_filter after another) as a filter of this thread.

    Needs no_new_privs or CAP_SYS_ADMIN. OSError(EINVAL) where the kernel has no filters.
    """
    buffer = bytearray(program)
    header = struct.pack("=HxxxxxxQ", len(program) // 8, address(buffer))  # struct sock_fprog
    if syscall(_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, header):
        raise _fail("seccomp(SECCOMP_SET_MODE_FILTER)")
