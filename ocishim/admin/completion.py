"""`pyshimctl completion`: the script that completes its commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ocishim.admin import printer

_VARIABLE = "_PYSHIMCTL_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: pyshimctl completion bash >/etc/bash_completion.d/pyshimctl
    """
    from ocishim.admin.cli import main  # noqa: PLC0415 - it is being run

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}")
    printer.text(completion(main, {}, "pyshimctl", _VARIABLE).source() + "\n")
