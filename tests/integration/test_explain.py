"""`pyshimctl explain` before and after the fact, and requests by environment and by volume mounts.

On real runc: what explain says of a container is compared with what the container got.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Node

pytestmark = [pytest.mark.root, pytest.mark.parametrize("lowlevel", ["runc"], indirect=True)]

KIND = "nvidia.com/gpu"
ASKED = {"cdi.k8s.io/test": f"{KIND}=0"}


def explain(node: Node, *words: str) -> dict[str, Any]:
    """Call pyshimctl as an administrator does; the story it tells."""
    path = f"{Path(node.shim.program).parent}:{node.shim.environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "ocishim.admin", "explain", "--json", *words],
        env={**node.shim.environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    story: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if story["error"] else 0), done.stderr
    return story


def test_before_and_after_the_fact(node: Node, busybox: Path) -> None:
    """The same story twice; what create did is there the second time."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(busybox, "ls /dev/nvidia0", annotations=ASKED)
    before = explain(node, str(bundle.path))

    assert node.shim.create(bundle, node.container).returncode == 0
    after = explain(node, "--container", node.container, "--root", str(node.shim.root))

    assert after["bundle"] == before["bundle"] == str(bundle.path)
    assert after["runtime"] == before["runtime"]
    edits = [step for step in before["steps"] if step.startswith(("device node", "mount", "env"))]
    assert len(edits) > 20
    assert [f"{step}: already in config.json" for step in edits] == [
        step for step in after["steps"] if step.startswith(("device node", "mount", "env"))
    ]
    assert before["result"].startswith("the low-level runtime gets config.json rewritten: ")
    assert after["result"] == "the low-level runtime gets config.json as it is"
    assert explain(node, "--container", node.container[:-1], "--root", str(node.shim.root)) == after


def test_the_debug_log_says_the_same(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure({"log.level": "debug"})
    bundle = node.bundle(busybox, "true", annotations=ASKED)
    story = explain(node, str(bundle.path))

    assert node.run(bundle).returncode == 0

    logged = iter(node.shim.warnings.splitlines())
    for step in story["steps"]:
        assert any(step in line for line in logged), step


def test_a_create_that_fails(node: Node, busybox: Path) -> None:
    """Its message is the one that the engine got."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(busybox, "true", annotations={"cdi.k8s.io/test": f"{KIND}=7"})
    story = explain(node, str(bundle.path))

    result = node.run(bundle)

    assert result.returncode == 1
    assert result.stderr == f"pyshim: {story['error']}\n"


ENV_TABLE = {"name": "NVIDIA_VISIBLE_DEVICES", "kind": KIND, "unprivileged": True}
SCRIPT = "ls /dev | grep 'nvidia[0-9]' || echo none"


def _node_of_requests(node: Node, settings: dict[str, object]) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    node.shim.configure(settings)


@pytest.mark.parametrize(
    ("settings", "value", "seen"),
    [
        pytest.param({}, "all", ["none"], id="off by default"),
        pytest.param({"requests.env": [ENV_TABLE]}, "1", ["nvidia1"], id="index"),
        pytest.param({"requests.env": [ENV_TABLE]}, "all", ["nvidia0", "nvidia1"], id="all"),
        pytest.param({"requests.env": [ENV_TABLE]}, "0, 1,0", ["nvidia0", "nvidia1"], id="twice"),
        pytest.param({"requests.env": [ENV_TABLE]}, "0-1", ["nvidia0", "nvidia1"], id="range"),
        pytest.param({"requests.env": [ENV_TABLE]}, "void", ["none"], id="void"),
        pytest.param(
            {"requests.env": [{**ENV_TABLE, "unprivileged": False}]},
            "all",
            ["none"],
            id="not privileged",
        ),
    ],
)
def test_requests_by_environment(
    node: Node,
    busybox: Path,
    settings: dict[str, object],
    value: str,
    seen: list[str],
) -> None:
    _node_of_requests(node, settings)
    bundle = node.bundle(busybox, SCRIPT)
    spec = bundle.spec
    spec["process"]["env"].append(f"NVIDIA_VISIBLE_DEVICES={value}")
    bundle.write(spec)

    result = node.run(bundle)

    assert (result.returncode, result.stdout.splitlines()) == (0, seen), result


def test_a_privileged_container_may_ask(node: Node, busybox: Path) -> None:
    """Without `unprivileged`: it could take the device anyway."""
    _node_of_requests(node, {"requests.env": [{**ENV_TABLE, "unprivileged": False}]})
    bundle = node.bundle(busybox, SCRIPT)
    spec = bundle.spec
    spec["process"]["env"].append("NVIDIA_VISIBLE_DEVICES=1")
    spec["process"]["capabilities"] = {"bounding": ["CAP_SYS_ADMIN"]}
    bundle.write(spec)

    result = node.run(bundle)

    assert (result.returncode, result.stdout.splitlines()) == (0, ["nvidia1"]), result


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        pytest.param({}, ["none"], id="off by default"),
        pytest.param({"requests.volume_mounts": True}, ["nvidia1"], id="on"),
    ],
)
def test_requests_by_volume_mounts(
    node: Node,
    busybox: Path,
    settings: dict[str, object],
    seen: list[str],
) -> None:
    _node_of_requests(node, settings)
    bundle = node.bundle(busybox, SCRIPT)
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/var/run/nvidia-container-devices/1",
            "type": "bind",
            "source": "/dev/null",
            "options": ["bind"],
        }
    )
    bundle.write(spec)

    result = node.run(bundle)

    assert (result.returncode, result.stdout.splitlines()) == (0, seen), result
