"""What pyshimctl prints, for people and for programs.

All of it goes through here, because names and texts come from images, pods, spec files and
engines: what would move a cursor, hide, reorder or forge a line is shown escaped, and nothing is
markup of rich's.
Colours appear on a terminal only; click and rich take care.
"""

from __future__ import annotations

import json
from typing import Any

import click

from ocishim.errors import shown


def line(words: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print one line, to stderr if `err`, in the colour `fg`."""
    click.secho(shown(words), err=err, fg=fg)


def text(whole: str) -> None:
    """Print the text of a file or a diff as it is: its line feeds and tabs are its own."""
    click.echo(shown(whole, keep="\n\t"), nl=False)


def json_text(value: Any) -> str:
    """Return `value` as indented JSON in printable ASCII."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def report(value: Any) -> None:
    """Print `value` as JSON."""
    click.echo(json_text(value))


def table(titles: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> None:
    """Print a table. Names are there to be copied: a terminal may fold a line, nothing cuts it."""
    cells = [tuple(map(shown, row)) for row in (titles, *rows)]
    first, second = (max(len(row[column]) for row in cells) for column in (0, 1))
    for number, row in enumerate(cells):
        words = f"{row[0]:{first}}  {row[1]:{second}}  {row[2]}".rstrip()
        click.secho(words, bold=not number)


def titled(lines: list[tuple[str, str, str]]) -> None:
    """Print lines of a title, its style and a text that may be long."""
    from rich.console import Console  # noqa: PLC0415 - people only
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for title, style, words in lines:
        console.print(Text.assemble((f"{title:<9}", style), " ", shown(words)))
