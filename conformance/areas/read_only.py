"""Root file systems that cannot be written: root.readonly, read-only mounts, EROFS, squashfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from kit.case import PEER, SPEC, Skip, area, check, equal
from kit.isolate import MS_BIND, MS_RDONLY, MS_REMOUNT, mount
from kit.rootfs import FOLDER, hook, library, ordinary, with_hooks

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

case = area("read-only")
STARTS = PEER + "2.2, 2.3 a; nvidia-container-toolkit issue 2026: whole nodes broken"


def flag(bundle: Bundle) -> None:
    """root.readonly alone: the file system could be written to."""
    spec = bundle.spec
    spec["root"]["readonly"] = True
    bundle.write(spec)


def bind(bundle: Bundle) -> None:
    """A read-only bind mount."""
    mount(bundle.rootfs, bundle.rootfs, "", MS_BIND)
    mount("", bundle.rootfs, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def _image(bundle: Bundle, kind: str, *command: str) -> None:
    with open("/proc/filesystems", encoding="utf-8") as file:
        if f"\t{kind}\n" not in file.read() or not shutil.which(command[0]):
            raise Skip(f"needs {command[0]} and a kernel with {kind}")
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(
        ["mount", "-t", kind, "-o", "loop,ro", f"{bundle.path}/../image", bundle.rootfs],
        check=True,
        capture_output=True,
    )


def erofs(bundle: Bundle) -> None:
    """An EROFS image."""
    _image(bundle, "erofs", "mkfs.erofs", f"{bundle.path}/../image", bundle.rootfs)


def squashfs(bundle: Bundle) -> None:
    """A squashfs image."""
    _image(
        bundle,
        "squashfs",
        "mksquashfs",
        bundle.rootfs,
        f"{bundle.path}/../image",
        "-quiet",
        "-no-progress",
    )


KINDS = {"root.readonly": flag, "read-only bind": bind, "EROFS": erofs, "squashfs": squashfs}
HOOKS = {
    "create-symlinks": ("--link", "tmp::/opt/acme/link"),
    "update-ldcache": ("--folder", FOLDER),
    "enable-cuda-compat": ("--host-driver-version", "570.10"),
    "update-application-profile": (),
    "chmod": ("--mode", "711", "--path", "/opt/acme"),
}


def build(lab: Lab, script: str, make: Any, *names: str) -> Bundle:
    """Return a bundle with these hooks whose rootfs is read-only."""
    hooks = [hook(lab, name, *HOOKS[name]) for name in names]
    bundle = with_hooks(lab, script, *hooks)
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    compat = f"{bundle.rootfs}/usr/local/cuda/compat"
    library(compat)
    os.rename(f"{compat}/libq.so.6", f"{compat}/libcuda.so.575.57.08")
    spec = bundle.spec
    spec["linux"]["devices"] = [
        {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0, "fileMode": 0o666}
    ]
    spec["process"]["env"].append("DEVICE=yes")
    bundle.write(spec)
    make(bundle)
    return bundle


@case(
    "starts",
    "a hook that cannot write must not keep the container from starting",
    STARTS,
    {f"{kind} {name}": (make, name) for kind, make in KINDS.items() for name in HOOKS},
)
def starts(lab: Lab, what: tuple[Any, str]) -> None:
    bundle = build(lab, "echo $DEVICE; ls /dev/nvidia0", *what)
    equal(lab.runs(bundle).lines, ["yes", "/dev/nvidia0"], "environment and device node")


@case(
    "stays-read-only",
    "readonly: the root filesystem MUST be read-only inside the container",
    SPEC + "config.md Root",
    KINDS,
)
def stays(lab: Lab, make: Any) -> None:
    bundle = build(
        lab,
        "touch /new 2>&1; echo >> /etc/ld.so.conf; ls /new 2>/dev/null; true",
        make,
        "create-symlinks",
        "update-ldcache",
    )
    flag(bundle)
    out = lab.runs(bundle).out
    check("Read-only file system" in out and "\n/new" not in out, out)


@case(
    "silent",
    "stderr is the container's, also when a hook is left out",
    "runtime-tools docs/command-line-interface.md create",
    KINDS,
)
def silent(lab: Lab, make: Any) -> None:
    bundle = build(lab, "true", make, "create-symlinks")
    equal(lab.runs(bundle).err, "", "stderr")


RESULTS = {
    "link": ("create-symlinks", "readlink /opt/acme/link", "tmp"),
    "cache": ("update-ldcache", f"grep -c {FOLDER} /etc/ld.so.cache", "1"),
}


@case(
    "result",
    "what the hook does is there for the container to see, whatever its root is",
    "whoever runs a GPU workload with readOnlyRootFilesystem, or from an EROFS image",
    {
        f"{kind} {label}": (make, *result)
        for kind, make in KINDS.items()
        for label, result in RESULTS.items()
    },
)
def result(lab: Lab, what: tuple[Any, str, str, str]) -> None:
    make, name, script, wanted = what
    equal(lab.runs(build(lab, f"{script} 2>/dev/null; true", make, name)).lines, [wanted], name)
