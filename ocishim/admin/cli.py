"""pyshimctl: the program for people. Its commands are modules of this package, imported on use.

Exit status, for every command: 0 done, or nothing found; 1 it failed, or it found what it looks
for; 2 the command line is wrong; 70 the fault is pyshim's. A command says where it differs.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from collections.abc import Iterator
from typing import Any

import click

from ocishim import __version__
from ocishim.admin import printer
from ocishim.errors import PyshimError, UsageError, shown

COMMANDS = {
    "install": (
        "install.command:install",
        "Put pyshim in place, here or below --host-root.",
    ),
    "uninstall": ("install.uninstall:uninstall", "Remove what install put in place."),
    "configure": ("configure:command", "Make a container engine use pyshim."),
    "config": ("config.command:command", "Show, check or print pyshim's own configuration."),
    "cdi": ("cdi:command", "List, show, check and try out the CDI devices of this node."),
    "explain": ("explain.command:command", "Tell what a create does, or did, with a container."),
    "what-if": (
        "explain.whatif:command",
        "Tell what a container would get that asks for a device.",
    ),
    "doctor": ("doctor:command", "Say what is wrong on this node, and the next step."),
    "manifest": ("manifest:command", "Print the Kubernetes objects that bring pyshim to nodes."),
    "daemonset": ("install.daemonset:command", "Do what the installer's image is for, on a node."),
    "schema": ("schema.command:command", "Print the JSON Schema of a --json output."),
    "completion": ("completion:command", "Print the completion script of a shell."),
    "version": ("version:command", "Tell the versions of pyshim and what it works with."),
}
"""Each command's name, where it is (module of this package, attribute) and its one line of help."""

_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A command line without a command: the message is our help (click 8.2 and later)."""


@contextlib.contextmanager
def _mistakes_shown() -> Iterator[None]:
    """Escape what click repeats of a command line that it does not accept."""
    try:
        yield
    except click.ClickException as err:
        keep = "\n" if isinstance(err, _HELP) else ""
        err.message = shown(err.message, keep=keep)  # type: ignore[misc]  # final for readers
        raise


AGAIN = "install pyshim again from where it came"
INTERNAL_HINT = "this is pyshim's fault: report it, with what PYSHIM_TRACEBACK=1 adds"
INTERNAL_STATUS = 70
"""EX_SOFTWARE of sysexits(3): the fault is pyshim's."""


def _tell(message: str, hint: str, number: int | None = 0) -> None:
    """Print a failure and its next step; `number`: why the kernel refused, an errno."""
    printer.line(f"pyshimctl: {message}", err=True, fg="red")
    if number in (errno.EACCES, errno.EPERM) and os.geteuid():
        hint = hint or "run it as root"
    if hint:
        printer.line(f"hint: {hint}", err=True)


class Program(click.Group):
    """A group that imports a command when it is called, and words failures in one place."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the options before the command's name."""
        printer.carry_any_text()
        with _mistakes_shown():
            return super().make_context(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS, which is the order of a node's life."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`; None when there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"ocishim.admin.{module}"),
            attribute,
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line; a mistyped name is answered with the nearest."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            import difflib  # noqa: PLC0415 - for mistakes only

            for near in difflib.get_close_matches(args[0], COMMANDS, 1):
                message = f"No such command '{args[0]}'. Did you mean '{near}'?"
                raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a failure becomes a line on stderr and the exit status."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False  # click knows terminals, not the variable (no-color.org)
        try:
            with _mistakes_shown():
                return super().invoke(ctx)
        except PyshimError as err:
            _tell(err.message, err.hint, err.errno)
            ctx.exit(2 if isinstance(err, UsageError) else 1)
        except OSError as err:
            if err.errno == errno.EPIPE:  # the reader has gone; click ends without a word
                raise
            where = f"{err.filename}: " if err.filename else ""
            _tell(f"{where}{err.strerror or err}", "", err.errno)
            ctx.exit(1)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except ImportError as err:
            _tell(f"a part of pyshim is missing or damaged: {err}", AGAIN)
            ctx.exit(1)
        except Exception as err:
            if os.environ.get("PYSHIM_TRACEBACK"):
                raise
            words = " ".join(f"{type(err).__name__}: {err}".split())
            _tell(f"internal error: {words}", INTERNAL_HINT)
            ctx.exit(INTERNAL_STATUS)


@click.command(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 failed or a problem was found, 2 wrong command line, 70 the"
    " fault is pyshim's.",
)
@click.version_option(__version__, prog_name="pyshimctl")
def main() -> None:
    """Install, configure and look into pyshim, the OCI runtime that applies CDI devices."""
