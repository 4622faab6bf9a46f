"""CDI hooks: what each leaves in an ordinary, a bare and a musl rootfs, for the container to see.

The hook stands in config.json, as an engine with CDI leaves it; its program is --hook's.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from kit.case import PEER, Skip, area, check, equal
from kit.rootfs import FOLDER, ROOTS, hook, library, musl, ordinary, put, with_hooks

if TYPE_CHECKING:
    from kit.lab import Bundle, Done, Lab

case = area("cdi-hooks")
LINKS = PEER + "create-symlinks: chroot ROOT ln -f -s TARGET LINK"
CACHE = PEER + "update-ldcache"
COMPAT = PEER + "enable-cuda-compat"


LINK_CASES: dict[str, tuple[list[str], str, str]] = {
    "relative target": (["libx.so.1::/opt/lib/libx.so"], "/opt/lib/libx.so", "libx.so.1"),
    "absolute target": (["/opt/a::/opt/lib/b"], "/opt/lib/b", "/opt/a"),
    "dangling": (["/nowhere/at/all::/opt/link"], "/opt/link", "/nowhere/at/all"),
    "relative link": (["x::opt/link"], "/opt/link", "x"),
    "folders are made": (["x::/a/b/c/d/link"], "/a/b/c/d/link", "x"),
    "up is clamped": (["x::../../opt/link"], "/opt/link", "x"),
    "two links": (["x::/opt/one", "y::/opt/two"], "/opt/two", "y"),
    "same link twice": (["x::/opt/one", "x::/opt/one"], "/opt/one", "x"),
    "through a folder's link": (["x::/shortcut/link"], "/real/link", "x"),
    "is there already": (["x::/present"], "/present", "x"),
    "other link there": (["y::/present"], "/present", "y"),
    "file there": (["y::/file"], "/file", "y"),
}


@case(
    "create-symlinks", "LINK below the container's root; TARGET stored verbatim", LINKS, LINK_CASES
)
def create_symlinks(lab: Lab, what: tuple[list[str], str, str]) -> None:
    links, path, target = what
    flags = [part for link in links for part in ("--link", link)]
    bundle = with_hooks(lab, f"readlink {path}", hook(lab, "create-symlinks", *flags))
    os.mkdir(f"{bundle.rootfs}/real")
    os.symlink("/real", f"{bundle.rootfs}/shortcut")
    os.symlink("x", f"{bundle.rootfs}/present")
    put(f"{bundle.rootfs}/file", "text")
    equal(lab.runs(bundle).lines, [target], f"{path}'s target")


@case(
    "create-symlinks-refused",
    "an error is an error: create fails and says so",
    LINKS,
    {
        "no ::": "target",
        "two ::": "a::b::c",
        "folder there": "x::/tmp",
        "root": "x::/",
        "parent is a file": "x::/file/link",
    },
)
def symlinks_refused(lab: Lab, link: str) -> None:
    bundle = with_hooks(lab, "true", hook(lab, "create-symlinks", "--link", link))
    put(f"{bundle.rootfs}/file", "text")
    done = lab.create(bundle)
    check(done.status != 0, "create succeeds")
    check(done.err.strip(), "nothing said")
    lab.gone()


@case("create-symlinks-on", "links work in any rootfs", LINKS, ROOTS)
def symlinks_on(lab: Lab, make: Any) -> None:
    entry = hook(lab, "create-symlinks", "--link", "libx.so.1::/usr/lib/x/libx.so")
    bundle = with_hooks(lab, "readlink /usr/lib/x/libx.so", entry)
    make(bundle)
    equal(lab.runs(bundle).lines, ["libx.so.1"], "target")


def _cached(lab: Lab, make: Any, *folders: str) -> str:
    """Run update-ldcache; return ld.so.cache as the container has it."""
    flags = [part for folder in folders or (FOLDER,) for part in ("--folder", folder)]
    bundle = with_hooks(
        lab, "test -s /etc/ld.so.cache && echo there", hook(lab, "update-ldcache", *flags)
    )
    make(bundle)
    for folder in folders or (FOLDER,):
        library(f"{bundle.rootfs}{folder}")
    equal(lab.runs(bundle).out, "there\n", "the cache")
    return lab.read(f"{bundle.rootfs}/etc/ld.so.cache")


@case(
    "update-ldcache",
    "the libraries of --folder are in the container's /etc/ld.so.cache",
    CACHE,
    ROOTS,
)
def update_ldcache(lab: Lab, make: Any) -> None:
    check(f"{FOLDER}/libq.so.6" in _cached(lab, make), "the library is not in the cache")


@case(
    "update-ldcache-folders",
    "--folder may be repeated",
    CACHE,
    {"two": ("/opt/a", "/opt/b"), "three": ("/opt/a", "/opt/b", "/srv/c")},
)
def ldcache_folders(lab: Lab, folders: tuple[str, ...]) -> None:
    text = _cached(lab, ordinary, *folders)
    missing = [folder for folder in folders if f"{folder}/libq.so.6" not in text]
    check(not missing, f"not in the cache: {missing}")


@case(
    "update-ldcache-keeps",
    "what ldconfig knew before, it knows after",
    CACHE,
    {"ld.so.conf": "etc/ld.so.conf", "include": "etc/ld.so.conf.d/own.conf"},
)
def ldcache_keeps(lab: Lab, name: str) -> None:
    def make(bundle: Bundle) -> None:
        ordinary(bundle)
        with open(f"{bundle.rootfs}/{name}", "a", encoding="utf-8") as file:
            file.write("/srv/own\n")
        library(f"{bundle.rootfs}/srv/own")

    text = _cached(lab, make)
    check("/srv/own/libq.so.6" in text, "the image's own library is no longer in the cache")
    check(f"{FOLDER}/libq.so.6" in text, "the library is not in the cache")


@case("update-ldcache-missing-folder", "a --folder that is not there is no error", CACHE, ROOTS)
def ldcache_missing(lab: Lab, make: Any) -> None:
    bundle = with_hooks(lab, "echo started", hook(lab, "update-ldcache", "--folder", "/nowhere"))
    make(bundle)
    equal(lab.runs(bundle).out, "started\n", "stdout")


@case(
    "musl-path",
    "/etc/ld-musl-<arch>.path gets the folders and keeps musl's own",
    PEER + "update-ldcache 4; musl ldso/dynlink.c: /lib:/usr/local/lib:/usr/lib",
    {"no file": None, "file": "/srv/own\n", "no newline": "/srv/own"},
)
def musl_path(lab: Lab, text: str | None) -> None:
    def make(bundle: Bundle) -> None:
        musl(bundle)
        if text is not None:
            put(f"{bundle.rootfs}/etc/ld-musl-{os.uname().machine}.path", text)

    _cached(lab, make)
    path = f"{lab.dir}/bundle/rootfs/etc/ld-musl-{os.uname().machine}.path"
    folders = re.split("[:\n]", lab.read(path))
    check(FOLDER in folders, f"{FOLDER} is not among {folders}")
    for own in ("/srv/own",) if text else ("/lib", "/usr/local/lib", "/usr/lib"):
        check(own in folders, f"{own} is not among {folders}")


@case(
    "litter",
    "a restart leaves no more files than a start",
    PEER + "2.3 e",
    {
        "create-symlinks": ("create-symlinks", "--link", "x::/opt/x"),
        "update-ldcache": ("update-ldcache", "--folder", FOLDER),
    },
)
def litter(lab: Lab, what: tuple[str, ...]) -> None:
    bundle = with_hooks(lab, "true", hook(lab, *what))
    ordinary(bundle)
    library(f"{bundle.rootfs}{FOLDER}")
    seen: list[set[str]] = []
    for _ in range(3):
        lab.runs(bundle)
        lab.call("delete", "--force", lab.id)
        seen.append(
            {
                os.path.join(at, name)
                for at, folders, files in os.walk(bundle.rootfs)
                for name in folders + files
            }
        )
    equal(sorted(seen[2] - seen[0]), [], "more files after the third start than after the first")


@case(
    "chmod",
    "the mode of PATH in the container",
    PEER + "chmod",
    {
        "folder": ("0711", "/opt/thing", True),
        "file": ("604", "/opt/thing", False),
        "dots": ("0711", "/opt/../opt/thing", True),
    },
)
def chmod(lab: Lab, what: tuple[str, str, bool]) -> None:
    mode, path, folder = what
    bundle = with_hooks(
        lab, "stat -c %a /opt/thing", hook(lab, "chmod", "--mode", mode, "--path", path)
    )
    put(f"{bundle.rootfs}/opt/{'thing/file' if folder else 'thing'}", "")
    os.chmod(f"{bundle.rootfs}/opt/thing", 0o750)
    equal(lab.runs(bundle).lines, [mode.lstrip("0")], "mode")


@case("chmod-missing", "a path that is not there is skipped", PEER + "chmod", {"path": "/nowhere"})
def chmod_missing(lab: Lab, path: str) -> None:
    bundle = with_hooks(lab, "echo started", hook(lab, "chmod", "--mode", "711", "--path", path))
    equal(lab.runs(bundle).out, "started\n", "stdout")


@case(
    "cuda-compat",
    "used if its major is newer than the host driver's",
    COMPAT,
    {
        "newer": ("575.57.08", "570.10", True),
        "same major": ("570.57.08", "570.10", False),
        "older": ("535.10.01", "570.10", False),
    },
)
def cuda_compat(lab: Lab, what: tuple[str, str, bool]) -> None:
    compat, host, wanted = what
    bundle = with_hooks(
        lab,
        "cat /etc/ld.so.conf.d/* 2>/dev/null; true",
        hook(lab, "enable-cuda-compat", "--host-driver-version", host),
    )
    ordinary(bundle)
    root = f"{bundle.rootfs}/usr/local/cuda/compat"
    library(root)
    os.rename(f"{root}/libq.so.6", f"{root}/libcuda.so.{compat}")
    lines = lab.runs(bundle).lines
    equal("/usr/local/cuda/compat" in lines, wanted, f"compat's folder is used ({lines})")


@case("cuda-compat-none", "no compat library, no change", COMPAT, ROOTS)
def cuda_compat_none(lab: Lab, make: Any) -> None:
    bundle = with_hooks(
        lab,
        "ls -d /etc/ld.so.conf.d/* 2>/dev/null; echo started",
        hook(lab, "enable-cuda-compat", "--host-driver-version", "570.10"),
    )
    make(bundle)
    equal(lab.runs(bundle).lines, ["started"], "files of the hook, and stdout")


PROFILE = "/etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf"


@case(
    "application-profile",
    "the mask of the container's GPUs",
    PEER + "update-application-profile",
    {"0": (0,), "0 and 3": (0, 3), "none": ()},
)
def application_profile(lab: Lab, minors: tuple[int, ...]) -> None:
    bundle = with_hooks(
        lab, f"cat {PROFILE} 2>/dev/null; true", hook(lab, "update-application-profile")
    )
    spec = bundle.spec
    spec["linux"]["devices"] = [
        {
            "path": f"/dev/nvidia{minor}",
            "type": "c",
            "major": 195,
            "minor": minor,
            "fileMode": 0o666,
        }
        for minor in minors
    ]
    bundle.write(spec)
    text = lab.runs(bundle).out
    mask = sum(1 << minor for minor in minors)
    wanted = f'["EGLVisibleDGPUDevices",{mask:#x}]' if minors else ""
    check(wanted in text and bool(text) == bool(minors), f"the profile: {text!r}")


@case(
    "no-driver",
    "without /proc/driver/nvidia/params there is nothing to do",
    PEER + "disable-device-node-modification",
    ROOTS,
)
def no_driver(lab: Lab, make: Any) -> None:
    if os.path.exists("/proc/driver/nvidia/params"):
        raise Skip("this machine has an NVIDIA driver")
    bundle = with_hooks(lab, "echo started", hook(lab, "disable-device-node-modification"))
    make(bundle)
    equal(lab.runs(bundle).out, "started\n", "stdout")


@case(
    "unknown-hook",
    "deliberate forward compatibility: a warning and exit 0",
    PEER + "exit codes",
    {"unknown": "hook-of-tomorrow", "removed": "create-soname-symlinks"},
)
def unknown_hook(lab: Lab, name: str) -> None:
    done: Done = lab.runs(with_hooks(lab, "echo started", hook(lab, name)))
    equal(done.out, "started\n", "stdout")


@case(
    "order",
    "Hooks MUST be called in the listed order.",
    "runtime-spec v1.3.0 config.md POSIX-platform Hooks",
    {"links before cache": 0, "a stranger between": 1},
)
def order(lab: Lab, stranger: int) -> None:
    """The cache shows the folder that a link of the hook before made reachable."""
    root = f"{lab.dir}/bundle/rootfs"
    script = f"readlink {root}/opt/first > {lab.out}/seen; test ! -e {root}/opt/second"
    between = {"path": lab.busybox, "args": ["sh", "-c", script], "env": ["A=b"]}
    one = hook(lab, "create-symlinks", "--link", "x::/opt/first")
    two = hook(lab, "create-symlinks", "--link", "tmp::/opt/second")
    bundle = with_hooks(lab, "readlink /opt/second", one, *[between] * stranger, two)
    equal(lab.runs(bundle).lines, ["tmp"], "the second hook's link")
    if stranger:
        equal(lab.read(f"{lab.out}/seen"), "x\n", "what the hook between saw")
