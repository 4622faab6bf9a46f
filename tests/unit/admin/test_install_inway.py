"""What is somebody's own where an installation would be: all commands name it and the way out."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin.checks import installation
from ocishim.admin.checks.node import Node as Checked
from ocishim.admin.host import Host
from tests.unit.admin.installing import HOME, Node

Make = Callable[[Path], object]


def a_file(path: Path) -> None:
    path.write_text("mine\n")


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def to_a_file_below(path: Path) -> None:
    """A link to nothing, and nothing can ever be there."""
    (path.parent / "theirs").write_text("mine\n")
    path.symlink_to("theirs/below")


NO_FOLDER, CIRCLE, THEIRS = (
    "is no folder", "is a link that leads in a circle", "is there and not ours"
)  # fmt: skip
# What is replaced, by what, and what is said of it.
IN_THE_WAY = [
    pytest.param("usr/local/bin/pyshim", a_file, THEIRS, id="program a file"),
    pytest.param("usr/local/bin/pyshimctl", Path.mkdir, THEIRS, id="program a folder"),
    pytest.param("usr/local/bin/pyshim-hook", lambda path: path.symlink_to("/usr/sbin/runc"),
        THEIRS, id="program a link to theirs"),
    pytest.param("usr/local/bin", a_file, NO_FOLDER, id="bin a file"),
    pytest.param("usr/local/bin", to_itself, CIRCLE, id="bin to itself"),
    pytest.param("usr/local/bin", to_a_file_below, NO_FOLDER, id="bin below a file"),
    pytest.param(HOME, a_file, NO_FOLDER, id="home a file"),
    pytest.param(HOME, to_itself, CIRCLE, id="home to itself"),
    pytest.param("etc/pyshim", a_file, NO_FOLDER, id="configuration's folder a file"),
    pytest.param("etc/pyshim", to_itself, CIRCLE, id="configuration's folder to itself"),
]  # fmt: skip


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def on_a_new_node(node: Node, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)


def instead(node: Node, path: Path) -> None:
    node.install()
    remove(path)


@pytest.mark.parametrize("when", [on_a_new_node, instead], ids=["new", "installed"])
@pytest.mark.parametrize(("path", "make", "said"), IN_THE_WAY)
def test_it_is_named_and_not_touched(
    node: Node, path: str, make: Make, said: str, when: Callable[[Node, Path], None]
) -> None:
    place = node.root / path
    when(node, place)
    make(place)
    before, words = node.listing(), shlex.join(["mv", str(place), f"{place}.old"])
    for options in ([], ["--dry-run"]):
        result = node.call("install", *options)
        assert result.exit_code == 1
        refused, hint = result.stderr.splitlines()
        assert refused == f"pyshimctl: /{path} {said}"
        assert hint.removesuffix(", or choose another --prefix") == f"hint: {words}"
    checked = node.call("install", "--check")
    assert checked.exit_code == 1, checked.output
    *lines, step = checked.stdout.splitlines()
    assert f"/{path} {said}" in lines
    assert step == f"next: {words} && pyshimctl install --host-root {node.root}"
    assert node.listing() == before
    place.rename(f"{place}.old")  # as the step says
    node.install()
    assert node.call("install", "--check").exit_code == 0
    assert node.install() == "nothing to do\n"


@pytest.mark.parametrize(("path", "make", "said"), IN_THE_WAY)
def test_the_doctor_says_the_same(node: Node, path: str, make: Make, said: str) -> None:
    place = node.root / path
    instead(node, place)
    make(place)
    (finding,) = installation.check(Checked(Host(str(node.root))))
    assert f"/{path} {said}" in finding.evidence
    words = shlex.join(["mv", str(place), f"{place}.old"])
    assert finding.next_step == f"{words} && pyshimctl install --host-root {node.root}"


@pytest.mark.parametrize(("path", "make", "said"), IN_THE_WAY)
def test_uninstall_does_all_or_nothing(node: Node, path: str, make: Make, said: str) -> None:
    place = node.root / path
    instead(node, place)
    make(place)
    before = node.listing()
    result = node.call("uninstall")
    if said == THEIRS:
        assert (result.exit_code, place.name in " ".join(node.listing())) == (0, True)
    else:
        assert f"/{path} {said}" in result.stderr
        assert (result.exit_code, node.listing()) == (1, before)


def test_what_was_moved_away_before_stays(node: Node) -> None:
    place = node.root / "usr/local/bin/pyshim"
    place.parent.mkdir(parents=True)
    a_file(place)
    a_file(place.with_name("pyshim.old"))
    assert f"mv {place} {place}.old1, or" in node.call("install").stderr


def test_more_than_one(node: Node) -> None:
    folder = node.root / "usr/local/bin"
    folder.mkdir(parents=True)
    a_file(folder / "pyshim")
    a_file(folder / "pyshimctl")
    assert node.call("install").stderr == (
        f"pyshimctl: /usr/local/bin/pyshim {THEIRS}, /usr/local/bin/pyshimctl {THEIRS}\n"
        f"hint: mv {folder}/pyshim {folder}/pyshim.old"
        f" && mv {folder}/pyshimctl {folder}/pyshimctl.old, or choose another --prefix\n"
    )


def test_a_configuration_that_is_no_file_is_a_persons(node: Node) -> None:
    (node.root / "etc/pyshim/config.toml").mkdir(parents=True)
    node.install()
    assert node.call("install", "--check").exit_code == 0
    assert (node.root / "etc/pyshim/config.toml").is_dir()


@pytest.mark.parametrize("home", [HOME, "srv/all"], ids=["beside ours", "where a link leads"])
def test_what_else_lies_beside_the_versions_stays(node: Node, static: Path, home: str) -> None:
    """A clone, or the folder that an administrator keeps it all in."""
    theirs = node.root / home / "theirs/file"
    theirs.parent.mkdir(parents=True)
    a_file(theirs)
    if home != HOME:
        (node.root / HOME).parent.mkdir(parents=True)
        (node.root / HOME).symlink_to("/srv/all")
    for version in range(3):
        static.write_text(f"version {version}\n")
        node.install()
    assert len([one for one in node.listing() if one.startswith(f"{home}/0")]) == 2 * 5
    told = node.call("uninstall", "--dry-run").output
    assert f"keep /{HOME}, where theirs is not ours\n" in told
    assert node.uninstall() == told
    assert [one for one in node.listing() if one.startswith(home)] == [
        home, f"{home}/theirs", f"{home}/theirs/file"
    ]  # fmt: skip
