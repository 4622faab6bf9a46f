"""`install --dry-run`, `uninstall --dry-run`: the same lines as without it, and nothing is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.admin.installing import CONFIG, HOME, Node

if TYPE_CHECKING:
    from pathlib import Path


def nothing(node: Node, static: Path) -> None:
    """A new machine."""


def the_same(node: Node, static: Path) -> None:
    node.install()


def another_version(node: Node, static: Path) -> None:
    node.install()
    static.write_text("version 2\n")


def a_lost_link(node: Node, static: Path) -> None:
    node.install()
    (node.root / "usr/local/bin/pyshim-hook").unlink()


def damaged(node: Node, static: Path) -> None:
    node.install()
    (node.root / HOME / node.current / "bin/pyshim").write_text("")


def not_executable(node: Node, static: Path) -> None:
    node.install()
    (node.root / HOME / node.current / "bin/pyshim").chmod(0o600)


def edited(node: Node, static: Path) -> None:
    node.install()
    (node.root / CONFIG).write_text("hooks.timeout = 3\n")


def a_third_version(node: Node, static: Path) -> None:
    another_version(node, static)
    node.install()
    static.write_text("version 3\n")


def a_lost_link_beside_the_version_before(node: Node, static: Path) -> None:
    another_version(node, static)
    a_lost_link(node, static)


STATES = [
    nothing, the_same, another_version, a_lost_link, damaged, not_executable, edited,
    a_third_version, a_lost_link_beside_the_version_before,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_install(node: Node, static: Path, state: object) -> None:
    state(node, static)  # type: ignore[operator]
    before = node.listing()
    told = node.install("--dry-run")
    assert node.listing() == before
    assert sorted(told.splitlines()) == sorted(node.install().splitlines())
    assert node.install("--dry-run") == "nothing to do\n"


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("words", [[], ["--purge"]], ids=["", "purge"])
def test_uninstall(node: Node, static: Path, state: object, words: list[str]) -> None:
    state(node, static)  # type: ignore[operator]
    (node.root / "run/pyshim").mkdir(parents=True)
    before = node.listing()
    told = node.uninstall("--dry-run", *words)
    assert node.listing() == before
    assert told == node.uninstall(*words)


def test_as_json(node: Node) -> None:
    told = json.loads(node.install("--dry-run", "--json"))
    assert (told["dry_run"], told["done"][-1]) == (True, f"write /{CONFIG}")
    assert not (node.root / CONFIG).exists()


def test_what_install_refuses(node: Node) -> None:
    node.program("usr/local/bin/pyshim", "echo somebody else's")
    result = node.call("install", "--dry-run")
    assert result.exit_code == 1
    assert "is there and not ours" in result.output
