"""`pyshimctl schema`: what the members of a --json output are."""

from __future__ import annotations

from importlib import resources

import click

from ocishim.admin import printer
from ocishim.errors import UsageError

_PACKAGE = "ocishim.admin.schema"


def names() -> list[str]:
    """Return the names of the schemas there are."""
    files = (entry.name for entry in resources.files(_PACKAGE).iterdir())
    return sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))


def text(name: str) -> str:
    """Return the JSON Schema of `name`. Raises UsageError when there is none."""
    if name not in names():
        raise UsageError(f"no schema '{name}'", hint=f"there are {', '.join(names())}")
    return (resources.files(_PACKAGE) / f"{name}.json").read_text("utf-8")


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Print the JSON Schema NAME of a --json output, or the names there are.

    Its member `schema` says which: pyshim/NAME. `schema_version` grows when a member goes or means
    something else; members may come at any time.
    """
    if name:
        printer.text(text(name))
        return
    for each in names():
        printer.line(each)
