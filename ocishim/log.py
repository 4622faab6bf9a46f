"""What pyshim says: the one error record engines read, and its own log.

Engines: containerd takes the last record with level "error" of the JSON log file, conmon the
runtime's stderr, Podman parses the whole log file as exactly one object. So a failure writes one
record to --log and the same text to stderr, and success writes nothing to either.
What people are to read goes to pyshim's own log: a file, the journal, or the system log socket.
"""

from __future__ import annotations

import time

from ocishim import posixos
from ocishim.errors import one_line, reason, unblaming

TYPE_CHECKING = False
if TYPE_CHECKING:
    Fields = dict[str, str | list[str]]
    """Names as the journal wants them, and their values."""

LEVELS = {"error": 3, "warning": 4, "info": 6, "debug": 7}
"""Level name to syslog severity (RFC 5424, section 6.2.1)."""

_DAEMON_FACILITY = 3 << 3
_SOCKET = "/dev/log"
_JOURNAL = "/run/systemd/journal/socket"
_APPEND = (
    posixos.O_WRONLY | posixos.O_APPEND | posixos.O_CREAT | posixos.O_CLOEXEC | posixos.O_NONBLOCK
)


def fail(message: str, path: str, log_format: str) -> None:
    """Report a failed command to the engine: one record in --log, one line on stderr.

    `message` becomes one line. Never raises: a log that cannot be written must not hide the text
    on stderr, and where stderr is gone the exit status is all that is left.
    """
    text = one_line("pyshim: " + unblaming(message))
    posixos.outlive_writes()
    if path:
        try:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            _append(path, record(text, log_format, now))
        except OSError as err:
            text = one_line(f"{text} (and --log {path}: {reason(err)})")
    try:
        _write_all(2, (text + "\n").encode())
    except OSError:
        pass


def record(text: str, log_format: str, now: str) -> bytes:
    """Return the record that an engine reads of one error, with its line feed."""
    if log_format == "json":
        from ocishim import jsonio  # noqa: PLC0415 - failure only

        return jsonio.dumps({"level": "error", "msg": text, "time": now}) + b"\n"
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'time="{now}" level=error msg="{quoted}"\n'.encode()


def _append(path: str, data: bytes) -> None:
    descriptor = posixos.open(path, _APPEND, 0o644)
    try:
        _write_all(descriptor, data)
    finally:
        posixos.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[posixos.write(descriptor, data) :]
    except BlockingIOError:
        pass  # a full pipe nobody reads: waiting for ever would be worse


class OwnLog:
    """pyshim's own log: `file` when set, else the journal or /dev/log when there, else nowhere.

    level: the least severe level that is written. subject: what each line is about, usually the
    container's id; owner: its pod, once that is known. form: "text" or "json", of the file.
    Writing never raises: a log is no reason to stop a container.
    """

    __slots__ = ("file", "form", "limit", "owner", "subject")

    def __init__(self, file: str, level: str, subject: str, form: str = "text") -> None:
        self.file = file
        self.limit = LEVELS[level]
        self.subject = subject
        self.form = form
        self.owner: Fields = {}

    @property
    def debugs(self) -> bool:
        """True when debug lines are written: ask before making many of them."""
        return self.limit >= LEVELS["debug"]

    def write(self, level: str, message: str, fields: Fields | None = None) -> None:
        """Write one line at `level`, one of LEVELS; `fields` are for programs that read the log."""
        if LEVELS[level] > self.limit:
            return
        about: Fields = {"CONTAINER_ID": self.subject} if self.subject else {}
        about = {**about, **self.owner, **(fields or {})}
        try:
            if not self.file:
                _send(LEVELS[level], self._line(message), about)
                return
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            _append(self.file, self._record(now, level, message, about))
        except OSError:
            pass

    def _line(self, message: str) -> str:
        return one_line(
            f"container {self.subject}{self._pod()}: {message}" if self.subject else message
        )

    def _pod(self) -> str:
        return f" of pod {self.owner['POD']}" if "POD" in self.owner else ""

    def _record(self, now: str, level: str, message: str, about: Fields) -> bytes:
        if self.form != "json":
            return f"{now} {level} {self._line(message)}\n".encode()
        from ocishim import jsonio  # noqa: PLC0415 - loaded in a create, not in every hook

        named = {name.lower(): _told(value) for name, value in about.items()}
        told = {"time": now, "level": level, "msg": one_line(message), **named}
        return jsonio.dumps(told) + b"\n"


def _told(value: str | list[str]) -> str | list[str]:
    """A field's value as logs can carry it: names come from images, pods and spec files."""
    return [one_line(each) for each in value] if isinstance(value, list) else one_line(value)


def _send(severity: int, line: str, about: Fields) -> None:
    """Send one datagram to the journal, with fields, or to the system log, without."""
    import _socket  # noqa: PLC0415 - the socket module costs 5 ms, this C half nothing

    # No `with`: the C socket is not a context manager.
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sender.setblocking(False)
        try:
            sender.sendto(_entry(severity, line, about), _JOURNAL)
        except OSError:
            # RFC 3164 form, as syslog(3) writes it.
            priority = _DAEMON_FACILITY | severity
            sender.sendto(f"<{priority}>pyshim[{posixos.getpid()}]: {line}".encode(), _SOCKET)
    finally:
        sender.close()


def _entry(severity: int, line: str, about: Fields) -> bytes:
    """Return an entry in the journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    entry = [f"MESSAGE={line}", f"PRIORITY={severity}", "SYSLOG_FACILITY=3"]
    entry += ["SYSLOG_IDENTIFIER=pyshim", f"SYSLOG_PID={posixos.getpid()}"]
    for name, value in about.items():
        told = _told(value)
        entry += [f"{name}={each}" for each in (told if isinstance(told, list) else [told])]
    return "".join(f"{text}\n" for text in entry).encode()
