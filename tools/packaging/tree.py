"""The files that every package holds, by path, before anything is written."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ocishim.admin.config.settings import default_text
from ocishim.admin.install import units
from tools.packaging import manual
from tools.packaging.project import EPOCH, ROOT

CONFIG = "etc/pyshim/config.toml"
DOC = "usr/share/doc/pyshim"
_COMPLETIONS = {
    "bash": "bash-completion/completions/pyshimctl",
    "zsh": "zsh/vendor-completions/_pyshimctl",
    "fish": "fish/vendor_completions.d/pyshimctl.fish",
}


class File(NamedTuple):
    """One file, or a symbolic link where `mode` is 0."""

    data: bytes
    mode: int = 0o644


Tree = dict[str, File]


def tree(program: Path) -> Tree:
    """Return the files of the static file `program`, by paths below /."""
    return {
        **programs(program),
        CONFIG: File(default_text().encode()),
        **_man(),
        **_completions(),
        **_units(),
        **documents(program),
    }


def programs(program: Path) -> Tree:
    """Return the three programs."""
    return {
        "usr/bin/pyshim": File(program.read_bytes(), 0o755),
        "usr/bin/pyshim-hook": File(b"pyshim", 0),
        "usr/bin/pyshimctl": File(b"pyshim", 0),
    }


def documents(program: Path) -> Tree:
    """Return what is there to read, with the licences and the list of what is in the file."""
    names = ["README.md", "LICENSE", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
    return {
        **{f"{DOC}/{name}": File((ROOT / name).read_bytes()) for name in names},
        f"{DOC}/changelog.gz": File(packed((ROOT / "CHANGELOG.md").read_bytes())),
        f"{DOC}/licenses.gz": File(packed(Path(f"{program}.licenses").read_bytes())),
        f"{DOC}/pyshim.spdx.json": File(Path(f"{program}.spdx.json").read_bytes()),
    }


def _man() -> Tree:
    return {
        f"usr/share/man/man{name[-1]}/{name}.gz": File(packed(manual.roff(make())))
        for name, make in manual.PAGES.items()
    }


def _completions() -> Tree:
    return {
        f"usr/share/{path}": File(_pyshimctl("completion", shell))
        for shell, path in _COMPLETIONS.items()
    }


def _units() -> Tree:
    """Return what keeps a CDI spec fresh; nothing of it is enabled, and so nothing of it acts."""
    places = {**dict.fromkeys(units.UNITS, "systemd/system"), units.RULE: "udev/rules.d"}
    return {
        f"usr/lib/{place}/{name}": File(
            (ROOT / "deploy" / name).read_bytes().replace(b"/usr/local/bin", b"/usr/bin")
        )
        for name, place in places.items()
    }


def _pyshimctl(*words: str) -> bytes:
    command = [sys.executable, "-m", "ocishim.admin", *words]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


def packed(data: bytes) -> bytes:
    """Return gzipped data, the same at any time."""
    return gzip.compress(data, 9, mtime=0)


def write(files: Tree, folder: Path) -> None:
    """Write the files into `folder`, which is made; all of it bears the time EPOCH."""
    for path, file in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.mode:
            place.write_bytes(file.data)
            place.chmod(file.mode)
        else:
            place.symlink_to(os.fsdecode(file.data))
    for where, _, names in os.walk(folder):
        for name in (*names, "."):
            os.utime(f"{where}/{name}", (EPOCH, EPOCH), follow_symlinks=False)
