"""Hooks without an environment, put there by the engine, a CDI spec or anybody: whose they get.

CVE-2025-23266: the image's variables reach createContainer hooks on runc before 1.3. The other
stages run outside of the container; theirs is the engine's, which they may need (HOME,
XDG_RUNTIME_DIR), and never the image's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

IMAGE = ["LD_PRELOAD=/poc.so", "LD_LIBRARY_PATH=/proc/self/cwd", "PYTHONPATH=/", "BASH_ENV=/evil"]
ENGINE = {"HOME": "/root/of/the/engine", "XDG_RUNTIME_DIR": "/run/user/0"}


def test_t6_t11_create_container(node: Node, busybox: Path) -> None:
    for found in _environments(node, busybox, "createContainer"):
        assert all(line.startswith(("PATH=", "PWD=")) for line in found), found
        assert any(line.startswith("PATH=/") for line in found), found


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "poststart"])
def test_t6_t11_other_stages(node: Node, busybox: Path, stage: str) -> None:
    none, empty = (set(found) for found in _environments(node, busybox, stage))
    assert (none | empty).isdisjoint(IMAGE)
    assert {f"{name}={value}" for name, value in ENGINE.items()} <= none


def _environments(node: Node, busybox: Path, stage: str) -> list[list[str]]:
    """What two hooks of `stage` have: one without `env`, one with an empty one."""
    bundle = node.bundle(busybox, "sleep 0.1")
    spec = bundle.spec
    outs = [node.folder / "none", node.folder / "empty"]
    spec["hooks"] = {stage: [_tell(outs[0]), {**_tell(outs[1]), "env": []}]}
    spec["process"]["env"] += IMAGE
    bundle.write(spec)
    node.shim.environment |= ENGINE
    result = node.run(bundle)
    assert result.returncode == 0, result
    return [out.read_text().split() for out in outs]


def _tell(out: Path) -> dict[str, object]:
    script = f"/bin/cat > /dev/null; /usr/bin/tr '\\0' '\\n' < /proc/self/environ > {out}"
    return {"path": "/bin/sh", "args": ["sh", "-c", f"{script}; /bin/true"]}
