"""Spec dirs for the registry's tests: small specs, written as the test says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ocishim.cache import Cache
from ocishim.cdi.document import document
from ocishim.cdi.registry import entries, registry, specfile
from ocishim.errors import UnresolvedDeviceError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


class Lab:
    """Spec dirs with a cache; counts what is parsed and takes every file for settled."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dirs = SpecDirs(root)
        self.folder = root / "cache"
        self.cache = Cache(str(self.folder))
        self.parsed: list[str] = []
        parse = document.load

        def counted(data: bytes, path: str) -> dict[str, object]:
            self.parsed.append(os.path.basename(path))
            return parse(data, path)

        monkeypatch.setattr(document, "load", counted)
        # Python may make a __pycache__ in the package's folder at any time.
        monkeypatch.setattr(entries, "_READERS", ["/"])
        monkeypatch.setattr(specfile, "is_settled", lambda _changed, _now: True)

    def load(self) -> registry.Registry:
        self.parsed.clear()
        return registry.load(self.dirs.paths, self.cache)

    def values(self, name: str = "acme.com/gpu=0") -> list[str]:
        """The D=... of a device; [] if it cannot be resolved."""
        return values(self.load(), name)

    def entries(self, prefix: str) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.startswith(prefix))


def values(loaded: registry.Registry, name: str = "acme.com/gpu=0") -> list[str]:
    try:
        env: list[str] = loaded.resolve([name])[0].edits["env"]
    except UnresolvedDeviceError:
        return []
    return env
