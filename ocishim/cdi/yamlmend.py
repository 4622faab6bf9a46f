"""Texts that libyaml refuses or misreads and its Go port takes, written so that libyaml agrees.

Pure functions on a text, which characters of private use may stand in for a while: show() puts
the real ones back into each scalar. Where a text needs it is told by libyaml's own error; reading
is yamlgo.py's.
"""

from __future__ import annotations

import re

from ocishim.cdi.scalars import DialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from yaml.error import YAMLError

LIMIT = 32
"""Passes over one text: each mended place costs one, and nobody writes more than one."""

_COLON, _MARK = "\ue000", "\ue001"
_ENDING_COLON = re.compile(r"""(?<=[^\s"',\[\]{}]):(?=[,?\[\]{}])""")
# The rest of a double-quoted scalar from an escaped single quote on, and its escapes.
_ESCAPED_QUOTE = re.compile(r"""\\'(?:\\.|[^"\\])*""", re.DOTALL)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
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
    problem, mark = str(error), getattr(error, "problem_mark", None)
    at = mark.index if mark else 0
    if "unexpected ':'" in problem and text[at : at + 1] == ":":
        # A plain scalar may end in ":" before a bracket or comma, and may have one inside.
        return _encode(text[:at] + _COLON + _ENDING_COLON.sub(_COLON, text[at + 1 :]))
    if "unknown escape" in problem and (quote := _ESCAPED_QUOTE.match(text, at)):
        known = _ESCAPE.sub(lambda e: r"\x27" if e[0] == r"\'" else e[0], quote[0])
        return _encode(text[:at] + known + text[quote.end() :])
    if "expected whitespace or line break" in problem and (tag := _REST_OF_TAG.match(text, at)):
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
