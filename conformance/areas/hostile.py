"""Hostile images: whatever lies in a rootfs, a hook harms nothing outside of it, and ends."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from kit.case import area, check
from kit.outside import look, outside, untouched
from kit.rootfs import FOLDER, hook, library, ordinary, put, with_hooks

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

case = area("hostile")


def attack(lab: Lab, bundle: Bundle) -> None:
    """Create, start and delete; check that the outside is as it was and that it took no age."""
    path = f"{lab.dir}/outside"
    before = look(path)
    started = time.monotonic()
    done = lab.create(bundle, timeout=lab.setting.patience)
    if done.status == 0:
        lab.call("start", lab.id, timeout=lab.setting.patience)
    lab.call("delete", "--force", lab.id, timeout=lab.setting.patience)
    check(time.monotonic() - started < lab.setting.patience, "it took too long")
    untouched(path, before)


def _replace(bundle: Bundle, place: str, target: str) -> None:
    path = f"{bundle.rootfs}/{place}"
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, f"{path}.old")
    elif os.path.lexists(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


UP = "../" * 40
TARGETS = {
    "absolute": "{out}",
    "relative": UP + "{out}",
    "magic": "/proc/self/root{out}",
    "chain": "/chain0",
}


def _target(bundle: Bundle, kind: str, out: str) -> str:
    for number in range(8):
        _replace(bundle, f"chain{number}", f"/chain{number + 1}" if number < 7 else out)
    return TARGETS[kind].format(out=out)


@case(
    "symlinks-parent",
    "T3: the link's folder is a link out of the root",
    "CVE-2024-0134",
    {kind: kind for kind in TARGETS},
)
def symlinks_parent(lab: Lab, kind: str) -> None:
    out = outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "create-symlinks", "--link", "x::/lib/foo/link"))
    _replace(bundle, "lib/foo", _target(bundle, kind, out))
    attack(lab, bundle)


@case(
    "symlinks-oracle",
    "a link of the host that looks like the one asked for is not the container's",
    "CVE-2026-24260",
    {kind: kind for kind in ("absolute", "relative")},
)
def symlinks_oracle(lab: Lab, kind: str) -> None:
    """Either create fails, or the container has the link."""
    out = outside(lab)
    bundle = with_hooks(
        lab,
        "readlink /lib/foo/present; true",
        hook(lab, "create-symlinks", "--link", "x::/lib/foo/present"),
    )
    os.mkdir(f"{bundle.rootfs}/lib")
    os.symlink(TARGETS[kind].format(out=out), f"{bundle.rootfs}/lib/foo")
    before = look(out)
    done = lab.run(bundle, timeout=lab.setting.patience)
    check(done.status != 0 or done.out == "x\n", f"success, and no link: {done}")
    untouched(out, before)


@case(
    "symlinks-up",
    "T3: LINK goes up and up",
    "CVE-2024-0134",
    {
        "relative": "../../../../../../..{out}/new",
        "absolute": "/../../../..{out}/new",
        "inside": "/opt/../../../../..{out}/new",
    },
)
def symlinks_up(lab: Lab, link: str) -> None:
    out = outside(lab)
    entry = hook(lab, "create-symlinks", "--link", "x::" + link.format(out=out))
    attack(lab, with_hooks(lab, "true", entry))


@case(
    "symlinks-final",
    "T3: the link's own name leads outside",
    "CVE-2024-0134",
    {"file": "{out}/file", "folder": "{out}", "new": "{out}/new"},
)
def symlinks_final(lab: Lab, target: str) -> None:
    out = outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "create-symlinks", "--link", "x::/opt/link"))
    _replace(bundle, "opt/link", target.format(out=out))
    attack(lab, bundle)


PLACES = (
    "etc",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/ld.so.cache",
    "run",
    "tmp",
    "proc",
    "opt",
    "opt/acme/lib",
    "usr",
    "var",
    "var/cache/ldconfig",
)


@case(
    "ldcache-link",
    "T7: what update-ldcache writes to is a link out of the root",
    "CVE-2025-23267, CVE-2024-0133",
    {f"{place} {kind}": (place, kind) for place in PLACES for kind in ("absolute", "relative")},
)
def ldcache_link(lab: Lab, what: tuple[str, str]) -> None:
    place, kind = what
    out = outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    target = f"{out}/file" if place.endswith(("conf", "cache")) else out
    _replace(bundle, place, TARGETS[kind].format(out=target))
    attack(lab, bundle)


def _fifo(path: str) -> None:
    os.mkfifo(path)


def _zero(path: str) -> None:
    os.symlink("/dev/zero", path)


def _node(path: str) -> None:
    os.mknod(path, 0o20666, os.makedev(1, 5))


def _huge(path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def _self(path: str) -> None:
    put(path, f"include {path.partition('rootfs')[2]}\n" * 50)


def _bomb(path: str) -> None:
    folder = os.path.dirname(path) + "/bomb"
    os.mkdir(folder)
    for number in range(40):
        put(f"{folder}/{number}.conf", "include /etc/bomb/*.conf\n" * 4)
    put(path, "include /etc/bomb/*.conf\n")


def _folder(path: str) -> None:
    os.mkdir(path)


def _many(path: str) -> None:
    put(path, "".join(f"/opt/acme/lib/{number}\n" for number in range(200_000)))


TRAPS = {
    "FIFO": _fifo,
    "link to zero": _zero,
    "zero": _node,
    "sparse": _huge,
    "includes itself": _self,
    "include bomb": _bomb,
    "folder": _folder,
    "long": _many,
}


@case(
    "ldcache-trap",
    "T8: a file that has no end must not keep create from ending",
    "CVE-2025-23267; nvidia-container-toolkit, found: a FIFO hangs runc create",
    {f"{name} {label}": (name, make) for name in ("ld.so.conf",) for label, make in TRAPS.items()}
    | {
        f"{name} {label}": (name, TRAPS[label])
        for name in ("ld.so.cache", "ld.so.conf.d/a.conf")
        for label in ("FIFO", "link to zero", "sparse")
    },
)
def ldcache_trap(lab: Lab, what: tuple[str, Any]) -> None:
    name, make = what
    outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    path = f"{bundle.rootfs}/etc/{name}"
    if os.path.exists(path):
        os.unlink(path)
    make(path)
    attack(lab, bundle)


@case(
    "library-trap",
    "T8: so must a library that is none",
    "CVE-2025-23267",
    {label: TRAPS[label] for label in ("FIFO", "link to zero", "zero", "sparse", "folder")},
)
def library_trap(lab: Lab, make: Any) -> None:
    outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    make(f"{bundle.rootfs}{FOLDER}/libtrap.so.1")
    attack(lab, bundle)


PROGRAMS = (
    "sbin/ldconfig",
    "sbin/ldconfig.real",
    "usr/sbin/ldconfig",
    "bin/ldconfig",
    "lib64/ld-linux-x86-64.so.2",
    "etc/ld.so.preload",
)


@case(
    "image-program",
    "T5: nothing of the image is executed, whatever it is called",
    "CVE-2024-0136, CVE-2024-0137",
    {name: name for name in PROGRAMS},
)
def image_program(lab: Lab, name: str) -> None:
    out = outside(lab)
    bundle = with_hooks(
        lab, "ls /ran 2>/dev/null; true", hook(lab, "update-ldcache", "--folder", FOLDER)
    )
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    if name == "etc/ld.so.preload":
        put(f"{bundle.rootfs}/{name}", f"{FOLDER}/libevil.so\n")
    else:
        put(f"{bundle.rootfs}/{name}", f"#!/bin/sh\n/bin/touch /ran {out}/ran\n")
        os.chmod(f"{bundle.rootfs}/{name}", 0o755)
    before = look(out)
    done = lab.run(bundle, timeout=lab.setting.patience)
    check("/ran" not in done.out and not os.path.exists(f"{bundle.rootfs}/ran"), "it was executed")
    untouched(out, before)


@case(
    "chmod-link",
    "T9: chmod through a link changes the host's mode",
    "nvidia-container-toolkit v1.20.0 chmod, found",
    {"absolute": "{out}", "relative": UP + "{out}", "file": "{out}/file"},
)
def chmod_link(lab: Lab, target: str) -> None:
    out = outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "chmod", "--mode", "777", "--path", "/opt/x"))
    _replace(bundle, "opt/x", target.format(out=out))
    attack(lab, bundle)


@case(
    "chmod-up",
    "T9: as does a path that goes up",
    "nvidia-container-toolkit v1.20.0 chmod, found",
    {"relative": "../../../../../..{out}", "inside": "/opt/../../../../../..{out}/file"},
)
def chmod_up(lab: Lab, path: str) -> None:
    out = outside(lab)
    entry = hook(lab, "chmod", "--mode", "777", "--path", path.format(out=out))
    attack(lab, with_hooks(lab, "true", entry))


@case(
    "compat-link",
    "T1: the compat folder, or what is written for it, leads outside",
    "CVE-2024-0132, CVE-2025-23359",
    {
        place: place
        for place in ("usr/local/cuda/compat", "usr/local/cuda", "etc", "etc/ld.so.conf.d")
    },
)
def compat_link(lab: Lab, place: str) -> None:
    out = outside(lab)
    library(out)
    os.rename(f"{out}/libq.so.6", f"{out}/libcuda.so.575.57.08")
    bundle = with_hooks(
        lab, "true", hook(lab, "enable-cuda-compat", "--host-driver-version", "570.10")
    )
    ordinary(bundle)
    compat = f"{bundle.rootfs}/usr/local/cuda/compat"
    library(compat)
    os.rename(f"{compat}/libq.so.6", f"{compat}/libcuda.so.575.57.08")
    _replace(bundle, place, out)
    attack(lab, bundle)


@case(
    "profile-link",
    "T2: the profile's folder leads outside",
    "CVE-2024-0133",
    {
        place: place
        for place in ("etc", "etc/nvidia", "etc/nvidia/nvidia-application-profiles-rc.d")
    },
)
def profile_link(lab: Lab, place: str) -> None:
    out = outside(lab)
    bundle = with_hooks(lab, "true", hook(lab, "update-application-profile"))
    ordinary(bundle)
    spec = bundle.spec
    spec["linux"]["devices"] = [
        {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0, "fileMode": 0o666}
    ]
    bundle.write(spec)
    _replace(bundle, place, out)
    attack(lab, bundle)


@case(
    "environment",
    "T6: the image's environment is not a hook's",
    "CVE-2025-23266",
    {"LD_PRELOAD": "LD_PRELOAD", "LD_AUDIT": "LD_AUDIT", "PYTHONPATH": "PYTHONPATH"},
)
def environment(lab: Lab, name: str) -> None:
    """A vendor's hook that gives no env, in a container whose image sets one."""
    script = f"{lab.busybox} env > {lab.out}/seen; {lab.busybox} true"
    entry = {"path": lab.busybox, "args": ["sh", "-c", script]}
    bundle = lab.bundle("true", hooks={"createContainer": [entry]})
    spec = bundle.spec
    spec["process"]["env"].append(f"{name}=/proc/self/cwd/poc.so")
    bundle.write(spec)
    lab.creates(bundle)
    check("poc.so" not in lab.read(f"{lab.out}/seen"), f"the hook has the image's {name}")
