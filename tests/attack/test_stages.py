"""Hooks of every stage, put there by the engine, a CDI spec or anybody: none gets a foreign environment.

CVE-2025-23266 in all its places: the image's variables reach createContainer hooks on runc before
1.3; the engine's own, containerd's LD_LIBRARY_PATH with an empty element for one, reach the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Node

pytestmark = pytest.mark.root

IMAGE = ["LD_PRELOAD=/poc.so", "LD_LIBRARY_PATH=/proc/self/cwd", "PYTHONPATH=/", "BASH_ENV=/evil"]
ENGINE = {"LD_LIBRARY_PATH": "/opt/containerd/lib:", "PYTHONSTARTUP": "/evil", "ENV": "/evil"}


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer", "poststart"])
def test_t6_t11_every_stage(node: Node, busybox: Path, stage: str) -> None:
    """Without `env`, and with an empty one, which runc takes for none."""
    bundle = node.bundle(busybox, "sleep 0.1")
    spec = bundle.spec
    outs = [node.folder / "none", node.folder / "empty"]
    spec["hooks"] = {stage: [_tell(outs[0]), {**_tell(outs[1]), "env": []}]}
    spec["process"]["env"] += IMAGE
    bundle.write(spec)
    node.shim.environment |= ENGINE
    result = node.run(bundle)
    assert result.returncode == 0, result
    for out in outs:
        found = out.read_text().split()
        assert all(line.startswith(("PATH=", "PWD=")) for line in found), found
        assert any(line.startswith("PATH=/") for line in found), found


def _tell(out: Path) -> dict[str, object]:
    script = f"cat > /dev/null; tr '\\0' '\\n' < /proc/self/environ > {out}"
    return {"path": "/bin/sh", "args": ["sh", "-c", f"{script}; /bin/true"]}
