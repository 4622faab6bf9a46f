"""The newest crun that Debian has (sid's), run with its own libraries on an older node.

From 1.26 on crun makes bind mounts read-only only after createContainer hooks have run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.lab.runtime import CRUN

REPOSITORY = Path(__file__).resolve().parents[2]
_FOLDER = REPOSITORY / "build/crun-sid"
_PLACE = "/mnt"  # in the mount namespace that the program has for itself
_LOADER = b"/lib64/ld-linux-x86-64.so.2"


def program(folder: Path) -> Path | None:
    """Write a program called `crun` into `folder`; None where it cannot be fetched."""
    crun = _fetched()
    if crun is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    libraries = folder / "libraries"
    libraries.mkdir(exist_ok=True)
    for path in sorted((_FOLDER / "unpacked").rglob("*.so*")):
        if path.is_file():
            shutil.copy(path, libraries / path.name)  # an ordinary user may not enter the clone
    own = folder / "crun.bin"
    own.write_bytes(_with_loader(crun.read_bytes()))
    own.chmod(0o755)
    wrapper = folder / "crun"
    mounts = f"mount --bind {libraries} {_PLACE}; export LD_LIBRARY_PATH={_PLACE};"
    wrapper.write_text(CRUN.format(crun=own, mounts=mounts))
    wrapper.chmod(0o755)
    return wrapper


def _with_loader(data: bytes) -> bytes:
    """The program with another path of its loader, no longer than what it has."""
    loader = f"{_PLACE}/{Path(os.fsdecode(_LOADER)).name}".encode()
    assert data.count(_LOADER) == 1
    return data.replace(_LOADER, loader + bytes(len(_LOADER) - len(loader)))


def _fetched() -> Path | None:
    command = [str(REPOSITORY / "tools/backports.sh"), str(_FOLDER), "usr/bin/crun", "crun"]
    environment = {**os.environ, "SUITE": "sid", "LIBRARIES": "yes"}
    done = subprocess.run(  # what is wrong is said on stderr
        command, stdout=subprocess.PIPE, text=True, check=False, env=environment, timeout=600
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None
