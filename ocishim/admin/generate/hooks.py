"""The hooks of a generated spec: which there are, which are wanted, how they are written."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ocishim.admin.generate.edits import Edits
from ocishim.errors import UsageError
from ocishim.oci import hooktable

HOOKS = tuple(name for name, row in hooktable.HOOKS.items() if row.generated != hooktable.NEVER)
OFF_BY_DEFAULT = tuple(name for name in HOOKS if hooktable.HOOKS[name].generated == hooktable.ASKED)
DEFAULT_HOOKS = tuple(name for name in HOOKS if name not in OFF_BY_DEFAULT)


@dataclass(frozen=True)
class Hooks:
    """path: the hook program. wanted: names of HOOKS. ldconfig: for update-ldcache, or ""."""

    path: str = "/usr/local/bin/pyshim-hook"
    wanted: tuple[str, ...] = DEFAULT_HOOKS
    ldconfig: str = ""

    def add(self, edits: Edits, name: str, *flags: str) -> None:
        """Add the createContainer hook `name`, if it is wanted."""
        if name not in self.wanted:
            return
        program = os.path.basename(self.path)
        words = [program, "hook"] if program == "nvidia-ctk" else [program]
        hook = {
            "hookName": "createContainer",
            "path": self.path,
            "args": [*words, name, *flags],
            "env": ["NVIDIA_CTK_DEBUG=false"],
        }
        edits.add("hooks", hook)

    def add_links(self, edits: Edits, links: list[tuple[str, str]]) -> None:
        """Add create-symlinks for links of (target, path), if there are any."""
        words = [word for target, path in links for word in ("--link", f"{target}::{path}")]
        if words:
            self.add(edits, "create-symlinks", *words)

    def add_ldcache(self, edits: Edits, folders: list[str]) -> None:
        """Add update-ldcache for the folders."""
        program = ["--ldconfig-path", self.ldconfig] if self.ldconfig else []
        words = [word for folder in sorted(set(folders)) for word in ("--folder", folder)]
        self.add(edits, "update-ldcache", *program, *words)


def choose(disabled: tuple[str, ...], enabled: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hooks to write; enabling wins over disabling, `all` disables every one.

    Raises UsageError for a name that is no hook.
    """
    for name in (*disabled, *enabled):
        if name not in HOOKS and not (name == "all" and name in disabled):
            raise UsageError(f"unknown hook {name!r}", hint=f"one of {', '.join(HOOKS)}")
    off = set(HOOKS) if "all" in disabled else {*disabled, *OFF_BY_DEFAULT}
    return tuple(hook for hook in HOOKS if hook not in off or hook in enabled)
