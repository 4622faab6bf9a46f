"""A host program at work on folders of the container, with the least it needs.

The program comes as a sealed copy in memory (ocishim.linux.memfd) and must be static, so that no
file of the image is its code. It is the first process of a PID namespace, in a mount namespace
whose only tree is a tmpfs: there lie the folders it was told, "0", "1"..., bound without what is
mounted below them, read-only, nosuid, nodev, noexec, and "out", the one place it can write to. No
procfs, no other file of the container. It is nobody, with no capability, no new privileges, an
empty environment, a list of denied system calls that leaves no network and no way to start a
process, limits, a deadline, and dies with its parent. What it is told to do is the caller's part,
and so is what it leaves in "out", by the tmpfs's descriptor.

Prices in ms (differences of medians of 100 alternating runs; all: 3.1, bare ldconfig 2.2): mount
namespace and pivot 0.3, PID namespace 0.1, capabilities 0.2, limits 0.1, seccomp 0.05. Left out:
network namespace 0.5 and IPC namespace 0.1, where seccomp denies the calls; UTS, which protects
nothing from a process without CAP_SYS_ADMIN. python-prctl offers prctl(2) and capabilities too;
importing it takes 1.0 ms, our own calls are loaded already.
"""

from __future__ import annotations

import _stat as stat
import errno
import select
import time

from ocishim import posixos
from ocishim.errors import HookError
from ocishim.hooks import seccomp
from ocishim.linux import const, mntns, process, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocishim.hooks.libview import Folder

NAMESPACES = const.CLONE_NEWPID
"""Made with the process; the mount namespace follows from inside (see `_enter`)."""

NAMESPACES_FOR_SECCOMP = const.CLONE_NEWIPC | const.CLONE_NEWNET
"""Made as well where the kernel has no seccomp."""

NOBODY = 65534
"""User and group of the program: what it reads is what everybody may. No capability: with
CAP_DAC_READ_SEARCH open_by_handle_at(2) would reach files outside of what is shown."""

OUT = "out"

LARGEST_OUTPUT = 16 << 20
"""Bytes of one file; a cache of 20,000 libraries has 1 MiB."""

LIMITS = (
    # Memory that is really the program's; ldconfig takes 10 MiB for 20,000 libraries.
    (process.RLIMIT_DATA, 48 << 20),
    # Address space holds each library whole, one after another; the largest today have 2 GiB.
    (process.RLIMIT_AS, 16 << 30),
    (process.RLIMIT_FSIZE, LARGEST_OUTPUT),
    (process.RLIMIT_NOFILE, 64),
    (process.RLIMIT_CORE, 0),
)

_TAMED = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC
_SHOWN = _TAMED | const.MOUNT_ATTR_RDONLY
_PLACE = posixos.O_PATH | posixos.O_CLOEXEC
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
        lines = self.output.decode("utf-8", "backslashreplace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def describe(self) -> str:
        """`exit status 1: <last line>`, `killed by signal 9`."""
        if posixos.WIFSIGNALED(self.status):
            text = f"killed by signal {posixos.WTERMSIG(self.status)}"
        else:
            text = f"exit status {posixos.waitstatus_to_exitcode(self.status)}"
        return f"{text}: {self.last_line}" if self.last_line else text


class Job:
    """What to run: `argv` of the static program behind `program`, on `folders`, in `tree`.

    tree: the tmpfs that is all there is, made by `scratch`.
    """

    __slots__ = ("argv", "filter", "folders", "program", "timeout", "tree")

    def __init__(
        self, tree: int, folders: Sequence[Folder], program: int, argv: list[str],
        *, timeout: float,
    ) -> None:  # fmt: skip
        self.tree = tree
        self.folders = folders
        self.program = program
        self.argv = argv
        self.timeout = timeout  # seconds
        self.filter = seccomp.program(posixos.machine()) if process.has_seccomp() else b""


def scratch(folders: int) -> int:
    """Return a tmpfs with the places of so many folders, and `out`; mounted nowhere; caller closes.

    HookError when the kernel refuses.
    """
    try:
        tree = mntns.tmpfs(size=2 * LARGEST_OUTPUT, attributes=_TAMED)
        for number in range(folders):
            posixos.mkdir(str(number), 0o755, dir_fd=tree)
        posixos.mkdir(OUT, dir_fd=tree)
        posixos.chmod(OUT, 0o777, dir_fd=tree)  # nobody's, who need not exist in a user namespace
    except OSError as error:
        raise HookError(f"sandbox refused by the kernel: {error.strerror}") from error
    return tree


def run(job: Job) -> Result:
    """Run the job to its end or that of its time.

    HookError when the kernel refuses a part of the sandbox: there is no run with less.
    """
    stdin = posixos.open("/dev/null", posixos.O_RDONLY | posixos.O_CLOEXEC)
    reader, writer = posixos.pipe()
    try:
        pid = _start(NAMESPACES if job.filter else NAMESPACES | NAMESPACES_FOR_SECCOMP)
        if not pid:
            _child(job, stdin, reader, writer)
        posixos.close(writer)
        writer = -1
        return _wait(pid, reader, job.timeout)
    finally:
        for fd in (stdin, reader, writer):
            if fd >= 0:
                posixos.close(fd)


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
    handle = posixos.pidfd_open(pid)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(handle, select.POLLIN)
    try:
        while not timed_out:
            left = end - time.monotonic()
            ready = [fd for fd, _ in poll.poll(max(left, 0) * 1000)]
            timed_out = not ready
            if reader in ready:
                chunk = posixos.read(reader, _CHUNK)
                kept = (kept + chunk)[-_KEPT_OUTPUT:]
                if not chunk:
                    poll.unregister(reader)
            elif handle in ready:
                break
    finally:
        # The first process of a PID namespace takes all others with it.
        posixos.kill(pid, _SIGKILL)
        _, status = posixos.waitpid(pid, 0)
        posixos.close(handle)
    return Result(status, kept, timed_out=timed_out)


def _child(job: Job, stdin: int, reader: int, writer: int) -> None:
    """Put the sandbox around this process and become the job's program; never returns."""
    try:
        posixos.close(reader)
        posixos.dup2(stdin, 0)
        posixos.dup2(writer, 1)
        posixos.dup2(writer, 2)
        process.close_on_exec(3)
        posixos.umask(0o022)
        _enter(job)
        _drop_privileges()
        process.die_with_parent(writer)  # a change of the user takes it away
        if job.filter:
            process.seccomp(job.filter)
        _limit(job.timeout)  # last: this Python may have more memory than it allows
        syscalls.execveat(job.program, job.argv, {})
    except BaseException as error:  # noqa: BLE001 - a copy of the parent must never return
        text = getattr(error, "strerror", None) or str(error)
        posixos.write(writer, f"sandbox: {text}\n".encode("utf-8", "surrogateescape"))
    finally:
        posixos._exit(_NOT_STARTED)


def _enter(job: Job) -> None:
    """Make the job's tree, with its folders in their places, all there is."""
    # Cloned before the namespace changes, in which they could not be any more.
    clones = [
        (_clone(folder.fd), [(name, _clone(fd)) for name, fd in folder.covers.items()])
        for folder in job.folders
    ]
    mntns.private()
    # For a moment on a folder that every host has; on "/" it could not be moved where pivot_root(2)
    # is refused.
    mntns.attach(job.tree, posixos.open("/dev", _PLACE | posixos.O_DIRECTORY))
    for number, (folder, covers) in enumerate(clones):
        _show(folder, str(number), job.tree)
        for name, file in covers:
            # Also on a link, which is then the file it leads to.
            _show(file, name, folder)
    mntns.pivot_into(job.tree)


def _clone(fd: int) -> int:
    """Return the folder or file as a mount without those below it.

    With them where a user namespace has them from outside, locked to what they cover: the kernel
    shows that to nobody (mount_namespaces(7)).
    """
    flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH
    try:
        return syscalls.open_tree(fd, "", flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return syscalls.open_tree(fd, "", flags | const.AT_RECURSIVE)


def _show(mount_fd: int, name: str, folder: int) -> None:
    """Mount on `name` in `folder`; what others have taken away there meanwhile is not shown."""
    early = mntns.restrict(mount_fd, _SHOWN, recursive=True)
    try:
        place = posixos.open(name, _PLACE | posixos.O_NOFOLLOW, dir_fd=folder)
        there, shown = (posixos.fstat(fd).st_mode for fd in (place, mount_fd))
        if stat.S_ISDIR(there) != stat.S_ISDIR(shown):
            return
        mntns.attach(mount_fd, place)
    except FileNotFoundError:
        return
    # A clone of a shared mount (a volume with mountPropagation Bidirectional) is one of its peers:
    # what is mounted on it would be mounted on the host as well.
    syscalls.mount(None, f"/proc/self/fd/{mount_fd}", None, const.MS_PRIVATE | const.MS_REC)
    if not early:
        mntns.restrict_late(mount_fd, _SHOWN)
    posixos.close(place)


def _limit(timeout: float) -> None:
    process.prlimit(process.RLIMIT_CPU, int(timeout) + 1)
    for resource, limit in LIMITS:
        process.prlimit(resource, limit)


def _drop_privileges() -> None:
    """Become nobody, without a capability in any set, and gain nothing by exec."""
    process.drop_bounding(0)
    try:
        posixos.setgroups([])
    except PermissionError:
        pass  # a user namespace without
    try:
        posixos.setresgid(NOBODY, NOBODY, NOBODY)
        posixos.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # No such user in this user namespace: its root without capabilities is a plain user.
    # Both follow: what the user was when caps are kept (PR_SET_KEEPCAPS), and the ambient set.
    syscalls.capset(0, 0, 0)
    syscalls.prctl(const.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
