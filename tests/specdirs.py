"""Spec dirs for the registry's tests: small specs, written as the test says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OLD = 1_700_000_000_000_000_000


def spec(kind: str, *devices: str, env: str = "") -> str:
    """A spec whose devices set D=<name> and whose own edits set C=<env>."""
    lines = ["cdiVersion: 0.6.0", f"kind: {kind}"]
    if env:
        lines += ["containerEdits:", "  env:", f"  - C={env}"]
    lines += ["devices:"]
    for name in devices:
        lines += [f"- name: '{name}'", "  containerEdits:", "    env:", f"    - D={name}{env}"]
    return "\n".join([*lines, ""])


class SpecDirs:
    """Two spec dirs under `root`, the second of higher priority."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        self.run = root / "run"
        self.etc.mkdir()
        self.run.mkdir()

    @property
    def paths(self) -> list[str]:
        """The spec dirs, as the registry wants them."""
        return [str(self.etc), str(self.run)]

    def write(self, path: str, text: str) -> str:
        """Write `text` to `path` under the root by rename; the whole path."""
        target = self.root / path
        temporary = target.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        os.rename(temporary, target)
        return str(target)
