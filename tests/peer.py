"""What nvidia-ctk v1.20.0 prints, kept in tests/data/nvidia-ctk; where `make peers` built it, asked.

RECORD=yes writes the files anew.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import DATA

PROGRAM = Path(__file__).parents[1] / "peers/nvidia-ctk"
_ROOT = "@ROOT@"


def spec(name: str, root: Path, *argv: str) -> dict[str, Any]:
    """Return the CDI spec that `nvidia-ctk ARGV` prints about files below `root`.

    name: of the file that keeps it.
    """
    file = DATA / "nvidia-ctk" / f"{name}.yaml"
    if PROGRAM.exists():
        scratch = root / "scratch"  # where `transform root` reads every spec that it finds
        scratch.mkdir()
        done = subprocess.run(
            [str(PROGRAM), *argv],
            capture_output=True, text=True, check=True, env={"TMPDIR": str(scratch)},
        )  # fmt: skip
        printed = done.stdout.replace(str(root), _ROOT)
        if os.environ.get("RECORD") == "yes":
            file.parent.mkdir(exist_ok=True)
            file.write_text(printed)
        assert printed == file.read_text()
    found: dict[str, Any] = yaml.safe_load(file.read_text().replace(_ROOT, str(root)))
    return found
