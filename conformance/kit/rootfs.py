"""Root file systems for CDI hooks, and the hooks' entries in config.json.

Leaves running them to lab.py.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from kit.case import Skip

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

FOLDER = "/opt/acme/lib"


def hook(lab: Lab, name: str, *flags: str, **more: Any) -> dict[str, Any]:
    """Return the entry of a CDI hook, as nvidia-ctk cdi generate writes it."""
    if not lab.setting.hook:
        raise Skip("needs --hook, the program of the CDI hooks")
    program = os.path.basename(lab.setting.hook)
    return {
        "path": lab.setting.hook,
        "args": [program, name, *flags],
        "env": ["NVIDIA_CTK_DEBUG=false"],
        **more,
    }


def with_hooks(lab: Lab, script: str, *hooks: dict[str, Any], **how: Any) -> Bundle:
    """Return a bundle with these createContainer hooks."""
    return lab.bundle(script, hooks={"createContainer": list(hooks)}, **how)


LIBRARY = "libq.so.6"


def library(path: str) -> str:
    """Copy one of this machine's shared libraries to `path`; return its own name.

    By another SONAME than libc.so.6: an image's C library may be the runtime's to protect.
    """
    with open("/proc/self/maps", encoding="utf-8") as maps:
        text = maps.read()
    found = re.search(r"(/\S+/libc\.so\.6)$", text, re.MULTILINE)
    if found is None:
        raise Skip("needs a machine with glibc, for a shared library")
    os.makedirs(path, exist_ok=True)
    with open(found.group(1), "rb") as file, open(f"{path}/{LIBRARY}", "wb") as copy:
        copy.write(file.read().replace(b"libc.so.6\0", f"{LIBRARY}\0".encode()))
    return LIBRARY


def ordinary(bundle: Bundle) -> None:
    """Make the rootfs a distribution's, as far as ldconfig is concerned."""
    root = bundle.rootfs
    for folder in ("etc/ld.so.conf.d", "usr/lib", "lib", "run", "var", "sbin"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    put(f"{root}/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
    put(f"{root}/etc/debian_version", "12\n")


def bare(bundle: Bundle) -> None:
    """Leave the rootfs as it is: busybox, and an empty /etc."""


def musl(bundle: Bundle) -> None:
    """Make the rootfs look like Alpine's."""
    os.makedirs(f"{bundle.rootfs}/lib", exist_ok=True)
    put(f"{bundle.rootfs}/etc/alpine-release", "3.20.0\n")
    put(f"{bundle.rootfs}/lib/ld-musl-x86_64.so.1", "")


def put(path: str, text: str) -> None:
    """Write a file, and the folders it needs."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


ROOTS = {"ordinary": ordinary, "bare": bare, "musl": musl}
