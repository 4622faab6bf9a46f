"""Hostile images with a volume in reach: nothing of it is read for the image, or written."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING, Any

from kit.case import check
from kit.outside import look, outside, untouched
from kit.rootfs import FOLDER, LIBRARY, hook, library, musl, ordinary, put, with_hooks

from areas.hostile import attack, case

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

MUSL_PATH = f"/etc/ld-musl-{platform.machine()}.path"


def _volume(bundle: Bundle, source: str, destination: str, option: str = "rw") -> None:
    spec = bundle.spec
    spec["mounts"].append(
        {"destination": destination, "type": "bind", "source": source, "options": ["rbind", option]}
    )
    bundle.write(spec)
    os.makedirs(bundle.rootfs + destination, exist_ok=True)


@case(
    "read-link",
    "a file whose text is copied for everybody to read is not read where a link leads",
    "nvidia-container-toolkit has no musl; found: S2, root's file in a 0644 file of the image",
    {"kernel": "/proc/self/mountinfo", "volume": "/volume/secret"},
)
def read_link(lab: Lab, target: str) -> None:
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    musl(bundle)
    library(bundle.rootfs + FOLDER)
    put(f"{lab.dir}/held/secret", "/SECRET\n")
    os.chmod(f"{lab.dir}/held/secret", 0o400)
    _volume(bundle, f"{lab.dir}/held", "/volume")
    path = bundle.rootfs + MUSL_PATH
    os.symlink(target, path)
    lab.run(bundle, timeout=lab.setting.patience)
    text = "" if os.path.islink(path) else lab.read(path)
    strange = [line for line in text.splitlines() if not line.startswith("/") or "SECRET" in line]
    check(not strange, f"{MUSL_PATH} has the text of {target}: {strange[:3]}")


@case(
    "volume",
    "what a hook writes does not go to a volume, read-only or not",
    "crun 1.26 makes mounts read-only after the hooks; found: S4, the host's ld.so.cache replaced",
    {
        f"{at} {option}": (at, option)
        for at in ("/etc", "/etc/ld.so.conf.d")
        for option in ("ro", "rw")
    },
)
def volume(lab: Lab, what: tuple[str, str]) -> None:
    out = outside(lab)
    put(f"{out}/ld.so.cache", "host\n")
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    ordinary(bundle)
    library(bundle.rootfs + FOLDER)
    _volume(bundle, out, *what)
    attack(lab, bundle)


@case(
    "soname",
    "a library's SONAME with slashes leads to no link",
    "ldconfig(8) as root; found: S3, links changed in a volume",
    {"volume": "../../q/x"},
)
def soname(lab: Lab, name: str) -> None:
    out = outside(lab)
    os.symlink("present", f"{out}/x")
    bundle = with_hooks(lab, "true", hook(lab, "update-ldcache", "--folder", FOLDER))
    ordinary(bundle)
    library(bundle.rootfs + FOLDER)
    path = f"{bundle.rootfs}{FOLDER}/{LIBRARY}"
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(LIBRARY.encode() + b"\0", name.encode() + b"\0"))
    _volume(bundle, out, "/opt/q")
    before = look(out)
    lab.runs(bundle, timeout=lab.setting.patience)
    untouched(out, before)


def _capital(spec: dict[str, Any]) -> str:
    spec["Hooks"] = spec.pop("hooks")
    return json.dumps(spec)


def _second(spec: dict[str, Any]) -> str:
    text = json.dumps({"hooks": spec.pop("hooks")})
    return '{"hooks": {}, ' + json.dumps(spec)[1:-1] + ", " + text[1:]


@case(
    "environment-field",
    "T6: nor where config.json's field is one that Go's readers take for hooks",
    "CVE-2025-23266; encoding/json: names without case, the last of repeated ones",
    {"Hooks": _capital, "a second hooks": _second},
)
def environment_field(lab: Lab, write: Any) -> None:
    """Who does not take it for hooks runs none, which is as well."""
    seen = f"{lab.out}/seen"
    script = f"{lab.busybox} env > {seen}"
    entry = {"path": lab.busybox, "args": ["sh", "-c", script]}
    bundle = lab.bundle("true", hooks={"createContainer": [entry]})
    spec = bundle.spec
    spec["process"]["env"].append("LD_PRELOAD=/proc/self/cwd/poc.so")
    with open(bundle.config, "w", encoding="utf-8") as file:
        file.write(write(spec))
    lab.creates(bundle)
    text = lab.read(seen) if os.path.exists(seen) else ""
    check("poc.so" not in text, "the hook has the image's LD_PRELOAD")
