"""Hooks that do not read a state that fits into no pipe, under crun: it writes without a timeout.

The state has the container's annotations. runc writes it beside what it waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

LONG = {f"a.com/{number}": "x" * 1000 for number in range(200)}
TIMES = 10  # bare crun 1.8.1 fails in one of five


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    return lowlevels["crun"]


def bundle_of(node: Node, busybox: Path, *words: str, **members: Any) -> Bundle:
    hook = {"path": words[0], "args": list(words), **members}
    return node.bundle(busybox, "true", hooks={"createContainer": [hook]}, annotations=LONG)


def test_a_hook_that_ends_before_it_is_written(node: Node, busybox: Path) -> None:
    bundle = bundle_of(node, busybox, "/bin/true")
    results = [node.run(bundle) for _ in range(TIMES)]
    assert [(one.returncode, one.stderr) for one in results] == [(0, "")] * TIMES


def test_the_timeout_of_one_that_stays_holds(node: Node, busybox: Path) -> None:
    bundle = bundle_of(node, busybox, "/bin/sleep", "100", timeout=1)
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 1
    reason = "createContainer hook sleep failed: still running after 1 s, killed"
    assert reason in node.shim.warnings
