"""Read one CDI spec file into a record and its parts; failures are facts about the file.

The words for what cannot be read are the reference's (spec.go on Go's os package); what is
inside a file is document.py's business.
"""

from __future__ import annotations

import errno
import os
import stat

from ocishim.cache import digest
from ocishim.cdi.registry import scan
from ocishim.cdi.registry.specrecord import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cdi.registry.entries import Parts

ENTRY = "cdi-spec-"

# A write within the tick of the clock in which we read leaves the same times (git calls such a
# file racy). The kernel's tick is 10 ms at most; file systems that count whole seconds show
# them, and FAT counts in steps of two.
_TICK = 20_000_000
_COARSE_TICK = 2_000_000_000


def read(path: str, known: Record | None, now: int) -> tuple[Record, Parts | None]:
    """The file's record, and its parts if it had to be parsed and is a valid spec.

    `known` is what was remembered of this path: if the content is the same it stays true. `now`
    (ns) is a moment before this call.
    """
    try:
        st, data = _contents(path)
    except OSError as e:
        # EACCES and the like may be gone without a change of the file: no identity.
        return Record(None, error=_io_error(path, e)), None
    if data is None:
        return Record(scan.pack(st)), None
    state = scan.pack(st) if is_settled(st.st_ctime_ns, now) else None
    entry = entry_name(data)
    if known is not None and known.entry == entry:
        return known.at(state), None
    return _parse(path, data, Record(state, entry))


def stat_failed(path: str, state: bytes) -> Record:
    """The record of a directory entry that stat(2) could not follow."""
    number = scan.stat_errno(state)
    return Record(state, error=_io_error(path, OSError(number, os.strerror(number))))


def read_parts(path: str, entry: str) -> Parts | None:
    """The parts of a file, if it still has the content that `entry` was named by."""
    try:
        data = _contents(path)[1]
    except OSError:
        return None
    if data is None or entry_name(data) != entry:
        return None
    return _parse(path, data, Record(None, entry))[1]


def entry_name(data: bytes) -> str:
    """The name of a spec's parts in the cache, by content."""
    return f"{ENTRY}{digest(data)}-{len(data):x}"


def is_settled(changed: int, now: int) -> bool:
    """Whether a write from `now` on must give another change time than `changed` (both ns).

    A change time in the future never is: the clock has stepped back.
    """
    tick = _TICK if changed % 1_000_000_000 else _COARSE_TICK
    return changed + tick < now


def _parse(path: str, data: bytes, record: Record) -> tuple[Record, Parts | None]:
    from ocishim.cdi.document import document  # noqa: PLC0415 - only when something must be parsed

    try:
        spec = document.load(data, path)
    except document.CDISpecError as e:
        record.error = e.record()
        return record, None
    record.kind = spec["kind"]
    parts: dict[str, Any] = {"": (spec["cdiVersion"], spec.get("containerEdits", {}))}
    for device in spec["devices"]:
        parts[device["name"]] = device["containerEdits"]
        record.names.append(device["name"])
    return record, parts


def _contents(path: str) -> tuple[os.stat_result, bytes | None]:
    """Identity and content; None instead of content for what the reference does not look at."""
    st = os.stat(path)
    if stat.S_ISDIR(st.st_mode) and not os.path.islink(path):
        return st, None
    if _is_null(st):  # how an administrator masks a file; reads as an empty one
        return st, b""
    if not stat.S_ISREG(st.st_mode) and not stat.S_ISDIR(st.st_mode):
        # A FIFO would block, a tape would move.
        raise OSError(errno.EINVAL, "not a regular file")
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        st = os.fstat(fd)
        return st, file.read()


def _is_null(st: os.stat_result) -> bool:
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3)


def _io_error(path: str, e: OSError) -> tuple[str, str, str, str, str]:
    call = "read" if e.errno == errno.EISDIR else "open"
    text = f"{call} {path}: {(e.strerror or '').lower()}"
    if e.errno != errno.ENOENT:
        text = f"failed to read CDI Spec {_goquote(path)}: {text}"
    return (text, "io", "", "", text)


def _goquote(text: str) -> str:
    from ocishim.cdi.names import goquote  # noqa: PLC0415 - failure only

    return goquote(text)
