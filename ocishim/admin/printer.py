"""What pyshimctl prints, for people and for programs.

All of it goes through here, because names and texts come from images, pods, spec files and
engines: what would move a cursor, hide, reorder or forge a line is shown escaped, and nothing is
markup of rich's.
Colours appear on a terminal only; click and rich take care.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import click

from ocishim.errors import shown


def carry_any_text() -> None:
    """Let what a locale's encoding has no letter for be shown escaped, and be no failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def line(words: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print one line, to stderr if `err`, in the colour `fg`."""
    click.secho(shown(words), err=err, fg=fg)


def text(whole: str) -> None:
    """Print the text of a file or a diff as it is: its line feeds and tabs are its own."""
    click.echo(shown(whole, keep="\n\t"), nl=False)


def json_text(value: Any) -> str:
    """Return `value` as indented JSON in printable ASCII."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


SCHEMA_VERSION = 1
"""Of what is printed as JSON: grows when a member goes or means something else."""


def report(schema: str, value: dict[str, Any]) -> None:
    """Print `value` as JSON; schema: its file in schema/, without the suffix."""
    click.echo(json_text({"schema": f"pyshim/{schema}", "schema_version": SCHEMA_VERSION, **value}))


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table. Names are there to be copied: a terminal may fold a line, nothing cuts it."""
    cells = [tuple(map(shown, row)) for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        words = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        click.secho(words.rstrip(), bold=not number)


def titled(lines: list[tuple[str, str, str]]) -> None:
    """Print lines of a title, its style and a text that may be long."""
    from rich.console import Console  # noqa: PLC0415 - people only
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for title, style, words in lines:
        console.print(Text.assemble((f"{title:<9}", style), " ", shown(words)))
