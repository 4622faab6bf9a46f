"""Texts that libyaml refuses or misreads and its Go port takes, written so that libyaml agrees.

Pure functions on a text, which characters of private use may stand in for a while: show() puts
the real ones back into each scalar. Where a text needs it is told by the place of libyaml's error
and what stands there, never by its words; reading is yamlgo.py's.
"""

from __future__ import annotations

import re

from ocishim.cdi.document.goscalars import DialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from yaml.error import YAMLError

LIMIT = 32
"""Passes over one text: each mended place costs one, and nobody writes more than one."""

_LONG = 4096  # characters: no tag is longer

_COLON, _MARK = "\ue000", "\ue001"
_ENDING_COLON = re.compile(r"""(?<=[^\s"',\[\]{}]):(?=[,?\[\]{}])""")
# The rest of a double-quoted scalar from an escaped single quote on, and its escapes.
_ESCAPED_QUOTE = re.compile(r"""\\'(?:\\.|[^"\\])*""", re.DOTALL)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_END_OF_PLAIN = re.compile(r":[,?\[\]{}]")
# A whole tag, which is more than the handle before its name.
_TAG = re.compile(r"(?<![-\w!&*])!(?:<[^>\s]*>|(?![-\w]*!$)[-\w;/?:@&=+$.!~*'()%]*)$", re.ASCII)
_REST_OF_TAG = re.compile(r"[,\[\]][-\w;/?:@&=+$.,!~*'()\[\]%]*", re.ASCII)


def hide_marks(text: str, data: bytes) -> tuple[bytes, bool]:
    """`data`, whose text is `text`, with its byte order marks hidden; whether it had any.

    libyaml skips one at the start of any line, its port takes it for text.
    """
    if "\ufeff" not in text or "\ufffd" in text:
        return data, False
    refuse_private(text)
    return _encode(text.replace("\ufeff", _MARK)), True


def mend(text: str, error: YAMLError) -> bytes | None:
    """`text` without the place that `error` is about; None if go-yaml refuses it, too."""
    from yaml.scanner import ScannerError  # noqa: PLC0415 - loaded by whoever raised `error`

    if not isinstance(error, ScannerError) or error.problem_mark is None:
        return None
    at = error.problem_mark.index
    if _END_OF_PLAIN.match(text, at):
        # A plain scalar may end in ":" before a bracket or comma, and may have one inside.
        return _encode(text[:at] + _COLON + _ENDING_COLON.sub(_COLON, text[at + 1 :]))
    if quote := _ESCAPED_QUOTE.match(text, at):
        known = _ESCAPE.sub(lambda e: r"\x27" if e[0] == r"\'" else e[0], quote[0])
        return _encode(text[:at] + known + text[quote.end() :])
    if (tag := _REST_OF_TAG.match(text, at)) and _TAG.search(text, max(at - _LONG, 0), at):
        # libyaml ends a tag at brackets and commas since 0.2.5; nothing reads what is in there.
        return _encode(text[:at] + "x" * len(tag[0]) + text[tag.end() :])
    return None


def show(scalar: str) -> str:
    """`scalar` with what was hidden."""
    return scalar.replace(_COLON, ":").replace(_MARK, "\ufeff")


def refuse_private(text: str) -> None:
    """Raise DialectError if `text` has a character that is about to stand for another."""
    if _COLON in text or _MARK in text:
        raise DialectError("a character of private use where none can be read")


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
