"""The mount a descriptor lies on, as /proc/self/mountinfo tells it; proc(5)."""

from __future__ import annotations

import os


class Mount:
    """One mount of this namespace.

    `point` is where it is mounted, `source` what its maker called it; `shared`: it has peers.
    """

    __slots__ = ("id", "point", "shared", "source")

    def __init__(self, number: int, point: str, source: str, *, shared: bool) -> None:
        self.id = number
        self.point = point
        self.source = source
        self.shared = shared


def mount_of(fd: int) -> Mount:
    """Return the mount of an open file, O_PATH included. OSError when /proc is not there.

    LookupError for a mount that is nowhere: another namespace's, or a detached one.
    """
    number = _mount_id(fd)
    with open("/proc/self/mountinfo", "rb") as file:
        text = b"\n" + file.read()
    start = text.find(b"\n%d " % number) + 1  # a node has thousands: no list of lines
    if not start:
        raise LookupError(f"mount {number} is not in this namespace")
    return parse(text[start : text.index(b"\n", start)])


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[len(b"mnt_id:") :])
    raise LookupError(f"/proc/self/fdinfo/{fd} names no mount")


def parse(line: bytes) -> Mount:
    """Read one line: `36 35 98:0 /root /point rw shared:1 master:2 - ext3 /dev/root rw`."""
    fields = line.split(b" ")
    dash = fields.index(b"-", 6)
    shared = any(field.startswith(b"shared:") for field in fields[6:dash])
    return Mount(int(fields[0]), _unescape(fields[4]), _unescape(fields[dash + 2]), shared=shared)


def _unescape(field: bytes) -> str:
    r"""A path in which space, tab, newline and backslash are \ooo."""
    first, *rest = field.split(b"\\")
    parts = [first, *(bytes((int(part[:3], 8),)) + part[3:] for part in rest)]
    return os.fsdecode(b"".join(parts))
