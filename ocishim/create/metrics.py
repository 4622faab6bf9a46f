"""Counters of this node's creates, in a file as Prometheus' text format has them.

node-exporter's textfile collector reads it. Each create adds its own under a lock on the next file,
which then replaces it by one rename: a reader sees whole files, and of creates at the same time
each counts.
"""

from __future__ import annotations

import _stat as stat
import errno
import time

from ocishim import posixos
from ocishim.errors import SORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    Samples = dict[str, float]

FAMILIES = {
    "pyshim_creates_total": "Creates, by what came of them: injected, plain or failed.",
    "pyshim_creates_failed_total": "Creates that failed, by the sort of failure.",
    "pyshim_devices_total": "CDI devices that containers were given, by kind.",
    "pyshim_warnings_total": "Warnings of creates.",
    "pyshim_create_seconds_total": "Seconds that creates took before the low-level runtime.",
}
"""Every counter there is, with its words for people."""
_TRIES, _PAUSE = 100, 0.005
"""A create waits half a second for the lock, then does without being counted."""
_SCRATCH = (
    posixos.O_RDWR | posixos.O_CREAT | posixos.O_NOFOLLOW | posixos.O_NONBLOCK | posixos.O_CLOEXEC
)
_MAX_BYTES = 1 << 20


def add(path: str, samples: Samples) -> None:
    """Add `samples` to the counters in `path`. Raises OSError; the old file then stands."""
    scratch = f"{path}.pyshim"  # not *.prom, which the collector reads
    descriptor = _lock(scratch)
    try:
        # All from the first: Prometheus sees no increase in a counter that appears with its first.
        counted = {f'pyshim_creates_failed_total{{reason="{sort}"}}': 0.0 for sort in SORTS}
        counted |= _read(path)
        for name, value in samples.items():
            counted[name] = counted.get(name, 0) + value
        posixos.ftruncate(descriptor, 0)  # of a create that was killed
        data = text(counted).encode()
        while data:  # a disk that becomes full takes a part, and then nothing
            data = data[posixos.write(descriptor, data) :]
        posixos.fchmod(descriptor, 0o644)
        posixos.rename(scratch, path)
    finally:
        posixos.close(descriptor)


def text(counted: Samples) -> str:
    """Return the counters as a file, each family with its words."""
    lines = []
    for family, words in FAMILIES.items():
        found = sorted(name for name in counted if name.partition("{")[0] == family)
        if found:
            lines += [f"# HELP {family} {words}", f"# TYPE {family} counter"]
            lines += [f"{name} {_number(counted[name])}" for name in found]
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"


def _lock(scratch: str) -> int:
    """Return the next file, empty but for what a killed create wrote, in our hands alone.

    It is ours and nobody else can open it: a lock on the folder, or on the counters, could be held
    by everybody who may read them.
    """
    import fcntl  # noqa: PLC0415 - only where counters are kept

    for _ in range(_TRIES):
        try:
            descriptor = posixos.open(scratch, _SCRATCH, 0o600)
        except OSError as err:
            if err.errno != errno.ELOOP:
                raise
            posixos.unlink(scratch)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_next(descriptor, scratch):
                return descriptor
        except OSError:  # another create has it, and may have made it the counters
            pass
        posixos.close(descriptor)
        time.sleep(_PAUSE)
    raise BlockingIOError("the counters are locked")


def _is_next(descriptor: int, scratch: str) -> bool:
    """Whether that file is still the one called so; one that is not private is removed."""
    found, named = posixos.fstat(descriptor), posixos.lstat(scratch)
    if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino):
        return False
    ours = (stat.S_IFREG | 0o600, posixos.geteuid(), 1)
    if (found.st_mode, found.st_uid, found.st_nlink) != ours:
        posixos.unlink(scratch)
        return False
    return True


def _read(path: str) -> Samples:
    """Return the counters that are there; what is not one of ours, or no number, is left out."""
    counted: Samples = {}
    for line in _content(path).decode("utf-8", "replace").splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] not in FAMILIES:
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        if 0 <= number < float("inf"):
            counted[name] = number
    return counted


def _content(path: str) -> bytes:
    try:
        descriptor = posixos.open(path, posixos.O_RDONLY | posixos.O_CLOEXEC | posixos.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        return posixos.read(descriptor, _MAX_BYTES)
    finally:
        posixos.close(descriptor)
