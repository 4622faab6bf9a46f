"""Bundles: a folder with config.json and a rootfs, as `runc spec` makes them but for tests.

No terminal and no cgroup mount or namespace, so that the same bundle runs under crun without
cgroups. Leaves the rootfs to rootfs.py and running to shim.py.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Spec = dict[str, Any]

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE"]
_MOUNTS: tuple[tuple[str, str, list[str]], ...] = (
    ("/proc", "proc", []),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
)
# Host ids that own nothing: what root owns alone, the container's root cannot read.
_ID_MAPPING = [{"containerID": 0, "hostID": 200000, "size": 65536}]


def make_spec(
    args: Sequence[str],
    *,
    root: str = "rootfs",
    readonly: bool = False,
    annotations: Mapping[str, str] | None = None,
    user_namespace: bool = False,
    **sections: object,
) -> Spec:
    """Return an OCI spec that runs `args`; `sections` replace whole top-level properties."""
    spec: Spec = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": [_PATH, "TERM=dumb"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": readonly},
        "hostname": "pyshim",
        "mounts": [
            {"destination": destination, "type": kind, "source": kind, "options": options}
            for destination, kind, options in _MOUNTS
        ],
        "annotations": dict(annotations or {}),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        },
    }
    if user_namespace:
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = _ID_MAPPING
    spec.update(sections)
    return spec


class Bundle:
    """A folder with config.json; `spec` reads it anew each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rootfs = path / "rootfs"
        self.config = path / "config.json"
        path.mkdir(parents=True, exist_ok=True)

    @property
    def spec(self) -> Spec:
        """The OCI spec as it lies there now."""
        spec: Spec = json.loads(self.config.read_bytes())
        return spec

    def write(self, spec: Spec) -> None:
        """Put `spec` there as engines do: one line, no indentation."""
        self.config.write_text(json.dumps(spec, separators=(",", ":")))

    def give_to(self, owner: int) -> None:
        """Make `owner` the owner of the bundle and let it come there, as engines do."""
        for parent in self.path.parents[:-2]:
            parent.chmod(parent.stat().st_mode | 0o111)
        for folder, folders, files in os.walk(self.path):
            for name in (".", *folders, *files):
                os.chown(os.path.join(folder, name), owner, owner, follow_symlinks=False)


def without_identity(config: bytes) -> bytes:
    """Return config.json without the number of the rootfs its hooks are for: a layer's is new."""
    return re.sub(rb'"--rootfs-id","[0-9:]+"', b"", config)
