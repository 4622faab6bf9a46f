"""Containers with user namespaces: what the kernel does not grant is not asked for.

As root, on file systems with and without mapped mounts; and rootless Podman, as an ordinary user.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing, need
from tests.integration.rootless import Rootless, static_runc
from tools.lab import newest_crun
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

BIND = ["ro", "nosuid", "nodev", "bind"]
RBIND = ["ro", "nosuid", "nodev", "rbind", "rprivate"]


@pytest.fixture(params=["runc", "static runc", "crun", "newest crun"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """Each runtime, the newest too: Debian 12's runc does not know mapped mounts."""
    if request.param == "static runc":
        return static_runc()
    if request.param == "newest crun":
        program = newest_crun.program(tmp_path / "newest")
        return program or missing("the newest crun cannot be fetched")
    need(request.param)
    return lowlevels[request.param]


def spec_of(folder: Path, options: list[str], **mount: str) -> str:
    """A device whose host name is another than its name, and a file and a folder of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "libacme.so.1").write_text("library\n")
    for path in (folder, *folder.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o111)
    link = ["nvidia-cdi-hook", "create-symlinks", "--link", "libacme.so.1::/usr/lib/libacme.so"]
    edits = {
        "deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/zero"}],
        "mounts": [
            {"hostPath": f"{folder}/libacme.so.1", "containerPath": "/usr/lib/libacme.so.1",
             "options": options, **mount},
            {"hostPath": str(folder), "containerPath": "/opt/acme", "options": options, **mount},
        ],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": link}],
    }  # fmt: skip
    device = {"name": "0", "containerEdits": edits}
    return json.dumps({"cdiVersion": "0.5.0", "kind": "acme.com/gpu", "devices": [device]})


# Eight bytes of /dev/zero: no other device says nothing but NUL.
SCRIPT = "cat /usr/lib/libacme.so /opt/acme/libacme.so.1; head -c 8 /dev/acme0 | od -An -tx1"
EXPECTED = "library\nlibrary\n 00 00 00 00 00 00 00 00\n"


@pytest.fixture(name="overlay")
def _overlay(tmp_path: Path) -> Iterator[Path]:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    places = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    merged = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", places, str(merged)], check=True)
    yield merged
    subprocess.run(["umount", str(merged)], check=True)


@pytest.mark.parametrize("options", [BIND, RBIND], ids=["bind", "rbind"])
@pytest.mark.parametrize("where", ["tmp_path", "overlay"])
def test_a_user_namespace_of_roots(
    node: Node, busybox: Path, where: str, options: list[str], request: pytest.FixtureRequest
) -> None:
    """Overlayfs has no mapped mounts: a driver in a container, pods with hostUsers: false."""
    folder = request.getfixturevalue(where) / "driver"
    node.shim.add_spec("acme.json", spec_of(folder, options))
    bundle = node.bundle(
        busybox, SCRIPT, user_namespace=True, annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}
    )
    bundle.give_to(200000)
    for _ in range(2):  # the second time by the answer that was kept
        result = node.run(bundle)
        assert (result.returncode, result.stdout, result.stderr) == (0, EXPECTED, "")
    mounts = {mount["destination"]: mount for mount in bundle.spec["mounts"]}
    asked = [] if where == "overlay" else ["idmap" if options is BIND else "ridmap"]
    assert mounts["/opt/acme"]["options"] == options + asked
    assert mounts["/opt/acme"]["type"] == "bind"
    assert "devices" not in bundle.spec["linux"]


def test_without_a_user_namespace_nothing_is_otherwise(node: Node, busybox: Path) -> None:
    folder = node.folder / "driver"
    node.shim.add_spec("acme.json", spec_of(folder, RBIND))
    bundle = node.bundle(busybox, SCRIPT, annotations={"cdi.k8s.io/x": "acme.com/gpu=0"})
    result = node.run(bundle)
    assert (result.returncode, result.stdout, result.stderr) == (0, EXPECTED, "")
    mounts = {mount["destination"]: mount for mount in bundle.spec["mounts"]}
    assert mounts["/opt/acme"] == {
        "destination": "/opt/acme", "source": str(folder), "options": RBIND,
    }  # fmt: skip
    assert [device["path"] for device in bundle.spec["linux"]["devices"]] == ["/dev/acme0"]


@pytest.fixture(scope="module", name="user")
def _user(
    tmp_path_factory: pytest.TempPathFactory, programs: Path, busybox: Path
) -> Iterator[Rootless]:
    Rootless.is_there("podman", "conmon")
    folder = tmp_path_factory.mktemp("rootless")
    user = Rootless(folder / "home", Shim(folder / "pyshim", "runc", programs))
    user.shim.add_spec("acme.json", spec_of(folder / "driver", RBIND))
    try:
        user.import_image(busybox)
        yield user
    finally:
        user.forget()


MODES = {
    "podman's own": (),
    "keep-id": ("--userns=keep-id",),
    "nomap": ("--userns=nomap",),
    "auto": ("--userns=auto",),
    "uidmap": ("--uidmap=0:1:1000",),
}
# crun 1.28 cannot make mount points in the others, with or without pyshim (Podman 4.3).
ALL, OF_NEWEST_CRUN = tuple(MODES), ("podman's own", "keep-id")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in ("runc", "static runc", "crun") for mode in ALL),
        *(("newest crun", mode) for mode in OF_NEWEST_CRUN),
    ],
)
def test_rootless_podman(
    user: Rootless, lowlevels: dict[str, Path], tmp_path: Path, name: str, mode: str
) -> None:
    """Nobody but root of the node maps owners on its file systems."""
    extra = () if name.endswith("runc") and not name.startswith("c") else ("--cgroups=disabled",)
    user.shim.lowlevel = str(rootless_runtime(name, lowlevels, tmp_path, user))
    user.shim.configure({"requests.podman_annotations": True, "log.file": ""})
    annotation = ("--annotation", "cdi.k8s.io/x=acme.com/gpu=0")
    for asking in (annotation, ("--device", "acme.com/gpu=0")):  # the latter Podman injects itself
        result = user.run(SCRIPT, *extra, *asking, *MODES[mode])
        assert (result.returncode, result.stdout) == (0, EXPECTED), result


def rootless_runtime(name: str, lowlevels: dict[str, Path], folder: Path, user: Rootless) -> Path:
    """The runtime as a program that an ordinary user can run."""
    if name == "runc":
        return lowlevels["runc"]
    if name == "static runc":
        return Path(
            shutil.copy(static_runc(), user.folder / "runc")
        )  # the user may not enter the clone
    program, lines = need("crun"), ""
    if name == "newest crun":
        if newest_crun.program(folder) is None:
            missing("the newest crun cannot be fetched")
        user.libraries = folder / "libraries"
        program, lines = str(folder / "crun.bin"), "export LD_LIBRARY_PATH=/mnt\n"
        for parent in (folder, *folder.parents[:-2]):
            parent.chmod(parent.stat().st_mode | 0o111)
    wrapper = user.folder / "crun"
    wrapper.write_text(f'#!/bin/sh\n{lines}exec {program} --cgroup-manager=disabled "$@"\n')
    wrapper.chmod(0o755)
    return wrapper
