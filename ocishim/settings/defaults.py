"""Every setting there is, with the value it has when nobody wrote it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/etc/pyshim/config.toml"

DEFAULTS: dict[str, Any] = {
    "runtimes": ["runc", "crun"],
    "cdi.spec_dirs": ["/etc/cdi", "/var/run/cdi"],
    "cdi.annotation_prefixes": ["cdi.k8s.io/"],
    "cdi.stale": "auto",
    "hooks.executor": "auto",
    "hooks.native": True,
    "hooks.readonly_rootfs": "skip",
    "hooks.timeout": 10,
    "requests.env": [],
    "requests.volume_mounts": False,
    "requests.podman_annotations": False,
    "log.file": "",
    "log.level": "info",
    "log.format": "text",
    "log.metrics": "",
}
"""By the dotted key; the type of a value is the type that the setting takes."""
