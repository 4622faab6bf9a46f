"""Packages of static files.

Usage: python -m tools.packaging OUT FILE...

FILE: what `make binary` made, for any processor, with FILE.licenses and FILE.spdx.json beside it.
OUT gets SHA256SUMS of all that is in it. The same files and tools give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.packaging import deb, project, rpm, wheel
from tools.packaging.tree import CONFIG, Tree, tree, write

_MACHINES = {62: ("amd64", "x86_64"), 183: ("arm64", "aarch64")}
"""Of elf(5)'s e_machine: the names that Debian and Go have, and those of RPM and wheels."""


def machine(program: Path) -> tuple[str, str]:
    """Return the two names of a program's processor."""
    with program.open("rb") as file:
        head = file.read(20)
    number = int.from_bytes(head[18:20], "little")
    if head[:4] != b"\x7fELF" or number not in _MACHINES:
        raise SystemExit(f"packages: {program}: not a program for amd64 or arm64")
    return _MACHINES[number]


def tarball(files: Tree, arch: str, work: Path, out: Path) -> None:
    """Write pyshim-VERSION-linux-ARCH.tar.gz: what goes below a prefix."""
    name = f"pyshim-{project.VERSION}-linux-{arch}"
    # A unit names the program's path, which depends on the prefix: pyshimctl install --refresh.
    kept = [path for path in files if path != CONFIG and not path.startswith("usr/lib/")]
    below = {path.removeprefix("usr/"): files[path] for path in kept}
    write(below, work / name)
    words = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-c", name]
    with (out / f"{name}.tar.gz").open("wb") as file:
        tar = subprocess.Popen(["tar", "-C", work, *words], stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-9n"], stdin=tar.stdout, stdout=file, check=True)
    if tar.wait():
        raise SystemExit("packages: tar failed")


def main(out: Path, programs: list[Path]) -> None:
    """Pack every program in every form."""
    os.umask(0o022)  # whoever builds: folders bear the modes that they are made with
    out.mkdir(parents=True, exist_ok=True)
    for program in programs:
        debian, other = machine(program)
        files = tree(program)
        licence = project.licence(Path(f"{program}.spdx.json"))
        with tempfile.TemporaryDirectory(prefix="pyshim-packages-") as name:
            work = Path(name)
            deb.build(files, debian, licence, work / "deb", out)
            rpm.build(files, other, licence, work / "rpm", out)
            tarball(files, debian, work / "tar", out)
        wheel.build(files, other, licence, out)
    made = [path for path in sorted(out.iterdir()) if path.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (out / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
