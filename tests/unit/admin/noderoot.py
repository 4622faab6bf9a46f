"""A node in a temporary folder: its files, programs and settings, and `pyshimctl` called on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocishim.admin.cli import main


class NodeRoot:
    """What every made-up node has. `@` is the folder, in what is called and what is shown."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str = "") -> Path:
        """Write a file by its path on the node, with the folders above it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def process(self, number: int, root: Path | None = None, **files: str) -> None:
        """Make a process with these files in /proc; root: another one than the node's."""
        for name, text in files.items():
            self.write(f"/proc/{number}/{name}", text)
        (self.root / f"proc/{number}/root").symlink_to(root or self.root)

    def program(self, path: str, script: str = "") -> Path:
        """Write a shell script that can be called."""
        file = self.write(path, f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def tells(self, path: str, text: str) -> Path:
        """Write a program that prints this, whatever it is asked: an engine's version."""
        return self.program(path, f"echo '{text}'")

    def settings(self, *lines: str, spec_dirs: list[str]) -> Path:
        """Write config.toml: lines, then where CDI specs are."""
        return self.write(
            "config.toml", "\n".join((*lines, "[cdi]", f"spec_dirs = {json.dumps(spec_dirs)}", ""))
        )

    def be_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process take its settings and its cache from here."""
        monkeypatch.setenv("PYSHIM_CONFIG", str(self.root / "config.toml"))
        monkeypatch.setenv("PYSHIM_CACHE_DIR", str(self.root / "cache"))

    def bundle(self, config: object, name: str = "bundle", rootfs: str = "rootfs") -> str:
        """Make a bundle whose config.json this is; its path."""
        (self.root / name / rootfs).mkdir(parents=True)
        self.write(f"{name}/config.json", json.dumps(config))
        return str(self.root / name)

    def run(self, *words: str) -> Result:
        """Call pyshimctl."""
        return CliRunner().invoke(main, [word.replace("@", str(self.root)) for word in words])

    def on_host_root(self, *words: str) -> Result:
        """Call pyshimctl for the machine whose tree this is."""
        return CliRunner().invoke(main, [*words, "--host-root", str(self.root)])

    def shown(self, text: str) -> str:
        """Return `text` without the folder's name."""
        return text.replace(str(self.root), "@")
