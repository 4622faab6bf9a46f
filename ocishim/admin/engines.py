"""What every engine's module takes and gives: a wish, and the plan that fulfils it.

containerd.py, crio.py, docker.py and podman.py each have plan(host, wish) and know one engine's
files; nothing is written before the plan is complete. configure.py is the command.
"""

from __future__ import annotations

from typing import Any

from ocishim.admin.files import Edit, read
from ocishim.admin.host import Host
from ocishim.config import DEFAULT_PATH, DEFAULTS
from ocishim.errors import ConfigError

SPEC_DIRS: list[str] = DEFAULTS["cdi.spec_dirs"]


class Wish:
    """What `pyshimctl configure` was asked for.

    name: the runtime's name for the engine. program: path of `pyshim` on the machine.
    annotation_prefixes and spec_dirs are those of pyshim's own configuration.
    config and drop_in name other files than the engine's usual ones, None otherwise.
    """

    __slots__ = (
        "annotation_prefixes",
        "config",
        "drop_in",
        "enable_cdi",
        "name",
        "program",
        "remove",
        "set_as_default",
        "spec_dirs",
    )

    def __init__(
        self,
        name: str,
        program: str,
        *,
        set_as_default: bool = False,
        enable_cdi: bool = False,
        remove: bool = False,
        config: str | None = None,
        drop_in: str | None = None,
        annotation_prefixes: list[str] | None = None,
        spec_dirs: list[str] | None = None,
    ) -> None:
        self.name = name
        self.program = program
        self.set_as_default = set_as_default
        self.enable_cdi = enable_cdi
        self.remove = remove
        self.config = config
        self.drop_in = drop_in
        self.annotation_prefixes = annotation_prefixes or DEFAULTS["cdi.annotation_prefixes"]
        self.spec_dirs = spec_dirs or SPEC_DIRS

    @property
    def annotations(self) -> list[str]:
        """The patterns of annotations an engine must hand down."""
        return [f"{prefix}*" for prefix in self.annotation_prefixes]


class Plan:
    """What will be done: edits, notes for people, and the command that makes it take effect."""

    __slots__ = ("edits", "next_step", "notes")

    def __init__(self, edits: list[Edit], next_step: str, notes: list[str] | None = None) -> None:
        self.edits = edits
        self.next_step = next_step
        self.notes = notes or []

    @property
    def changes(self) -> bool:
        """Whether any file would change."""
        return any(edit.changes for edit in self.edits)


HEADER = (
    "# Written by `pyshimctl configure {engine}`, which writes it anew when it is called again;\n"
    "# `pyshimctl configure {engine} --remove` removes it.\n"
)


def whole_file(host: Host, path: str, text: str | None) -> Edit:
    """Return the edit that makes the file `path` say `text`, or go away for None."""
    return Edit(host, path, read(host, path), text)


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


def check_program(host: Host, path: str) -> None:
    """Raise ConfigError unless the engine will find the program `path`."""
    if not path.startswith("/"):
        raise ConfigError(f"'{path}' is not an absolute path", hint="name one by --runtime-path")
    if not host.is_program(path):
        raise ConfigError(
            f"{path}: no such program",
            hint="run 'pyshimctl install', or name one: --runtime-path",
        )
