"""Hooks that pyshim does not know, with children of every kind: the timeout holds, nothing hangs."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

LIMIT = 40
TIMEOUT = 2
CHILDREN = [
    pytest.param("sleep 100 &", id="a child with the pipes"),
    pytest.param("setsid sleep 100 &", id="in a session of its own"),
    pytest.param("(setsid sh -c 'sleep 100 &' &)", id="forked twice"),
    pytest.param("sh -c 'kill -STOP $$; sleep 100' &", id="stopped"),
    pytest.param("sleep 100 >/dev/null &", id="closes stdout alone"),
    pytest.param("sleep 100 2>/dev/null &", id="closes stderr alone"),
    pytest.param("sh -c 'trap \"\" TERM HUP INT; sleep 100; sleep 100' &", id="deaf to signals"),
]


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    """The one that waits for a hook's output (lowlevel/quirks.py)."""
    return lowlevels["runc"]


@pytest.fixture(name="executor", params=["runtime", "shim"])
def _executor(node: Node, request: pytest.FixtureRequest) -> str:
    name: str = request.param
    node.shim.configure({"hooks.executor": name, "hooks.timeout": 10})
    return name


def bundle_of(node: Node, busybox: Path, script: str, stage: str = "createContainer") -> Bundle:
    """A hook that takes its state and runs `script`."""
    args = ["vendor", "-c", f"cat >/dev/null; {script}"]
    hook: dict[str, Any] = {"path": "/bin/sh", "args": args, "timeout": TIMEOUT}
    return node.bundle(busybox, "true", hooks={stage: [hook]})


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.usefixtures("executor")
def test_a_child_that_stays_holds_nobody(node: Node, busybox: Path, child: str) -> None:
    begun = time.monotonic()
    result = node.shim.create(bundle_of(node, busybox, f"{child}\nexit 0"), node.container)
    assert result.returncode == 0, result
    assert time.monotonic() - begun < LIMIT


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.usefixtures("executor")
def test_the_timeout_holds(node: Node, busybox: Path, child: str) -> None:
    """And the log has one record that names the hook, the reason and what it said last."""
    begun = time.monotonic()
    bundle = bundle_of(node, busybox, f"{child}\necho the last words; kill -STOP $$; sleep 100")
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 1
    assert TIMEOUT <= time.monotonic() - begun < LIMIT
    errors = [
        line.split(" ", 2)[2] for line in node.shim.warnings.splitlines() if " error " in line
    ]
    reason = (
        f"createContainer hook sh failed: still running after {TIMEOUT} s, killed: the last words"
    )
    assert errors == [f"container {node.container}: {reason}"]


@pytest.mark.parametrize("stage", ["prestart", "createRuntime"])
def test_the_stages_outside_of_the_container(node: Node, busybox: Path, stage: str) -> None:
    bundle = bundle_of(node, busybox, "setsid sleep 5 & sleep 100", stage)
    begun = time.monotonic()
    assert node.shim.create(bundle, node.container).returncode in {1, 255}  # crun has both
    assert TIMEOUT <= time.monotonic() - begun < LIMIT
    assert f"{stage} hook sh failed: still running after {TIMEOUT} s, killed" in node.shim.warnings
    time.sleep(5)  # for the child: it is no process of a container


def test_why_a_hook_failed_is_in_the_own_log(node: Node, busybox: Path, executor: str) -> None:
    """And its status in the runtime's error."""
    bundle = bundle_of(node, busybox, "echo out; echo no such firmware >&2; exit 7")
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 1
    assert executor == "shim" or re.search(r"exit (status|code:) 7", result.stderr), result
    reason = "createContainer hook sh failed: exit status 7: no such firmware"
    assert node.shim.warnings.count(f" error container {node.container}: {reason}\n") == 1


def test_what_the_runtime_gives_a_hook_it_still_has(node: Node, busybox: Path) -> None:
    """State, arguments, environment, folder and umask as without the guard."""
    out = [node.folder / name for name in ("bare", "guarded")]
    script = 'cat >"$OUT.state"; { echo "$0 $*"; pwd; umask; env | sort; } >"$OUT"'
    bundle = node.bundle(busybox, "true")
    for file, native in zip(out, (False, True), strict=True):
        node.shim.configure({"hooks.native": native})
        env = ["A=1", "B=x=y", "PATH=/bin:/usr/bin", f"OUT={file}"]
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "a b", ""], "env": env}
        bundle.write({**bundle.spec, "hooks": {"createContainer": [hook]}})
        assert node.shim.create(bundle, node.container).returncode == 0
        guard = bundle.spec["hooks"]["createContainer"][0]["args"][1] == "guard"
        assert guard == native
        node.shim.delete(node.container)
    bare, guarded = (file.read_text().replace(str(file), "OUT") for file in out)
    assert guarded.replace("OUT.guarded", "OUT") == bare
    states = [(node.folder / f"{name}.state").read_text() for name in ("bare", "guarded")]
    assert '"status"' in states[0]
    assert states[1].count('"status"') == 1
