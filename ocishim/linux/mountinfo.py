"""The mount a descriptor lies on, as /proc/self/mountinfo tells it; proc(5)."""

from __future__ import annotations

from ocishim import posixos
from ocishim.linux import syscalls

_BEFORE_POINT = 3  # spaces of a line
_ESCAPED = ((b"\\", b"\\134"), (b" ", b"\\040"), (b"\t", b"\\011"), (b"\n", b"\\012"))


class Mount:
    """One mount of this namespace.

    `point` is where it is mounted, `kind` the file system's type, `source` what its maker called
    it; `shared`: it has peers.
    """

    __slots__ = ("id", "kind", "point", "shared", "source")

    def __init__(self, number: int, point: str, kind: str, source: str, *, shared: bool) -> None:
        self.id = number
        self.point = point
        self.kind = kind
        self.source = source
        self.shared = shared


def mount_of(fd: int) -> Mount:
    """Return the mount of an open file, O_PATH included. OSError when /proc is not there.

    LookupError for a mount that is nowhere: another namespace's, or a detached one.
    """
    return parse(_line(read(), syscalls.fdinfo_mount_id(fd)))


def is_sole_mount(number: int) -> bool:
    """Whether the whole file system of the mount `number` is mounted there and nowhere else here.

    Field 3 is the file system's device, field 4 the mount's root in it.
    """
    text = read()
    try:
        fields = _line(text, number).split(b" ", 5)
    except LookupError:
        return False
    others = [line for line in text.splitlines() if line.split(b" ", 3)[2:3] == fields[2:3]]
    return fields[3] == b"/" and len(others) == 1


def below(text: bytes, folder: str) -> list[str]:
    """Return where mounts of the mount table `text` lie below `folder`, relative to it, sorted."""
    prefix = b" " + _escape(posixos.fsencode(folder)).rstrip(b"/") + b"/"
    found = set()
    start = text.find(prefix)
    while start >= 0:
        # The mount's root, the field before, may look like it.
        line = text.rfind(b"\n", 0, start) + 1
        if text.count(b" ", line, start) == _BEFORE_POINT:
            found.add(_unescape(text[start + len(prefix) : text.index(b" ", start + 1)]))
        start = text.find(prefix, start + 1)
    return sorted(found)


def read() -> bytes:
    """Return the mount table of this namespace."""
    return posixos.contents("/proc/self/mountinfo")


def _line(text: bytes, number: int) -> bytes:
    """The line of one mount; a node has thousands: no list of lines."""
    if text.startswith(b"%d " % number):
        start = 0
    else:
        start = text.find(b"\n%d " % number) + 1
        if not start:
            raise LookupError(f"mount {number} is not in this namespace")
    return text[start : text.index(b"\n", start)]


def parse(line: bytes) -> Mount:
    """Read one line: `36 35 98:0 /root /point rw shared:1 master:2 - ext3 /dev/root rw`."""
    fields = line.split(b" ")
    dash = fields.index(b"-", 6)
    shared = any(field.startswith(b"shared:") for field in fields[6:dash])
    kind, source = map(_unescape, fields[dash + 1 : dash + 3])
    return Mount(int(fields[0]), _unescape(fields[4]), kind, source, shared=shared)


def _unescape(field: bytes) -> str:
    r"""A path in which space, tab, newline and backslash are \ooo."""
    first, *rest = field.split(b"\\")
    parts = [first, *(bytes((int(part[:3], 8),)) + part[3:] for part in rest)]
    return posixos.fsdecode(b"".join(parts))


def _escape(path: bytes) -> bytes:
    for char, octal in _ESCAPED:
        path = path.replace(char, octal)
    return path
