"""The names by which an engine has runtimes, in the files that a plan changes.

An engine that finds a container's runtime by its name cannot do without the name while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocishim.admin.editing import tomlfile
from ocishim.admin.engines import containerd_template
from ocishim.admin.engines.containerd_files import BUILT_IN

if TYPE_CHECKING:
    from ocishim.admin.engines import Plan

_BY_NAME = ("containerd", "crio", "podman")
"""Those engines; Docker keeps the program's path with each container."""
_RUNTIMES = "runtimes"
_DEFAULTS = ("default_runtime_name", "default_runtime", "runtime")
"""What containerd, CRI-O and Podman call the setting whose value is the default one's name."""


def gone(engine: str, plan: Plan) -> set[str]:
    """Return the names that `engine` has now and would not have any more."""
    if engine not in _BY_NAME:
        return set()
    before = {name for edit in plan.edits for name in _runtimes(edit.path, edit.before)}
    after = {name for edit in plan.edits for name in _runtimes(edit.path, edit.after)}
    return before - after - (BUILT_IN.keys() if engine == "containerd" else set())


def has_default(plan: Plan, names: set[str]) -> bool:
    """Whether one of `names` is the engine's default runtime now."""
    values = (
        value
        for edit in plan.edits
        for key, value in _members(edit.path, edit.before)
        if key in _DEFAULTS
    )
    return any(isinstance(value, str) and value in names for value in values)


def _runtimes(path: str, text: str | None) -> Iterator[str]:
    for key, value in _members(path, text):
        if key == _RUNTIMES and isinstance(value, dict):
            yield from value


def _members(path: str, text: str | None) -> Iterator[tuple[str, object]]:
    """Yield every key with its value, of tables within tables too."""
    text = text or ""
    if path.endswith(containerd_template.SUFFIX):
        text = containerd_template.block(text)  # alone of a template it is TOML for sure
    tables = [tomlfile.plain(text, path)]
    while tables:
        for key, value in tables.pop().items():
            yield key, value
            if isinstance(value, dict):
                tables.append(value)
