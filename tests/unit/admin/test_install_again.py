"""`pyshimctl install` where an earlier one was killed, or what it replaced is still needed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin.host import Host
from ocishim.admin.install import versionfolder
from ocishim.admin.install.installation import Installation
from tests.unit.admin.installing import HOME, Node


def test_what_a_killed_install_left_is_removed(node: Node, static: Path) -> None:
    node.install()
    (node.root / HOME / ".new-1").mkdir()
    static.write_text("version 2\n")
    output = node.install()
    assert not (node.root / HOME / ".new-1").exists()
    assert output.splitlines() == [f"remove /{HOME}/.new-1", f"use /{HOME}/{node.current}"]


def test_it_is_removed_where_nothing_else_is_to_do(node: Node) -> None:
    node.install()
    before = node.listing()
    (node.root / HOME / ".new-1/bin").mkdir(parents=True)
    assert node.install() == f"remove /{HOME}/.new-1\n"
    assert node.listing() == before


def test_an_installer_that_has_the_number_of_the_one_that_was_killed(
    node: Node, static: Path
) -> None:
    """As each has in a container of its own."""
    node.install()
    static.write_text("version 2\n")
    number = os.getpid()
    (node.root / HOME / f".new-{number}/bin").mkdir(parents=True)
    (node.root / HOME / f"current.{number}").symlink_to("elsewhere")
    (node.root / f"usr/local/bin/pyshim.{number}").symlink_to("elsewhere")
    (node.root / "usr/local/bin/pyshim").unlink()
    node.install()
    assert (node.root / "usr/local/bin/pyshim").read_text() == "version 2\n"
    assert not [path for path in node.listing() if path.endswith(f"{number}")]


def bundle(node: Node, folder: str) -> None:
    """Make the bundle of a create that began with the version in use."""
    hook = f"/{HOME}/{node.current}/bin/pyshim-hook"
    spec = {"hooks": {"createContainer": [{"path": hook, "args": ["pyshim-hook", "chain"]}]}}
    node.write(f"{folder}/config.json", json.dumps(spec))


def call(node: Node, *argv: str) -> Path:
    """Make a process; its folder in /proc."""
    node.process(7, cmdline="\0".join((*argv, "")))
    return node.root / "proc/7"


def of_containerd(node: Node) -> Path:
    bundle(node, "/run/containerd/io.containerd.runtime.v2.task/k8s.io/1")
    return node.root / "run/containerd"


def by_name(node: Node) -> Path:
    bundle(node, "/srv/bundle")
    return call(node, "/usr/sbin/runc", "--root", "/run/x", "create", "-b", "/srv/bundle", "x")


def in_a_folder(node: Node) -> Path:
    bundle(node, "/srv/bundle")
    process = call(node, "/usr/sbin/runc", "run", "x")
    (process / "cwd").symlink_to(node.root / "srv/bundle")
    return process


def of_podman(node: Node) -> Path:
    bundle(node, "/srv/userdata")
    return call(node, "/usr/bin/conmon", "-c", "1", "-n", "x", "-b", "/srv/userdata")


def before_it_edits(node: Node) -> Path:
    process = call(node, "/usr/local/bin/pyshim", "create", "x")
    (process / "exe").symlink_to(node.root / HOME / node.current / "bin/pyshim")
    return process


@pytest.mark.parametrize("need", [of_containerd, by_name, in_a_folder, of_podman, before_it_edits])
def test_an_older_version_stays_while_a_hook_names_it(
    node: Node, static: Path, need: Callable[[Node], Path]
) -> None:
    node.install()
    first = node.current
    needed = need(node)
    for count in (2, 3, 4):
        static.write_text(f"version {count}\n")
        node.install()
        assert (node.root / HOME / first / "bin/pyshim-hook").read_text() == "version 1\n"
    assert len(list((node.root / HOME).glob("[0-9]*"))) == 3
    shutil.rmtree(needed)
    static.write_text("version 5\n")
    assert f"remove /{HOME}/{first}" in node.install().splitlines()


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (os.symlink, f"{HOME}/.new-{os.getpid()}/bin/pyshim-hook"),
        (os.rename, f"{HOME}/@"),
        (os.chmod, f"{HOME}/.new-{os.getpid()}"),
    ],
    ids=["a link", "the rename", "a mode"],
)
def test_what_a_full_disk_refuses_is_named(
    node: Node,
    static: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., None],
    place: str,
) -> None:
    """By the path that was to be made, and not by a link's text; the version in use stays."""
    node.install()
    first = node.current
    static.write_text("version 2\n")
    name = Installation(Host(str(node.root)), "/usr/local").name_of(str(static))
    monkeypatch.setattr(os, call.__name__, full(call))
    result = node.call("install")
    wanted = node.root / place.replace("@", name)
    assert result.output == f"pyshimctl: {wanted}: No space left on device\n"
    assert (result.exit_code, node.current) == (1, first)


def full(call: Callable[..., None]) -> Callable[..., None]:
    """Return `call` as it is on a disk that is full, with the kernel's own names in the error."""

    def refused(source: str, target: object = None, **_flags: object) -> None:
        names = (source, None, target) if isinstance(target, str) else (source,)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)

    return refused


def test_a_link_that_cannot_be_switched_is_named(
    node: Node, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.install()
    before = node.current
    static.write_text("version 2\n")
    monkeypatch.setattr(versionfolder, "build", without_links)
    monkeypatch.setattr(os, "symlink", full(os.symlink))
    result = node.call("install")
    assert result.output == f"pyshimctl: {node.root / HOME}/current: No space left on device\n"
    assert node.current == before


def without_links(file: str, folder: str) -> None:
    """Make the version's folder without links."""
    Path(folder, "bin").mkdir(parents=True)
    shutil.copyfile(file, f"{folder}/bin/pyshim")
