"""Image archives, as `docker save` writes them: one layer, made from a folder.

For engines that take no folder as a rootfs. Leaves the folder to rootfs.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What Go calls the machines; image configurations carry these names.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(
    path: Path, name: str, tree: Path, command: list[str], entrypoint: list[str] | None = None
) -> None:
    """Write the image `name`, whose files are those of `tree` and which runs `command`."""
    layer = _layer(tree)
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {
                "Entrypoint": entrypoint,
                "Cmd": command,
                "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for member, data in (
            ("layer.tar", layer),
            ("config.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            information = tarfile.TarInfo(member)
            information.size = len(data)
            archive.addfile(information, io.BytesIO(data))


def _layer(tree: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as layer:
        layer.add(tree, ".")
    return data.getvalue()
