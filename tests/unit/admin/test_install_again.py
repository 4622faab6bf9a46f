"""`pyshimctl install` where an earlier one was killed."""

from __future__ import annotations

import os
from pathlib import Path

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
