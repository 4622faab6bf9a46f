"""The man pages, from the texts that --help, pyshimctl config and docs/ print.

Usage: python -m tools.packaging.manual FOLDER

They are put together as Markdown; go-md2man, by which runc, Podman and Docker make theirs, makes
roff of it.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocishim.admin.cli import main as pyshimctl
from ocishim.admin.config.settings import EXPLAINED, toml
from ocishim.hooks import program
from ocishim.oci.hooktable import HOOKS
from ocishim.settings import defaults
from tools.packaging.project import DAY, ROOT, SUMMARY, VERSION, paragraphs, section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INSTALL = "docs/install.md"


def pyshim_page() -> str:
    """Return the text of pyshim(8), in Markdown."""
    intro = section("README.md")
    return page("pyshim", 8, SUMMARY, {
        "SYNOPSIS": "**pyshim** [*OPTIONS*] *COMMAND* [*ARGUMENTS*], as the low-level runtime",
        "DESCRIPTION": paragraphs(intro, 2),
        "USES": intro.partition("Use it when\n\n")[2].partition("\n\n```")[0],
        "A READ-ONLY ROOTFS": section("README.md", "A read-only rootfs"),
        "WHEN A DEVICE DOES NOT APPEAR": section("docs/troubleshooting.md").partition("\n\n|")[0],
        "EXIT STATUS": "That of the low-level runtime; 1 when a create failed before it ran.",
        "FILES": section(INSTALL, "Files"),
        "ENVIRONMENT": section(INSTALL, "Environment"),
    })  # fmt: skip


def hook_page() -> str:
    """Return the text of pyshim-hook(8), in Markdown."""
    usage, _, words = program.USAGE.removeprefix("usage: ").partition("\n\n")
    own = program.__doc__ or ""
    summary = own.partition(": ")[2].partition(".\n")[0]
    return page("pyshim-hook", 8, summary, {
        "SYNOPSIS": block(inspect.cleandoc(f"       {usage}")),
        "DESCRIPTION": plain(words.partition(" Hooks:")[0]),
        "HOOKS": "\n\n".join(map(_hook, sorted(HOOKS))),
        "EXIT STATUS": plain(own.partition("Exit status ")[2]),
    })  # fmt: skip


def _hook(name: str) -> str:
    """Return what a hook's module says of itself: "NAME: summary.", and the rest."""
    source = (ROOT / f"hooks/{name.replace('-', '_')}.py").read_text()
    summary, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    words = summary.partition(": ")[2]
    return f"## {name}\n\n{plain(words[0].upper() + words[1:])}\n\n{plain(rest)}"


def ctl_page() -> str:
    """Return the text of pyshimctl(8), in Markdown."""
    document = "docs/pyshimctl.md"
    return page("pyshimctl", 8, (pyshimctl.help or "").rstrip("."), {
        "SYNOPSIS": "**pyshimctl** *COMMAND* [*OPTIONS*] [*ARGUMENTS*]",
        "DESCRIPTION": paragraphs(section(document), 1),
        "COMMANDS": "\n\n".join(_commands(click.Context(pyshimctl, info_name="pyshimctl"))),
        "EXIT STATUS": section(document, "Exit status"),
        "COMPLETION": section(document, "Completion"),
        "A SPEC FOR A DEVICE": section(document, "A spec for a device"),
        "IN A SCRIPT": section(document, "In a script"),
        "FILES": section(INSTALL, "Files"),
        "ENVIRONMENT": section(INSTALL, "Environment"),
    })  # fmt: skip


def _commands(above: click.Context) -> Iterator[str]:
    """Yield a section for each command below `above`, depth first."""
    group = above.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        yield "\n\n".join(_command(context))
        if isinstance(command, click.Group):
            yield from _commands(context)


def _command(context: click.Context) -> Iterator[str]:
    """Yield what --help tells of a command."""
    command = context.command
    words = context.command_path.partition(" ")[2]
    yield f"## {words} {plain(' '.join(command.collect_usage_pieces(context)))}"
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        yield block(part.removeprefix("\b\n")) if part.startswith("\b") else plain(part)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and "--help" not in record[0]:
            yield f"**{record[0]}**\n: {plain(' '.join(record[1].split()))}"


def config_page() -> str:
    """Return the text of pyshim-config(5), in Markdown."""
    intro = section("README.md", "Configuration").partition("\n\n")[0]
    settings = "\n\n".join(
        f"**{key}** = {plain(toml(defaults.DEFAULTS[key]))}\n: {_setting(words)}"
        for key, words in EXPLAINED.items()
    )
    return page("pyshim-config", 5, "pyshim's settings, /etc/pyshim/config.toml", {
        "DESCRIPTION": intro,
        "SETTINGS": f"With their defaults; *a.b* is *b* in the table [a].\n\n{settings}",
        "EXAMPLE": block(inspect.cleandoc(_example(EXPLAINED["requests.env"]))),
        "ENVIRONMENT": section(INSTALL, "Environment"),
    })  # fmt: skip


def _example(words: str) -> str:
    """Return the lines of TOML in a setting's words, which are indented."""
    return "\n".join(line for line in words.split("\n") if line.startswith("  "))


def _setting(words: str) -> str:
    lines = [line for line in words.split("\n") if not line.startswith("  ")]
    return plain(" ".join(lines)) + " see EXAMPLE" * bool(_example(words))


PAGES: dict[str, Callable[[], str]] = {
    "pyshim.8": pyshim_page,
    "pyshim-hook.8": hook_page,
    "pyshimctl.8": ctl_page,
    "pyshim-config.5": config_page,
}


def page(name: str, number: int, summary: str, sections: dict[str, str]) -> str:
    """Return a page in Markdown, with the sections in the order given."""
    others = (one.partition(".") for one in PAGES)
    see = ", ".join(f"**{other}**({n})" for other, _, n in others if other != name)
    parts = {"NAME": f"{name} - {summary}", **sections, "SEE ALSO": f"{see}, **runc**(8)"}
    body = "\n\n".join(f"# {title}\n\n{_listed(text)}" for title, text in parts.items())
    return f'% {name} {number} "{DAY}" "pyshim {VERSION}" "pyshim"\n{body}\n'


def _listed(text: str) -> str:
    """Return Markdown with its tables as lists, which fit a terminal: a first cell, what it is."""
    return re.sub(r"(?:^\|.*\|$\n?)+", _list, text, flags=re.MULTILINE)


def _list(table: re.Match[str]) -> str:
    titles, _, *rows = (
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()
    )
    items = []
    for term, *cells in rows:
        named = zip(titles[1:], cells, strict=True)
        rest = cells if len(cells) == 1 else [f"{title}: {cell}" for title, cell in named]
        items.append(f"**{term.replace('`', '')}**\n: {'; '.join(rest)}\n")
    return "\n".join(items)


def plain(text: str) -> str:
    """Return as Markdown words that are none, but for `code`."""
    return re.sub(r"(`[^`]*`)|([\\*_<>\[\]|])", lambda m: m[1] or f"\\{m[2]}", text)


def block(text: str) -> str:
    """Return lines that stay as they are."""
    return f"```\n{text}\n```"


def roff(markdown: str) -> bytes:
    """Return the page for man(1), also of groff 1.23 and mandoc, whoever reads it."""
    made = subprocess.run(
        ["go-md2man"], input=markdown.encode(), stdout=subprocess.PIPE, check=True
    ).stdout
    # Older versions set code in the font C as well as bold, which no terminal has, and a paragraph
    # below each heading, which is one already.
    return re.sub(rb"^(\.S[HS] .*\n)\.PP\n", rb"\1", made.replace(rb"\fC", b""), flags=re.MULTILINE)


if __name__ == "__main__":
    for file, make in PAGES.items():
        (Path(sys.argv[1]) / file).write_bytes(roff(make()))
