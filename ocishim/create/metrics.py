"""Counters of this node's creates, in a file as Prometheus' text format has them.

node-exporter's textfile collector reads it. Each create adds its own under a lock and replaces
the file by one rename: a reader sees whole files, and of creates at the same time each counts.
"""

from __future__ import annotations

import time

from ocishim import posixos as os
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
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MAX_BYTES = 1 << 20


def add(path: str, samples: Samples) -> None:
    """Add `samples` to the counters in `path`. Raises OSError; the old file then stands."""
    folder = os.open(os.path.dirname(path), _DIRECTORY)
    try:
        _lock(folder)
        # All from the first: Prometheus sees no increase in a counter that appears with its first.
        counted = {f'pyshim_creates_failed_total{{reason="{sort}"}}': 0.0 for sort in SORTS}
        counted |= _read(path)
        for name, value in samples.items():
            counted[name] = counted.get(name, 0) + value
        _replace(path, text(counted).encode())
    finally:
        os.close(folder)


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


def _lock(folder: int) -> None:
    import fcntl  # noqa: PLC0415 - only where counters are kept

    for _ in range(_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
    raise BlockingIOError("the counters are locked")


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
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def _replace(path: str, data: bytes) -> None:
    scratch = f"{path}.pyshim"  # not *.prom, which the collector reads
    try:
        os.unlink(scratch)  # left by a create that was killed
    except FileNotFoundError:
        pass
    descriptor = os.open(scratch, _NEW, 0o644)
    try:
        os.write(descriptor, data)
        os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)
    os.rename(scratch, path)
