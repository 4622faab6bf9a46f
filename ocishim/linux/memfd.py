"""Host programs as sealed copies in memory, so that nobody can write to the host's file.

A process of the container that can open /proc/PID/exe of a running host program could write to
the program itself (CVE-2019-5736, CVE-2024-0135). What runs from here is a copy whose seals
allow no write, ever; the host's file is only read. Where the kernel gives no memory that can be
executed (vm.memfd_noexec = 2, on hardened hosts), the copy lies on a private tmpfs, mounted
nowhere and read-only once it is filled: what could be written to then is a copy that runs once.
"""

from __future__ import annotations

import _stat as stat
import errno
import fcntl

from ocishim import posixos
from ocishim.linux import const

# The hooks' sandbox runs it as nobody, who may not read it: another nobody, which shares the PID
# namespace, cannot trace such a process, or enter it by /proc (execve(2), PR_SET_DUMPABLE).
_MODE = 0o111
_PRIVATE = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV
_SEALS = const.F_SEAL_SEAL | const.F_SEAL_SHRINK | const.F_SEAL_GROW | const.F_SEAL_WRITE
_PINNED_TRIES = 30  # each of which waits 0.15 s in the kernel


def create(name: str, purpose: int = const.MFD_NOEXEC_SEAL) -> int:
    """Return an empty file in memory that can be sealed; the caller closes.

    Since 6.3 the kernel warns, or refuses (vm.memfd_noexec), unless told what it is for: data, or
    (MFD_EXEC) a program.
    """
    flags = const.MFD_CLOEXEC | const.MFD_ALLOW_SEALING
    try:
        return posixos.memfd_create(name, flags | purpose)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return posixos.memfd_create(name, flags)


def seal(fd: int) -> None:
    """Let nobody change the file any more, its length or its seals; OSError when it cannot be.

    A page that the kernel itself holds at that moment (reclaim, compaction, migration between
    NUMA nodes) is a writer to fcntl(2), which waits 150 ms for it and then says EBUSY: busy nodes
    take longer.
    """
    for left in reversed(range(_PINNED_TRIES)):
        try:
            fcntl.fcntl(fd, const.F_ADD_SEALS, _SEALS)
        except OSError as error:
            if error.errno != errno.EBUSY or not left:
                raise
        else:
            return


def _copy(source: int, target: int, size: int) -> None:
    offset = 0
    while offset < size:
        sent = posixos.sendfile(target, source, offset, size - offset)
        if not sent:
            message = f"file became shorter while it was copied: {offset} of {size} bytes"
            raise OSError(errno.EIO, message)
        offset += sent


def sealed(program: str | int) -> int:
    """Return a descriptor of a sealed, executable copy of `program`; the caller closes it.

    `program` is a path of the host or an open descriptor (left open). OSError when it is not a
    regular file, cannot be read, or the kernel forbids executable memory files.
    """
    source = (
        posixos.open(program, posixos.O_RDONLY | posixos.O_CLOEXEC)
        if isinstance(program, str)
        else program
    )
    try:
        status = posixos.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            message = f"not a regular file: {program!r}"
            raise OSError(errno.EACCES, message)
        try:
            target = create("pyshim", const.MFD_EXEC)
        except PermissionError:
            return _on_tmpfs(source, status.st_size)
        try:
            _copy(source, target, status.st_size)
            posixos.fchmod(target, _MODE)
            seal(target)
        except BaseException:
            posixos.close(target)
            raise
        return target
    finally:
        if source is not program:
            posixos.close(source)


def _on_tmpfs(source: int, size: int) -> int:
    """The copy as a file of a read-only tmpfs that is mounted nowhere."""
    from ocishim.linux import mntns  # noqa: PLC0415 - on hardened hosts

    try:
        tree = mntns.tmpfs(size=size + (1 << 16), attributes=_PRIVATE)
    except OSError as error:
        message = f"vm.memfd_noexec = 2 forbids a copy in memory, and there is no tmpfs: {error}"
        raise OSError(errno.EACCES, message) from error
    try:
        flags = posixos.O_WRONLY | posixos.O_CREAT | posixos.O_EXCL | posixos.O_CLOEXEC
        target = posixos.open("program", flags, 0o600, dir_fd=tree)
        try:
            _copy(source, target, size)
            posixos.fchmod(target, _MODE)
        finally:
            posixos.close(target)  # a file that somebody may write to is not executed
        mntns.restrict(tree, const.MOUNT_ATTR_RDONLY)
        return posixos.open("program", posixos.O_RDONLY | posixos.O_CLOEXEC, dir_fd=tree)
    finally:
        posixos.close(tree)
