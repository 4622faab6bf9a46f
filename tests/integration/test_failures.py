"""What goes wrong, goes wrong before the low-level runtime runs, is said once, and leaves nothing."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

VENDOR = {"cdi.k8s.io/test": "vendor.com/device=0"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _add_hook(node: Node, script: str, **fields: object) -> None:
    # crun 1.8 fails with EPIPE when a hook ends before its state is written.
    read = f"cat >/dev/null; {script}"
    hook = {"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", read]}
    edits = {"hooks": [{**hook, **fields}]}
    device = {"name": "0", "containerEdits": edits}
    document = {"cdiVersion": "0.5.0", "kind": "vendor.com/device", "devices": [device]}
    node.shim.add_spec("vendor.json", json.dumps(document))


def _create_with_log(node: Node, bundle: Bundle) -> tuple[Result, str]:
    log = node.folder / "log.json"
    result = node.shim.call(
        "--log",
        str(log),
        "--log-format",
        "json",
        "create",
        "--bundle",
        str(bundle.path),
        node.container,
    )
    return result, log.read_text() if log.exists() else ""


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(
            "vendor.com/device=1",
            "pyshim: unresolvable CDI devices vendor.com/device=1: vendor.com/device has no device 1,"
            " nearest vendor.com/device=0; looked in {specs} (1 file) (run 'pyshimctl cdi list')",
            id="unknown device",
        ),
        pytest.param(
            "vendor.com/device",
            'pyshim: failed to parse CDI device annotations: invalid CDI device name "vendor.com/device"'
            " in annotation 'cdi.k8s.io/test'"
            " (write qualified names, vendor.com/class=name, separated by ',' without blanks)",
            id="malformed annotation",
        ),
    ],
)
def test_refused_before_the_runtime_runs(
    node: Node,
    busybox: Path,
    asked: str,
    message: str,
) -> None:
    """One record in --log, the same line on stderr, the bundle as it was, no container."""
    _add_hook(node, "true")
    bundle = node.bundle(busybox, "true", annotations={"cdi.k8s.io/test": asked})
    before = bundle.config.read_bytes()

    result, log = _create_with_log(node, bundle)

    expected = message.format(specs=node.shim.spec_dir)
    record = json.loads(log)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"{expected}\n"
    assert {"level": record["level"], "msg": record["msg"]} == {"level": "error", "msg": expected}
    assert RFC3339.fullmatch(record["time"])
    assert sorted(record) == ["level", "msg", "time"]
    assert bundle.config.read_bytes() == before
    assert node.shim.call("state", node.container).returncode == 1


def test_nothing_is_logged_on_success(node: Node, busybox: Path) -> None:
    _add_hook(node, "true")
    result, log = _create_with_log(node, node.bundle(busybox, "true", annotations=VENDOR))
    assert (result.returncode, result.stdout, result.stderr, log) == (0, "", "", "")


def test_failing_hook_leaves_no_container(node: Node, busybox: Path) -> None:
    _add_hook(node, "echo the vendor says no >&2; exit 3")
    result = node.shim.create(node.bundle(busybox, "true", annotations=VENDOR), node.container)
    assert result.returncode == 1
    assert "exit status 3" in result.stderr or "exit code: 3" in result.stderr
    assert node.shim.call("state", node.container).returncode == 1


@pytest.mark.parametrize("executor", ["runtime", "shim"])
def test_a_known_hooks_reason_is_in_the_own_log(node: Node, busybox: Path, executor: str) -> None:
    """Once, whoever runs it: crun shows a hook's stderr to nobody."""
    node.shim.configure({"hooks.executor": executor})
    args = ["nvidia-cdi-hook", "create-symlinks", "--link", "a::/etc"]
    hook = {"path": "/usr/bin/nvidia-cdi-hook", "args": args}
    bundle = node.bundle(busybox, "true", hooks={"createContainer": [hook]})
    assert node.shim.create(bundle, node.container).returncode == 1
    reason = "createContainer hook create-symlinks failed: /etc -> a: 'etc' is a directory"
    errors = [
        line.split(" ", 2)[2] for line in node.shim.warnings.splitlines() if " error " in line
    ]
    assert errors == [f"container {node.container}: {reason}"]


def test_missing_hook_program(node: Node, busybox: Path) -> None:
    _add_hook(node, "true", path="/nonexistent/vendor-hook")
    result = node.shim.create(node.bundle(busybox, "true", annotations=VENDOR), node.container)
    assert result.returncode == 1
    assert "/nonexistent/vendor-hook" in result.stderr


def test_hook_without_timeout_gets_the_settings(node: Node, busybox: Path) -> None:
    node.shim.configure({"hooks.timeout": 1})
    _add_hook(node, "exec sleep 300")
    begun = time.monotonic()
    result = node.shim.create(node.bundle(busybox, "true", annotations=VENDOR), node.container)
    assert result.returncode == 1
    if Path(node.shim.lowlevel).name == "runc":
        reason = "createContainer hook sh failed: still running after 1 s, killed"
        assert reason in node.shim.warnings
    else:
        # crun 1.8 says one or the other of its two, as its clock and the hook's death fall.
        reasons = ("timeout expired", "(exit code: -1)")
        assert any(reason in result.stderr for reason in reasons), result
    assert time.monotonic() - begun < 150


def test_hooks_do_not_see_the_images_environment(node: Node, busybox: Path) -> None:
    """CVE-2025-23266: runc before 1.3 gives a hook without env the container's, LD_PRELOAD too."""
    _add_hook(node, f"/usr/bin/env > {node.folder}/environment")
    bundle = node.bundle(busybox, "true", annotations=VENDOR)
    spec = bundle.spec
    spec["process"]["env"].append("FROM_THE_IMAGE=evil")
    bundle.write(spec)

    result = node.run(bundle)

    assert result.returncode == 0, result
    seen = (node.folder / "environment").read_text().splitlines()
    assert not [line for line in seen if line.startswith(("FROM_THE_IMAGE", "TERM", "LD_"))]


def test_hooks_run_in_order_in_the_rootfs_with_the_mounts(node: Node, busybox: Path) -> None:
    """An unknown hook between known ones sees what the first made, and not what the last makes."""
    node.add_spec("nvidia-dgx-a100.yaml", _with_a_hook_in_the_middle)
    bundle = node.bundle(busybox, "cat /seen", annotations={"cdi.k8s.io/x": "nvidia.com/gpu=0"})

    result = node.run(bundle)

    assert result.returncode == 0, result
    assert result.stdout.splitlines() == ["mounted: yes", "links: yes", "cache: no"]


def _with_a_hook_in_the_middle(document: dict[str, object]) -> None:
    script = """
        cd "$(sed -n 's/.*"bundle": *"\\([^"]*\\)".*/\\1/p')/rootfs"
        has() { if [ -e "$2" ] || [ -L "$2" ]; then echo "$1: yes"; else echo "$1: no"; fi; }
        { has mounted usr/bin/nvidia-smi; has links usr/lib/*/libcuda.so; has cache etc/ld.so.cache
        } > seen
    """
    hook = {"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", script]}
    edits = document["containerEdits"]
    assert isinstance(edits, dict)
    edits["hooks"].insert(2, hook)
