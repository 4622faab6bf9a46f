"""A machine below a temporary folder, and `pyshimctl configure` called on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import Result

from ocishim.admin.editing import tomlfile
from tests.unit.admin.noderoot import NodeRoot

PROGRAM = "/usr/local/bin/pyshim"


class Machine(NodeRoot):
    """The tree of a machine that has pyshim installed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.program(PROGRAM)

    @classmethod
    def of(cls, root: Path) -> Machine:
        """Return the machine of a tree that is there."""
        machine = cls.__new__(cls)
        machine.root = root
        return machine

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def toml(self, path: str) -> dict[str, Any]:
        return tomlfile.plain(self.read(path), path)

    def exists(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def call(self, *args: str) -> Result:
        """Call pyshimctl for this machine, which has no engine: `configure` is forced."""
        if args[0] == "configure":
            args = (*args, "--force")
        return self.call_as_is(*args)

    def call_as_is(self, *args: str) -> Result:
        return self.on_host_root(*args)

    def configure(self, *args: str) -> Result:
        result = self.call("configure", *args)
        assert result.exit_code == 0, result.output
        return result

    def files(self) -> dict[str, str]:
        """Every file by its path, links as what they say."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = "/" + str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = path.read_text(errors="replace")
        return found
