"""A wheel with the static file inside, as ruff's and uv's: `pip install` gives the three commands.

A wheel holds no links, so that two of the commands are scripts that start the third. It holds no
Python: `import ocishim` is for the wheel that the source distribution builds.
"""

from __future__ import annotations

import base64
import hashlib
import time
import zipfile
from pathlib import Path

from tools.packaging.project import AUTHOR, EPOCH, KEYWORDS, ROOT, SUMMARY, VERSION
from tools.packaging.tree import DOC, File, Tree

# A shell costs one millisecond; a script of Python's would take as long as a whole hook. A link to
# it (pipx, `uv tool`) need not have pyshim beside it.
_SCRIPT = """\
#!/bin/sh
self=$0
[ ! -h "$self" ] || self=$(readlink -f "$self")
exec "${{self%/*}}/pyshim" --as {name} "$@"
"""
_INFO = f"pyshim-{VERSION}.dist-info"


def build(files: Tree, arch: str, licence: str, out: Path) -> None:
    """Write the wheel into `out`. arch: as the platform's tag has it."""
    tag = f"py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}"
    content = {
        **_scripts(files),
        f"{_INFO}/licenses/LICENSE": files[f"{DOC}/LICENSE"],
        f"{_INFO}/licenses/licenses.gz": files[f"{DOC}/licenses.gz"],
        f"{_INFO}/sboms/pyshim.spdx.json": files[f"{DOC}/pyshim.spdx.json"],
        f"{_INFO}/METADATA": File(metadata(licence)),
        f"{_INFO}/WHEEL": File(_wheel(tag)),
    }
    record = "".join(f"{path},{_digest(file.data)}\n" for path, file in content.items())
    content[f"{_INFO}/RECORD"] = File(f"{record}{_INFO}/RECORD,,\n".encode())
    with zipfile.ZipFile(out / f"pyshim-{VERSION}-{tag}.whl", "w") as archive:
        for path, file in content.items():
            entry = zipfile.ZipInfo(path, time.gmtime(EPOCH)[:6])
            entry.external_attr = (0o100000 | file.mode) << 16
            archive.writestr(entry, file.data, zipfile.ZIP_DEFLATED, 9)


def _scripts(files: Tree) -> Tree:
    folder = f"pyshim-{VERSION}.data/scripts"
    made = {
        f"{folder}/{name}": File(_SCRIPT.format(name=name).encode(), 0o755)
        for name in ("pyshim-hook", "pyshimctl")
    }
    return {f"{folder}/pyshim": files["usr/bin/pyshim"], **made}


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(data)}"


def metadata(licence: str) -> bytes:
    """Return METADATA: each field on one line, the text as it is (core metadata specification)."""
    fields = (
        ("Metadata-Version", "2.4"),
        ("Name", "pyshim"),
        ("Version", VERSION),
        ("Summary", SUMMARY),
        ("Author", AUTHOR),
        ("Keywords", ",".join(KEYWORDS)),
        ("License-Expression", licence),
        ("License-File", "LICENSE"),
        ("License-File", "licenses.gz"),
        ("Description-Content-Type", "text/markdown"),
    )
    head = "".join(f"{name}: {value}\n" for name, value in fields)
    return f"{head}\n".encode() + (ROOT / "README.md").read_bytes()


def _wheel(tag: str) -> bytes:
    names, abi, platforms = tag.split("-")
    lines = [f"Tag: {names}-{abi}-{platform}" for platform in platforms.split(".")]
    head = ["Wheel-Version: 1.0", "Generator: pyshim", "Root-Is-Purelib: false"]
    return "\n".join([*head, *lines, ""]).encode()
