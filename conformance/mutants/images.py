"""Wrong with CDI hooks: their results, read-only roots, and images that are out for harm."""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from mutants.call import Call, mutant

if TYPE_CHECKING:
    from collections.abc import Callable

HOOKS = (
    "create-symlinks",
    "update-ldcache",
    "enable-cuda-compat",
    "chmod",
    "update-application-profile",
    "disable-device-node-modification",
)


def _named(spec: dict[str, Any], name: str) -> list[list[str]]:
    """Return the arguments of the CDI hooks of this name."""
    hooks = (spec.get("hooks") or {}).get("createContainer") or []
    return [hook["args"] for hook in hooks if name in hook.get("args", [])]


def flags(call: Call, hook: str, flag: str) -> list[str]:
    """Return the values of a flag in all hooks of this name."""
    found = _named(call.spec, hook) if call.creates else []
    return [args[index + 1] for args in found for index, arg in enumerate(args) if arg == flag]


def each_flag(call: Call, hook: str, flag: str, change: Callable[[str], str]) -> None:
    """Let `change` return another value for each of a hook's flags."""

    def every(spec: dict[str, Any]) -> None:
        for args in _named(spec, hook):
            for index, arg in enumerate(args):
                if arg == flag:
                    args[index + 1] = change(args[index + 1])

    call.edit(every)


def asked(call: Call, hook: str) -> bool:
    """True when a create has a hook of this name."""
    return call.creates and bool(_named(call.spec, hook))


@mutant("cdi-hooks/create-symlinks[relative target]", "cdi-hooks/create-symlinks-on[musl]")
def targets_absolute(call: Call) -> None:
    each_flag(call, "create-symlinks", "--link", lambda link: "/" + link.lstrip("/"))


@mutant("cdi-hooks/create-symlinks-refused[no ::]")
def bad_links_left_out(call: Call) -> None:
    each_flag(
        call, "create-symlinks", "--link", lambda link: link if "::" in link else "x::/opt/none"
    )


@mutant("cdi-hooks/update-ldcache-folders[two]")
def last_folder_only(call: Call) -> None:
    folders = flags(call, "update-ldcache", "--folder")
    each_flag(call, "update-ldcache", "--folder", lambda _: folders[-1])


@mutant("cdi-hooks/update-ldcache[ordinary]", "cdi-hooks/musl-path[file]")
def folders_ignored(call: Call) -> None:
    each_flag(call, "update-ldcache", "--folder", lambda folder: folder + "-none")


@mutant("cdi-hooks/update-ldcache-keeps[ld.so.conf]")
def cache_of_folders_alone(call: Call) -> None:
    path = f"{call.rootfs}/etc/ld.so.conf"
    if asked(call, "update-ldcache") and os.path.isfile(path) and not os.path.islink(path):
        with contextlib.suppress(OSError), open(path, "w", encoding="utf-8"):
            pass


@mutant("cdi-hooks/update-ldcache-missing-folder[bare]")
def folders_must_be_there(call: Call) -> int | None:
    folders = flags(call, "update-ldcache", "--folder")
    return 1 if any(not os.path.isdir(call.rootfs + folder) for folder in folders) else None


@mutant("cdi-hooks/litter[create-symlinks]")
def scratch_left(call: Call) -> None:
    if asked(call, "create-symlinks"):
        with contextlib.suppress(OSError):
            os.mkdir(f"{call.rootfs}/.scratch-{os.getpid()}")


@mutant("cdi-hooks/chmod[folder]")
def modes_private(call: Call) -> None:
    each_flag(call, "chmod", "--mode", lambda _: "700")


@mutant("cdi-hooks/chmod-missing[path]")
def chmod_wants_paths(call: Call) -> int | None:
    paths = flags(call, "chmod", "--path")
    return 1 if any(not os.path.lexists(call.rootfs + path) for path in paths) else None


@mutant("cdi-hooks/cuda-compat[same major]")
def compat_always_newer(call: Call) -> None:
    each_flag(call, "enable-cuda-compat", "--host-driver-version", lambda _: "1.0")


@mutant(
    "cdi-hooks/cuda-compat-none[ordinary]",
    "hostile/compat-link[etc/ld.so.conf.d]",
    seen=("hostile",),
)
def compat_unasked(call: Call) -> None:
    if asked(call, "enable-cuda-compat"):
        with contextlib.suppress(OSError):
            os.makedirs(f"{call.rootfs}/etc/ld.so.conf.d", exist_ok=True)
            with open(f"{call.rootfs}/etc/ld.so.conf.d/00-compat.conf", "w", encoding="utf-8"):
                pass


@mutant("cdi-hooks/no-driver[bare]")
def driver_wanted(call: Call) -> int | None:
    return 1 if asked(call, "disable-device-node-modification") else None


@mutant("cdi-hooks/unknown-hook[unknown]")
def unknown_hook_refused(call: Call) -> int | None:
    hooks = (call.spec.get("hooks") or {}).get("createContainer", []) if call.creates else []
    names = [
        hook["args"][1]
        for hook in hooks
        if "cdi-hook" in hook["path"] or hook["path"].endswith("-hook")
    ]
    return 1 if any(name not in HOOKS for name in names) else None


@mutant("cdi-hooks/order[a stranger between]", seen=("hooks",))
def create_container_reversed(call: Call) -> None:
    call.edit(lambda spec: (spec.get("hooks") or {}).get("createContainer", []).reverse())


@mutant(
    "read-only/starts[EROFS chmod]", "read-only/stays-read-only[EROFS]", "read-only/silent[EROFS]"
)
def writes_first(call: Call) -> int | None:
    if any(asked(call, name) for name in ("chmod", "create-symlinks")):
        try:
            os.utime(call.rootfs)
        except OSError:
            return 1
    return None


@mutant("read-only/stays-read-only[root.readonly]", seen=("lifecycle", "kubernetes"))
def root_writable(call: Call) -> None:
    call.edit(
        lambda spec: (
            spec["root"].update(readonly=False)
            if (spec.get("hooks") or {}).get("createContainer")
            else None
        )
    )


@mutant("read-only/silent[read-only bind]")
def warns_on_stderr(call: Call) -> None:
    if asked(call, "create-symlinks") and os.statvfs(call.rootfs).f_flag & os.ST_RDONLY:
        print("warning: read-only", file=sys.stderr)


@mutant("hostile/symlinks-parent[absolute]", "hostile/symlinks-up[relative]")
def links_by_path(call: Call) -> None:
    for link in flags(call, "create-symlinks", "--link"):
        target, _, path = link.partition("::")
        with contextlib.suppress(OSError):
            os.symlink(target, f"{call.rootfs}/{path}")


@mutant("hostile/symlinks-final[file]")
def links_written_through(call: Call) -> None:
    for link in flags(call, "create-symlinks", "--link"):
        path = f"{call.rootfs}/{link.partition('::')[2]}"
        if os.path.islink(path):
            with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
                file.write("x\n")


@mutant("hostile/symlinks-oracle[absolute]")
def links_looked_up_by_path(call: Call) -> None:
    def change(spec: dict[str, Any]) -> None:
        for args in _named(spec, "create-symlinks"):
            for index in [at for at, arg in enumerate(args) if arg == "--link"][::-1]:
                target, _, path = args[index + 1].partition("::")
                link = f"{call.rootfs}/{path}"
                if os.path.islink(link) and os.readlink(link) == target:
                    del args[index : index + 2]

    call.edit(change)


@mutant("hostile/ldcache-link[etc absolute]", "hostile/ldcache-link[etc/ld.so.cache relative]")
def cache_by_path(call: Call) -> None:
    if asked(call, "update-ldcache"):
        with contextlib.suppress(OSError), open(f"{call.rootfs}/etc/ld.so.cache", "ab") as file:
            file.write(b"x")


@mutant(
    "hostile/ldcache-trap[ld.so.conf FIFO]",
    "hostile/ldcache-trap[ld.so.conf link to zero]",
    "hostile/library-trap[FIFO]",
)
def reads_to_the_end(call: Call) -> None:
    paths = [f"{call.rootfs}/etc/ld.so.conf", *glob.glob(f"{call.rootfs}/opt/acme/lib/*")]
    for path in paths if asked(call, "update-ldcache") else ():
        with contextlib.suppress(OSError), open(path, "rb") as file:
            while file.read(1 << 20):
                pass


@mutant("hostile/image-program[sbin/ldconfig]")
def ldconfig_of_the_image(call: Call) -> None:
    if asked(call, "update-ldcache") and os.path.exists(f"{call.rootfs}/sbin/ldconfig"):
        subprocess.call(["chroot", call.rootfs, "/sbin/ldconfig"])


@mutant("hostile/chmod-link[absolute]", "hostile/chmod-up[relative]")
def chmod_by_path(call: Call) -> None:
    for path in flags(call, "chmod", "--path"):
        with contextlib.suppress(OSError):
            os.chmod(f"{call.rootfs}/{path}", 0o711)


@mutant("hostile/profile-link[etc/nvidia]")
def profile_by_path(call: Call) -> None:
    if asked(call, "update-application-profile"):
        with contextlib.suppress(OSError):
            os.mkdir(f"{call.rootfs}/etc/nvidia/nvidia-application-profiles-rc.d")
