"""Host programs as sealed copies in memory, so that nobody can write to the host's file.

A process of the container that can open /proc/PID/exe of a running host program could write to
the program itself (CVE-2019-5736, CVE-2024-0135). What runs from here is a copy whose seals
allow no write, ever; the host's file is only read.
"""

from __future__ import annotations

import _stat as stat
import errno
import fcntl

from ocishim import posixos as os
from ocishim.linux import const

_SEALS = const.F_SEAL_SEAL | const.F_SEAL_SHRINK | const.F_SEAL_GROW | const.F_SEAL_WRITE


def _create(name: str) -> int:
    flags = const.MFD_CLOEXEC | const.MFD_ALLOW_SEALING
    try:
        # Since 6.3 the kernel warns, or refuses (vm.memfd_noexec), unless told what it is for.
        return os.memfd_create(name, flags | const.MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)


def _copy(source: int, target: int, size: int) -> None:
    offset = 0
    while offset < size:
        sent = os.sendfile(target, source, offset, size - offset)
        if not sent:
            message = f"file became shorter while it was copied: {offset} of {size} bytes"
            raise OSError(errno.EIO, message)
        offset += sent


def sealed(program: str | int) -> int:
    """Return a descriptor of a sealed, executable copy of `program`; the caller closes it.

    `program` is a path of the host or an open descriptor (left open). OSError when it is not a
    regular file, cannot be read, or the kernel forbids executable memory files.
    """
    source = os.open(program, os.O_RDONLY | os.O_CLOEXEC) if isinstance(program, str) else program
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            message = f"not a regular file: {program!r}"
            raise OSError(errno.EACCES, message)
        target = _create("pyshim")
        try:
            _copy(source, target, status.st_size)
            os.fchmod(target, 0o500)
            fcntl.fcntl(target, const.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(target)
            raise
        return target
    finally:
        if source is not program:
            os.close(source)
