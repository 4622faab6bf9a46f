"""Wrong with a volume in an image's reach: read for the image, written, or its hooks unguarded."""

from __future__ import annotations

import contextlib
import glob
import os
from typing import TYPE_CHECKING, Any

from mutants.call import Call, mutant
from mutants.images import asked

if TYPE_CHECKING:
    from collections.abc import Iterator


def _host_path(call: Call, path: str) -> str:
    """Where a path of the container lies on the host; the host's own, where no volume is."""
    for mount in call.spec["mounts"]:
        if path.startswith(mount["destination"] + "/") and mount["type"] == "bind":
            return str(mount["source"]) + path.removeprefix(mount["destination"])
    return path


def _volumes(call: Call) -> Iterator[tuple[str, str]]:
    if asked(call, "update-ldcache"):
        for mount in call.spec["mounts"]:
            if mount["type"] == "bind":
                yield mount["destination"], mount["source"]


@mutant("hostile/read-link[kernel]", "hostile/read-link[volume]")
def text_behind_links_copied(call: Call) -> None:
    for path in glob.glob(f"{call.rootfs}/etc/ld-musl-*.path") if call.creates else ():
        if os.path.islink(path):
            with open(_host_path(call, os.readlink(path)), encoding="utf-8") as file:
                text = file.read()
            os.unlink(path)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


@mutant("hostile/volume[/etc ro]", "hostile/volume[/etc/ld.so.conf.d rw]")
def volumes_written(call: Call) -> None:
    for destination, source in _volumes(call):
        if destination.startswith("/etc"):
            with open(f"{source}/00-mutant.conf", "w", encoding="utf-8"):
                pass


@mutant("hostile/soname[volume]")
def sonames_followed(call: Call) -> None:
    for destination, source in _volumes(call):
        if destination == "/opt/q":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{source}/x")
            os.symlink("../acme/lib/libq.so.6", f"{source}/x")


@mutant("hostile/environment-field[Hooks]", "hostile/environment-field[a second hooks]")
def fields_as_written(call: Call) -> None:
    """The environment of the image is a hook's where the guard looks at the first `hooks` only."""

    def give(spec: dict[str, Any]) -> None:
        image = spec["process"]["env"]
        for hook in (spec.get("Hooks") or spec.get("hooks") or {}).get("createContainer", ()):
            if any("poc.so" in text for text in image) and "env" not in hook:
                hook["env"] = image

    odd = call.creates and ('"Hooks"' in call.text or call.text.startswith('{"hooks": {}, '))
    if odd:
        call.edit(give)
