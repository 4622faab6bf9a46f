"""Names of CDI devices: `vendor/class=name`.

Grammar (the reference's parser, not the stricter prose of SPEC.md):

    vendor, class:  letter { letter | digit | "_" | "-" | "." } (letter | digit)
    device name:    (letter | digit) { letter | digit | "_" | "-" | "." | ":" } (letter | digit)

One character alone is valid, there is no length limit, and only ASCII counts.
Errors are DocumentError with the reference's own sentence, which quotes as Go's %q does.
Looking a device up is the registry's work, annotations are annotations.py's. Pure.
"""

from __future__ import annotations

from ocishim.errors import DocumentError

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALNUM = _LETTERS + "0123456789"
_WORD = ALNUM + "_-."
_GO_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


class DeviceName:
    """A qualified device name whose three parts are known to be valid."""

    __slots__ = ("class_", "name", "vendor")

    def __init__(self, vendor: str, class_: str, name: str) -> None:
        self.vendor = vendor
        self.class_ = class_
        self.name = name

    @property
    def kind(self) -> str:
        """`vendor/class`, as a CDI spec's `kind` spells it."""
        return f"{self.vendor}/{self.class_}"

    def __str__(self) -> str:
        return f"{self.vendor}/{self.class_}={self.name}"

    def __repr__(self) -> str:
        return f"DeviceName({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceName) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> DeviceName:
    """The qualified device name that `text` spells, blanks and all.

    Raises DocumentError with the reference's text: `unqualified device "X", missing vendor`,
    or `invalid device "X": ` and what validate_vendor, validate_class or validate_device_name say.
    """
    vendor, class_, name = parse_device(text)
    if not vendor:
        raise DocumentError(f"unqualified device {goquote(text)}, missing vendor")
    try:
        validate_vendor(vendor)
        validate_class(class_)
        validate_device_name(name)
    except DocumentError as e:
        raise DocumentError(f"invalid device {goquote(text)}: {e.message}") from None
    return DeviceName(vendor, class_, name)


def is_qualified(text: str) -> bool:
    """Whether parse() accepts `text`."""
    vendor, class_, name = parse_device(text)
    return _valid(vendor, _LETTERS, _WORD) and _valid(class_, _LETTERS, _WORD) and _valid_name(name)


def parse_device(text: str) -> tuple[str, str, str]:
    """(vendor, class, name), split and not validated; ("", "", text) if it is not split so."""
    if text[:1] != "/":
        qualifier, _, name = text.partition("=")
        if name:
            vendor, class_ = parse_qualifier(qualifier)
            if vendor:
                return vendor, class_, name
    return "", "", text


def parse_qualifier(kind: str) -> tuple[str, str]:
    """(vendor, class) of a kind, cut at the first "/"; ("", kind) if either part is missing."""
    vendor, _, class_ = kind.partition("/")
    return (vendor, class_) if vendor and class_ else ("", kind)


def validate_vendor(vendor: str) -> None:
    """Raise DocumentError `invalid vendor. ...` unless `vendor` is one."""
    if not _valid(vendor, _LETTERS, _WORD):
        raise DocumentError("invalid vendor. " + _why_not(vendor))


def validate_class(class_: str) -> None:
    """Raise DocumentError `invalid class. ...` unless `class_` is one."""
    if not _valid(class_, _LETTERS, _WORD):
        raise DocumentError("invalid class. " + _why_not(class_))


def validate_device_name(name: str) -> None:
    """Raise DocumentError unless `name` may stand behind the "="."""
    if _valid_name(name):
        return
    if not name:
        raise DocumentError("invalid (empty) device name")
    quoted = goquote(name)
    if name[0] not in ALNUM:
        # "class" is the reference's word here, a copied message that its users know.
        raise DocumentError(f"invalid class {quoted}, should start with a letter or digit")
    bad = first_invalid_rune(name, _WORD + ":")
    if bad:
        raise DocumentError(f"invalid character '{bad}' in device name {quoted}")
    raise DocumentError(f"invalid name {quoted}, should end with a letter or digit")


def first_invalid_rune(name: str, allowed: str) -> str:
    """The first character not in `allowed` between the first and the last byte, or "".

    The reference cuts bytes before it looks at characters: of a longer last character only
    the beginning is left, which reads as U+FFFD.
    """
    inner = gobytes(name)[1:-1].decode(errors="replace")
    return next((c for c in inner if c not in allowed), "")


def goquote(text: str) -> str:
    """`text` quoted as Go's %q does (strconv.Quote); lone surrogates stand for raw bytes."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_goquote_char, text)) + '"'


def gobytes(text: str) -> bytes:
    """The bytes of a Go string with this text."""
    return text.encode(errors="surrogateescape")


def _goquote_char(char: str) -> str:
    code = ord(char)
    if char in _GO_ESCAPES:
        return _GO_ESCAPES[char]
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _valid(text: str, first: str, allowed: str) -> bool:
    # strip() leaves nothing exactly when every character is an allowed one.
    return text != "" and text[0] in first and text[-1] in ALNUM and not text.strip(allowed)


def _valid_name(name: str) -> bool:
    return _valid(name, ALNUM, _WORD + ":")


def _why_not(name: str) -> str:
    if not name:
        return "empty name"
    if name[0] not in _LETTERS:
        return f"{goquote(name)}, should start with letter"
    bad = first_invalid_rune(name, _WORD)
    if bad:
        return f"invalid character '{bad}' in name {goquote(name)}"
    return f"{goquote(name)}, should end with a letter or digit"
