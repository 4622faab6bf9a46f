"""One call of a mutant, and the register of mutants. What is wrong with each is its own module's.

A mutant stands before a good runtime: it may change what the good one gets (config.json, CDI specs,
arguments) or what it leaves (log, outputs, exit status).
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Spoil = Callable[["Call"], "int | None"]

COMMANDS = ("create", "run", "start", "state", "kill", "delete", "features", "restore")
VALUED = ("--root", "--log", "--log-format")
SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")
CDI = "cdi.k8s.io/"
BROKEN = "/run/.mutant-broken"


class Mutant(NamedTuple):
    """A way to be wrong, the cases that must catch it, and the other areas that may see it."""

    name: str
    spoil: Spoil
    caught: tuple[str, ...]
    seen: tuple[str, ...]


ALL: dict[str, Mutant] = {}


def mutant(*caught: str, seen: tuple[str, ...] = ()) -> Callable[[Spoil], Spoil]:
    """Register a mutant. It returns an exit status, or None for the good runtime to go on."""

    def register(spoil: Spoil) -> Spoil:
        name = spoil.__name__.replace("_", "-")
        ALL[name] = Mutant(name, spoil, caught, seen)
        return spoil

    return register


class Call:
    """The command line, cut where a command is; and what it speaks of."""

    def __init__(self, good: list[str], args: list[str]) -> None:
        self.good = good
        self.args = args
        self.at = self._command()
        self.command = args[self.at] if self.at < len(args) else ""
        self.creates = self.command in ("create", "run")

    def _command(self) -> int:
        index = 0
        while index < len(self.args) and self.args[index].startswith("-"):
            index += 2 if self.args[index] in VALUED else 1
        return index

    def flag(self, name: str, default: str = "") -> str:
        """Return the value of `--name X` or `--name=X`."""
        for index, arg in enumerate(self.args):
            if arg == f"--{name}" and index + 1 < len(self.args):
                return self.args[index + 1]
            if arg.startswith(f"--{name}="):
                return arg.partition("=")[2]
        return default

    @property
    def bundle(self) -> str:
        """The bundle's folder."""
        return self.flag("bundle", ".")

    @property
    def rootfs(self) -> str:
        """The path of the root file system."""
        return os.path.join(self.bundle, "rootfs")

    @property
    def text(self) -> str:
        """config.json."""
        with open(f"{self.bundle}/config.json", encoding="utf-8") as file:
            return file.read()

    @property
    def spec(self) -> dict[str, Any]:
        """config.json, parsed."""
        spec: dict[str, Any] = json.loads(self.text)
        return spec

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Let `change` edit config.json of a create or run; write it if that changed something."""
        if not self.creates:
            return
        spec = self.spec
        change(spec)
        if spec != self.spec:
            replace(f"{self.bundle}/config.json", json.dumps(spec))

    def edit_hooks(self, change: Callable[[str, dict[str, Any]], object], *kinds: str) -> None:
        """Let `change(kind, hook)` edit every hook, or those of `kinds`."""

        def every(spec: dict[str, Any]) -> None:
            for kind, hooks in (spec.get("hooks") or {}).items():
                for hook in hooks if not kinds or kind in kinds else ():
                    change(kind, hook)

        self.edit(every)

    def edit_requests(self, change: Callable[[dict[str, str]], object]) -> None:
        """Let `change` edit the annotations of a create or run."""
        self.edit(lambda spec: change(spec.setdefault("annotations", {})))

    def documents(self) -> dict[str, Any]:
        """Return the CDI specs that are JSON, by path."""
        found = {}
        paths = [f"{folder}/{name}" for folder in SPEC_DIRS for name in sorted(os.listdir(folder))]
        for path in paths:
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as file:
                    try:
                        found[path] = json.load(file)
                    except ValueError:
                        continue
        return found

    def edit_cdi(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Let `change` edit every CDI spec that is a JSON object, when something is created."""
        for path, value in self.documents().items() if self.creates else ():
            before = json.dumps(value)
            if isinstance(value, dict):
                change(value)
            if json.dumps(value) != before:
                replace(path, json.dumps(value))

    def edit_edits(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Let `change` edit the container edits of every device."""

        def every(document: dict[str, Any]) -> None:
            for device in document.get("devices") or ():
                if isinstance(device, dict) and isinstance(device.get("containerEdits"), dict):
                    change(device["containerEdits"])

        self.edit_cdi(every)

    def run(self, args: list[str] | None = None, **how: Any) -> int:
        """Call the good runtime and wait for it; `how` goes to subprocess."""
        status = subprocess.call([*self.good, *(args or self.args)], **how)
        return status if status >= 0 else 128 - status

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Ask the good runtime something about the call's containers."""
        command = [*self.good, "--root", self.flag("root"), *args]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def replace(path: str, text: str) -> None:
    """Put a file in place by rename, with the mode and owner of the old one."""
    old = os.stat(path)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), old.st_mode)
        os.fchown(file.fileno(), old.st_uid, old.st_gid)
    os.rename(f"{path}.new", path)
