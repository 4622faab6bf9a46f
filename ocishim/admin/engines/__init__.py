"""The engines' configuration: one contract, one module an engine.

Each module has plan(host, wish), what its files must say; PROGRAMS and program(host, wish), the
engine's own program, "" where it is not there; and problem(host, wish, scratch), what that program
says of the files. Nothing is written before the plan is complete and the engine has read it
(trial.py). Leaves the command line to configure.py, and judging a node to checks/.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ocishim.admin.editing import files
from ocishim.admin.editing.files import Edit, read
from ocishim.admin.host import Host
from ocishim.errors import ConfigError, UsageError
from ocishim.settings.defaults import DEFAULT_PATH, DEFAULTS

ENGINES = ("containerd", "crio", "docker", "podman")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME_OF_OURS = "pyshim"
_RESERVED = {"docker": ("runc",)}
"""Names that an engine keeps for its own runtime, and does not start with in its files."""
SPEC_DIRS: list[str] = DEFAULTS["cdi.spec_dirs"]
HEADER = (
    "# Written by `pyshimctl configure {engine}`, which writes it anew when it is called again;\n"
    "# `pyshimctl configure {engine} --remove` removes it.\n"
)


@dataclass
class Wish:
    """What `pyshimctl configure` was asked for.

    name: the runtime's name for the engine. program: path of `pyshim` on the machine.
    annotation_prefixes and spec_dirs are those of pyshim's own configuration, lowlevel the name of
    the runtime that it leads to ("runc", "crun", "" unknown).
    config and drop_in name other files than the engine's usual ones, None otherwise.
    """

    name: str
    program: str
    _: KW_ONLY
    set_as_default: bool = False
    enable_cdi: bool = False
    remove: bool = False
    config: str | None = None
    drop_in: str | None = None
    annotation_prefixes: list[str] = field(
        default_factory=lambda: DEFAULTS["cdi.annotation_prefixes"]
    )
    spec_dirs: list[str] = field(default_factory=lambda: SPEC_DIRS)
    lowlevel: str = ""

    @property
    def annotations(self) -> list[str]:
        """The patterns of annotations an engine must hand down."""
        return [f"{prefix}*" for prefix in self.annotation_prefixes]


@dataclass
class Plan:
    """What will be done: edits, the systemd unit that has to read them, and notes for people.

    unit: "" where none has to; else it is restarted, or reloaded if it `reloads`.
    """

    edits: list[Edit]
    unit: str
    notes: list[str] = field(default_factory=list)
    reloads: bool = False

    @property
    def next_step(self) -> str:
        """The command that makes the edits take effect, "" where none has to."""
        verb = "reload" if self.reloads else "restart"
        return f"systemctl {verb} {self.unit}" if self.unit else ""

    @property
    def changes(self) -> bool:
        """Whether any file would change."""
        return any(edit.changes for edit in self.edits)


def module(engine: str) -> Any:
    """Return the engine's module."""
    return importlib.import_module(f"ocishim.admin.engines.{engine}")


def whole_file(host: Host, path: str, text: str | None, mode: int | None = None) -> Edit:
    """Return the edit that makes the file `path` say `text`, or go away for None."""
    return Edit(host, path, read(host, path), text, mode)


def first_table(tables: object, *names: object) -> dict[str, Any]:
    """Return the first of `names` that is a table in `tables`, {} when there is none."""
    if not isinstance(tables, dict):
        return {}
    for name in names:
        found = tables.get(name) if isinstance(name, str) else None
        if isinstance(found, dict):
            return found
    return {}


def own_runtime(source: str, engine: str) -> str:
    """Return the note for an engine whose runtime is a program pyshim might not find."""
    return (
        f"{engine}'s own runtime is {source}: if it is not in PATH, make it the first of"
        f" 'runtimes' in {DEFAULT_PATH}"
    )


def check_name(engine: str, name: str) -> None:
    """Raise UsageError unless `engine` starts with a runtime of that name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name for a runtime",
            hint="--runtime-name takes letters, digits, '.', '_' and '-', the first none of these",
        )
    if name in _RESERVED.get(engine, ()):
        raise UsageError(
            f"{engine} keeps the name '{name}' for its own runtime, and does not start with it",
            hint="name another by --runtime-name; --set-as-default makes it the one of every"
            " container",
        )


def is_ours(wish: Wish, program: object) -> bool:
    """Whether a runtime of the wished name with that program is pyshim, not somebody else's."""
    return (
        wish.name == _NAME_OF_OURS
        or program == wish.program
        or (isinstance(program, str) and os.path.basename(program) == _NAME_OF_OURS)
    )


def check_program(host: Host, path: str) -> None:
    """Raise ConfigError unless the engine will find the program `path`."""
    if not path.startswith("/"):
        raise ConfigError(f"'{path}' is not an absolute path", hint="name one by --runtime-path")
    if not files.is_text(path):
        raise ConfigError(
            f"'{path}' is not UTF-8, and no engine's file can name it",
            hint="name another by --runtime-path: a link to it will do",
        )
    if not host.is_program(path):
        raise ConfigError(
            f"{path}: no such program",
            hint="run 'pyshimctl install', or name one: --runtime-path",
        )


def complaint(host: Host, *argv: str) -> str:
    """Return what an engine's program says before it fails, "" when it does not fail."""
    done = host.run(*argv)
    words = _last_words(os.path.basename(argv[0]), done.stderr)
    return words or f"exit status {done.returncode}" if done.returncode else ""


def _last_words(program: str, text: str) -> str:
    """Return the last message: what begins with the program's name, or else the last line.

    containerd's can have many lines, which show the table that it cannot read.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    begins = [number for number, line in enumerate(lines) if line.startswith(f"{program}: ")]
    return " ".join(lines[begins[-1] if begins else -1 :])
