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
    """Print a table. Names are there to be copied: wide output rather than cut words."""
    from rich.console import Console  # noqa: PLC0415 - people only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=None, pad_edge=False)
    for title in titles:
        made.add_column(title, no_wrap=True, overflow="ignore")
    for row in rows:
        made.add_row(*(Text(shown(cell)) for cell in row))
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 1000
    console.print(made)


def titled(lines: list[tuple[str, str, str]]) -> None:
    """Print lines of a title, its style and a text that may be long."""
    from rich.console import Console  # noqa: PLC0415 - people only
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for title, style, words in lines:
        console.print(Text.assemble((f"{title:<9}", style), " ", shown(words)))
