"""Several hooks in one process on one rootfs, in order; the first failure ends it.

Every hook module has NAME, parse(args) -> request and apply(rootfs, request) -> [Outcome]; one
that can serve several requests at once (update-ldcache) also has merge([request]) -> request.
All requests are parsed before the first is applied. A module is imported when it is named.
"""

from __future__ import annotations

import sys

from ocishim.errors import HookError, PyshimError, UsageError
from ocishim.oci.hooktable import HOOKS, NEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from ocishim.hooks.outcome import Outcome
    from ocishim.rootfs.rootfs import Rootfs

    Say = Callable[[str, str], None]


class Step:
    """One hook with its parsed request."""

    __slots__ = ("module", "name", "request")

    def __init__(self, name: str, module: ModuleType, request: Any) -> None:
        self.name = name
        self.module = module
        self.request = request


def load(name: str) -> ModuleType:
    """Import the hook `name` of hooktable.HOOKS."""
    path = "ocishim.hooks." + name.replace("-", "_")
    __import__(path)  # importlib costs 1 ms
    return sys.modules[path]


def split(words: list[str]) -> list[list[str]]:
    """Split `NAME ARG... --next NAME ARG...` into one list for each hook; empty ones go."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == NEXT:
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def parse(parts: list[list[str]], say: Say) -> list[Step]:
    """Parse every hook's arguments; an unknown name is a warning, so that new specs still start.

    UsageError of the first hook whose arguments are wrong.
    """
    steps = []
    for name, *args in parts:
        if name not in HOOKS:
            say("warning", f"hook {name!r} is not known and is left out")
            continue
        module = load(name)
        try:
            steps.append(Step(name, module, module.parse(args)))
        except UsageError as error:
            raise HookError(f"createContainer hook {name} failed: {error}") from error
    return _merged(steps)


def _merged(steps: list[Step]) -> list[Step]:
    """Make one step of those whose module can: at the last one's place, where all is there."""
    result: list[Step] = []
    for step in steps:
        same = [other for other in steps if other.name == step.name]
        if not hasattr(step.module, "merge"):
            result.append(step)
        elif same[-1] is step:
            request = step.module.merge([other.request for other in same])
            result.append(Step(step.name, step.module, request))
    return result


def apply(rootfs: Rootfs, steps: list[Step], say: Say) -> None:
    """Run the steps; HookError names the hook and its reason in one line."""
    for step in steps:
        try:
            outcomes: list[Outcome] = step.module.apply(rootfs, step.request)
        except (PyshimError, OSError) as error:
            raise HookError(f"createContainer hook {step.name} failed: {reason(error)}") from error
        for outcome in outcomes:
            say("warning" if outcome.warning else "debug", f"{step.name}: {outcome.describe()}")


def reason(error: PyshimError | OSError) -> str:
    """The text of a failure, in one line and without Python's `[Errno 2]`."""
    if isinstance(error, PyshimError):
        text = str(error)
    else:
        text = error.strerror or str(error)
        if error.filename is not None:
            text = f"{error.filename}: {text}"
    return " ".join(text.split("\n"))
