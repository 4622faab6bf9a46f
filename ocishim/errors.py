"""The few kinds of failure pyshim reports; the kernel speaks OSError.

Messages are lower case, without a full stop: what failed, on which value, where, why.
`hint` is the next step for the operator, printed after the message.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def shown(text: str, keep: str = "") -> str:
    """Return `text` so that a terminal or a log can carry it, in one line.

    Names come from images, pods and spec files: their control characters must not reach a
    terminal, nor a newline start a record of its own, nor a bidi control reorder what is read.
    What cannot be seen becomes its escape; letters of any script stay, and those in `keep`.
    """
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


LONGEST_LINE = 4000  # characters: conmon reads 8 KiB of stderr, once


def one_line(text: str) -> str:
    """Return `text` as one line that can be carried, its middle left out where it is too long.

    What failed stands at its beginning, and why at its end.
    """
    line = shown(text.replace("\n", " "))
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2 - 3
    return f"{line[:half]} ... {line[-half:]}"


_PLAIN = frozenset("%+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


def quoted(word: str) -> str:
    """Return `word` as a shell takes it for one word: for command lines that people copy.

    As shlex.quote, which costs a create that fails 6 ms for its `re`.
    """
    if word and _PLAIN.issuperset(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def some(texts: Sequence[str], number: int = 1, *, sort: str = "") -> str:
    """Return the first `number` of `texts`, and how many more there are, of what `sort`."""
    more = f" and {len(texts) - number} more{sort}" if len(texts) > number else ""
    return ", ".join(texts[:number]) + more


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was not UTF-8
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PyshimError(Exception):
    """A failure with a message for people; `main()` reports it and exits 1.

    Raised through its subclasses only. `hint` may be empty. Facts, for whoever decides by the
    error, as nobody reads its text: `source` is the file it is about, and `line` the line, which
    stand before `fault` in `message`; `errno` is the kernel's reason. "" and 0 are not known.
    `sort` is a name of SORTS, the class's own: what failures are counted by.
    """

    sort = "internal"

    def __init__(
        self, fault: str, *, hint: str = "", source: str = "", line: int = 0, errno: int | None = 0
    ) -> None:
        where = f"{source}:{line}: " if line else f"{source}: " if source else ""
        super().__init__(where + fault)
        self.message = where + fault
        self.fault = fault
        self.hint = hint
        self.source = source
        self.line = line
        self.errno = errno or 0

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def reason(err: OSError) -> str:
    """Return why the kernel refused, in lower case and in words of our own.

    Podman sorts an error by its text: "permission denied", "operation not permitted" and "no such
    file or directory" would blame the container's command, and these are about pyshim's files.
    """
    ours = {1: "not allowed", 2: "does not exist", 13: "access denied"}  # EPERM, ENOENT, EACCES
    return ours.get(err.errno or 0) or (err.strerror or str(err)).lower()


_BLAMING = {
    b"executable file not found in": b"no such program in",
    b"no such file or directory": b"does not exist",
    b"operation not permitted": b"not allowed",
    b"permission denied": b"access denied",
}


def unblaming(text: str) -> str:
    """Return `text` without the phrases by which Podman blames the container's command.

    They may come from anywhere: the kernel's reasons, the last line of a vendor's hook.
    Source: podman, libpod/oci_util.go, getOCIRuntimeError; letters of either case.
    """
    data = text.encode("utf-8", "surrogatepass")  # whose lower() keeps every length
    for phrase, ours in _BLAMING.items():
        while (at := data.lower().find(phrase)) >= 0:
            data = data[:at] + ours + data[at + len(phrase) :]
    return data.decode("utf-8", "surrogatepass")


def lowered(message: str) -> str:
    """Return a library's message as ours begin."""
    return message[:1].lower() + message[1:]


class UsageError(PyshimError):
    """The command line cannot be understood."""

    sort = "usage"


class ConfigError(PyshimError):
    """A setting is unknown, has the wrong type, or cannot be honoured."""

    sort = "configuration"


class LowlevelError(ConfigError):
    """There is no low-level runtime that could be executed."""

    sort = "runtime"


class DocumentError(PyshimError):
    """A file (config.json, a CDI spec, a state) is not what its format demands.

    Of a create it is config.json: CDI specs that are wrong are UnresolvedDeviceError's to tell.
    """

    sort = "bundle"


class UnresolvedDeviceError(PyshimError):
    """A requested CDI device cannot be resolved or injected."""

    sort = "unresolved"


class RequestError(UnresolvedDeviceError):
    """A request names no CDI device."""

    sort = "request"


class StaleError(UnresolvedDeviceError):
    """A CDI spec asks for what this host does not have."""

    sort = "stale"


class UnsafePathError(PyshimError):
    """A path from an image or spec leaves its root, or is not what it must be."""

    sort = "path"


class HookError(PyshimError):
    """A hook failed, timed out or cannot be run; `status` is its program's where that ended."""

    sort = "hook"
    status = 1


class ForeignMountError(PyshimError):
    """A path of the container lies on a mount that is not its own: it belongs to somebody else.

    `path` is what was asked for, `mount` where that mount is, in the container's eyes.
    """

    sort = "path"

    def __init__(self, path: str, mount: str) -> None:
        super().__init__(f"{path!r} lies on the mount {mount}")
        self.path = path
        self.mount = mount


SORTS = (
    "usage", "configuration", "runtime", "bundle", "request", "unresolved", "stale", "path", "hook",
    "system", "memory", "internal",
)  # fmt: skip
"""Every sort of failure, also of what is no PyshimError. docs/pyshimctl.md has a word for each."""


def sort_of(err: BaseException) -> str:
    """Return the sort of any failure, by its type."""
    if isinstance(err, PyshimError):
        return err.sort
    if isinstance(err, OSError):
        return "system"
    return "memory" if isinstance(err, MemoryError) else "internal"
