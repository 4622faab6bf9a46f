"""The short way for spec files that are plain block YAML, as Go's and NVIDIA's writers lay it out.

Keys of the CDI specification, one scalar a line, printable ASCII, no anchors, tags, flow
collections or folding. A text that comes near anything else is not for this module; yamlgo.py
reads it. That saves the import of PyYAML and re (20 ms) when one claim of a thousand is new.
tests/unit/cdi/test_blocktext.py holds both ways together. Pure.
"""

from __future__ import annotations

from ocishim.cdi.document.jsontext import NotPlainError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\n"
# Go's field names; other keys are an error, a map of annotations or another spelling: not here.
_KEYS = frozenset(
    """
    cdiVersion kind annotations devices containerEdits name
    env deviceNodes netDevices hooks mounts intelRdt additionalGids
    path hostPath type major minor fileMode permissions uid gid
    containerPath options hookName args timeout hostInterfaceName
    closID l3CacheSchema memBwSchema schemata enableMonitoring
    """.split()  # noqa: SIM905 - read as a table
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/")
# What plain scalars that begin with a letter may be instead of strings.
_WORDS = frozenset(("y", "yes", "true", "on", "n", "no", "false", "off", "null"))
# What no number and no timestamp of YAML has in it, 0x1f, 1_000, 0o17, .inf and 12:30:45 included.
_NO_NUMBER = frozenset("ghjklmqrsuvwGHJKLMQRSUVW/=")
_MAX_DIGITS = 18
_MAX_INDENT = 40


def load(data: bytes) -> Any:
    """The mapping in `data`, as yamlgo.load() would read it, or NotPlainError."""
    if data.translate(None, _PRINTABLE):
        raise NotPlainError
    lines = []
    for line in data.decode("ascii").split("\n"):
        content = line.strip(" ")
        if content and content[0] != "#":
            lines.append((len(line) - len(line.lstrip(" ")), content))
    if lines and lines[0] == (0, "---"):
        del lines[0]
    block = _Block(lines)
    value = block.mapping(0)
    if not value or block.next != (-1, ""):
        raise NotPlainError
    return value


class _Block:
    """Walks over the lines: (indentation, content), `next` is the one to read."""

    __slots__ = ("lines", "next", "number")

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = [*lines, (-1, "")]
        self.number = 0
        self.next = self.lines[0]

    def advance(self) -> None:
        self.number += 1
        self.next = self.lines[self.number]

    def mapping(self, indent: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while self.next[0] == indent and self.next[1][:2] != "- ":
            key, text = _split(self.next[1])
            if not key or key in result:
                raise NotPlainError
            self.advance()
            result[key] = _scalar(text) if text else self.collection(indent)
        return result

    def collection(self, parent: int) -> Any:
        """What stands below a key: a deeper block, or a list that is not indented."""
        indent, content = self.next
        if content[:2] == "- " and parent <= indent <= _MAX_INDENT:
            return self.sequence(indent)
        if not parent < indent <= _MAX_INDENT:
            raise NotPlainError
        return self.mapping(indent)

    def sequence(self, indent: int) -> list[Any]:
        result: list[Any] = []
        while self.next[0] == indent and self.next[1][:2] == "- ":
            item = self.next[1][2:].lstrip(" ")
            if _split(item)[0]:
                inner = indent + len(self.next[1]) - len(item)
                self.next = (inner, item)
                result.append(self.mapping(inner))
            else:
                self.advance()
                result.append(_scalar(item))
        return result


def _split(content: str) -> tuple[str, str]:
    """(key, scalar text or ""); ("", "") if the line does not begin with a key."""
    key, colon, text = content.partition(":")
    if not colon or key not in _KEYS or text[:1] not in {"", " "}:
        return "", ""
    return key, text.lstrip(" ")


def _scalar(text: str) -> Any:
    quote = text[0]
    if quote in "'\"" and len(text) > 1:
        inner = text[1:-1]
        if text[-1] != quote or quote in inner or (quote == '"' and "\\" in inner):
            raise NotPlainError
        return inner
    if text in {"[]", "{}"}:
        return [] if text == "[]" else {}
    if ": " in text or " #" in text or text[-1] == ":":
        raise NotPlainError
    if quote in _LETTERS:
        if text.lower() in _WORDS:
            raise NotPlainError
        return text
    return _number_like(text)


def _number_like(text: str) -> Any:
    """A scalar that begins with a digit, a sign or a dot."""
    if text.isdigit() and len(text) <= _MAX_DIGITS and (text[0] != "0" or text == "0"):
        return int(text)
    if text[0] not in "-.+0123456789" or text[:2] in {"-", "- "}:
        raise NotPlainError
    parts = text.split(".")
    if _NO_NUMBER.isdisjoint(text) and not (len(parts) == 3 and all(map(str.isdigit, parts))):
        raise NotPlainError
    return text
