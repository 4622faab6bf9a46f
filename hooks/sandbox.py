"""A host program at work inside the container's rootfs, with the least it needs.

The program comes as a sealed copy in memory (ocishim.linux.memfd) and must be static, so that no
file of the image is its code. It is the first process of a PID namespace, in a mount namespace
whose only tree is the rootfs, on which no file can be executed and no device opened. It has an
empty environment, one capability, no new privileges, a list of denied system calls that leaves no
network and no way to start a process, limits, a deadline, and dies with its parent. What it is
told to do is the caller's part.

Prices in ms (differences of medians of 100 alternating runs; all: 3.1, bare ldconfig 2.2): mount
namespace and pivot 0.3, PID namespace 0.1, capabilities 0.2, limits 0.1, seccomp 0.05. Left out:
network namespace 0.5 and IPC namespace 0.1, where seccomp denies the calls; UTS, which protects
nothing from a process without CAP_SYS_ADMIN. python-prctl offers prctl(2) and capabilities too;
importing it takes 1.0 ms, our own calls are loaded already.
"""

from __future__ import annotations

import errno
import select
import time

from ocishim import posixos as os
from ocishim.errors import HookError
from ocishim.hooks import seccomp
from ocishim.linux import const, mntns, process, syscalls

NAMESPACES = const.CLONE_NEWPID
"""Made with the process; the mount namespace follows from inside (see `_enter`)."""

NAMESPACES_FOR_SECCOMP = const.CLONE_NEWIPC | const.CLONE_NEWNET
"""Made as well where the kernel has no seccomp."""

CAPABILITIES = (const.CAP_DAC_OVERRIDE,)
"""What the program keeps: library folders of an image may belong to any user. Not
CAP_DAC_READ_SEARCH: with it open_by_handle_at(2) reaches files outside of the rootfs."""

LIMITS = (
    # Memory that is really the program's; ldconfig takes 10 MiB for 20,000 libraries.
    (process.RLIMIT_DATA, 48 << 20),
    # Address space holds each library whole, one after another; the largest today have 2 GiB.
    (process.RLIMIT_AS, 16 << 30),
    (process.RLIMIT_FSIZE, 64 << 20),  # a cache of 20,000 libraries has 1 MiB
    (process.RLIMIT_NOFILE, 64),
    (process.RLIMIT_CORE, 0),
)

_MOUNT_FLAGS = (
    const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC
)  # the same bits as MS_NOSUID... in mount(2)
_MS_NODIRATIME, _MS_RELATIME, _ST_RELATIME = 0x800, 0x200000, 0x1000
_SIGKILL = 9
_CHUNK = 65536
_KEPT_OUTPUT = 4096  # bytes, the last
_NOT_STARTED = 127


class Result:
    """How the program ended: a wait status, the last of its output, whether time ran out."""

    __slots__ = ("output", "status", "timed_out")

    def __init__(self, status: int, output: bytes, *, timed_out: bool) -> None:
        self.status = status
        self.output = output
        self.timed_out = timed_out

    @property
    def last_line(self) -> str:
        """The last line that is not blank, or nothing."""
        lines = self.output.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def describe(self) -> str:
        """`exit status 1: <last line>`, `killed by signal 9`."""
        if os.WIFSIGNALED(self.status):
            text = f"killed by signal {os.WTERMSIG(self.status)}"
        else:
            text = f"exit status {os.waitstatus_to_exitcode(self.status)}"
        return f"{text}: {self.last_line}" if self.last_line else text


class Job:
    """What to run: `argv` of the static program behind `program`, in the tree below `root_fd`."""

    __slots__ = ("argv", "filter", "program", "root_fd", "timeout")

    def __init__(self, root_fd: int, program: int, argv: list[str], *, timeout: float) -> None:
        self.root_fd = root_fd
        self.program = program
        self.argv = argv
        self.timeout = timeout  # seconds
        self.filter = seccomp.program(os.uname().machine) if process.has_seccomp() else b""


def run(job: Job) -> Result:
    """Run the job to its end or that of its time.

    HookError when the kernel refuses a part of the sandbox: there is no run with less.
    """
    stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    reader, writer = os.pipe()
    try:
        pid = _start(NAMESPACES if job.filter else NAMESPACES | NAMESPACES_FOR_SECCOMP)
        if not pid:
            _child(job, stdin, reader, writer)
        os.close(writer)
        writer = -1
        return _wait(pid, reader, job.timeout)
    finally:
        for fd in (stdin, reader, writer):
            if fd >= 0:
                os.close(fd)


def _start(namespaces: int) -> int:
    try:
        return process.clone3(namespaces)
    except OSError as error:
        raise HookError(f"sandbox refused by the kernel: {error.strerror}") from error


def _wait(pid: int, reader: int, timeout: float) -> Result:
    """Read to the end of the output, which is the end of the program: it is alone in its namespace.

    A program that closes its output and goes on is found by its process descriptor.
    """
    end = time.monotonic() + timeout
    kept, timed_out = b"", False
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(handle, select.POLLIN)
    try:
        while not timed_out:
            left = end - time.monotonic()
            ready = [fd for fd, _ in poll.poll(max(left, 0) * 1000)]
            timed_out = not ready
            if reader in ready:
                chunk = os.read(reader, _CHUNK)
                kept = (kept + chunk)[-_KEPT_OUTPUT:]
                if not chunk:
                    poll.unregister(reader)
            elif handle in ready:
                break
    finally:
        # The first process of a PID namespace takes all others with it.
        os.kill(pid, _SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(handle)
    return Result(status, kept, timed_out=timed_out)


def _child(job: Job, stdin: int, reader: int, writer: int) -> None:
    """Put the sandbox around this process and become the job's program; never returns."""
    try:
        os.close(reader)
        _die_with_parent(writer)
        os.dup2(stdin, 0)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        process.close_on_exec(3)
        os.umask(0o022)
        _enter(job.root_fd)
        _drop_privileges()
        if job.filter:
            process.seccomp(job.filter)
        _limit(job.timeout)  # last: this Python may have more memory than it allows
        syscalls.execveat(job.program, job.argv, {})
    except BaseException as error:  # noqa: BLE001 - a copy of the parent must never return
        text = getattr(error, "strerror", None) or str(error)
        os.write(writer, f"sandbox: {text}\n".encode("utf-8", "replace"))
    finally:
        os._exit(_NOT_STARTED)


def _die_with_parent(writer: int) -> None:
    """Be killed when the hook process ends, also when it has ended already."""
    syscalls.prctl(const.PR_SET_PDEATHSIG, _SIGKILL)
    # getppid(2) is 0 in a new PID namespace; a pipe that nobody reads tells the same.
    poll = select.poll()
    poll.register(writer, 0)
    if poll.poll(0):
        os._exit(_NOT_STARTED)


def _enter(root_fd: int) -> None:
    """Make the tree below `root_fd` all there is, with nothing to execute and no devices in it."""
    # A descriptor stays in the namespace it was opened in, the working directory moves along.
    os.fchdir(root_fd)
    mntns.private()
    flags = const.OPEN_TREE_CLONE | const.AT_RECURSIVE | const.AT_EMPTY_PATH
    tree = syscalls.open_tree(const.AT_FDCWD, "", flags)
    try:
        # An image may bring a device as /etc/ld.so.cache~, which ldconfig would write to.
        syscalls.mount_setattr(tree, _MOUNT_FLAGS, 0, recursive=True)
        late = False
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        late = True
    mntns.attach(tree, os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    mntns.pivot_into(tree)
    if late:
        _set_flags_by_remount()


def _set_flags_by_remount() -> None:
    """Linux 5.6 to 5.11: the same flags on the root mount alone, beside those it has."""
    present = os.statvfs("/").f_flag
    flags = present & (const.MS_RDONLY | const.MS_NOATIME | _MS_NODIRATIME)
    if present & _ST_RELATIME:
        flags |= _MS_RELATIME
    flags |= const.MS_REMOUNT | const.MS_BIND | _MOUNT_FLAGS
    syscalls.mount(None, "/", None, flags)


def _limit(timeout: float) -> None:
    process.prlimit(process.RLIMIT_CPU, int(timeout) + 1)
    for resource, limit in LIMITS:
        process.prlimit(resource, limit)


def _drop_privileges() -> None:
    """Keep CAPABILITIES alone, in every set, and gain nothing by exec."""
    kept = 0
    for capability in CAPABILITIES:
        kept |= 1 << capability
    # For uid 0, exec adds the bounding set to the inheritable one (capabilities(7)): both must
    # go. The ambient set follows the inheritable.
    process.drop_bounding(kept)
    _, permitted, _ = syscalls.capget()
    kept &= permitted
    syscalls.capset(kept, kept, 0)
    syscalls.prctl(const.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
