"""Text an attacker would have on somebody's terminal, and what it looks like where it is shown."""

from __future__ import annotations

CONTROLS = {
    "a colour": ("\x1b[31m", r"\x1b[31m"),
    "a window's title": ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
    "back to the line's begin": ("\r", r"\x0d"),
    "back by one": ("\b", r"\x08"),
    "another page": ("\f\v", r"\x0c\x0b"),
    "separators of files": ("\x1c\x1d\x1e\x1f", r"\x1c\x1d\x1e\x1f"),
    "DEL": ("\x7f", r"\x7f"),
    "an escape in one character": ("\x9b31m", r"\x9b31m"),
    "the next line": ("\x85", r"\x85"),
    "a separator of lines": ("\u2028", r"\u2028"),
    "a separator of paragraphs": ("\u2029", r"\u2029"),
    "from right to left": ("\u202e", r"\u202e"),
    "an embedding": ("\u202a\u202b\u202c\u202d", r"\u202a\u202b\u202c\u202d"),
    "an isolate": ("\u2066\u2067\u2068\u2069", r"\u2066\u2067\u2068\u2069"),
    "marks of direction": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "nothing to be seen": ("\u200b\u2060\ufeff\u00ad", r"\u200b\u2060\ufeff\xad"),
    "a blank that is none": ("\u00a0\u3000", r"\xa0\u3000"),
    "a tag": ("\U000e0041", r"\U000e0041"),
    "a private character": ("\ue000", r"\ue000"),
}
"""What is not printed as it is: id -> the text, and how it is shown."""

PLAIN = {
    "markup": "[red]x[/red][link=http://evil.example]y[/link][/]",
    "an emoji by its name": ":skull: :smile:",
    "letters of others": "Größe Übung 显卡 видео كرت",
    "an emoji": "😀",
    "a backslash": r"a\x1b[31m",
}
"""What stays as it is, on every way out."""

SEEN = "[red]x[bold]:smile:Größe显卡😀"
"""What of EVIL is shown as it is."""

EVIL = "".join(text for text, _ in CONTROLS.values()) + SEEN
"""All of them in one word that can be a file's name or an option's."""
