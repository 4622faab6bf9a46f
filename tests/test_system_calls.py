"""What each hot path of the static file asks of the kernel, and of processes (make test-binary).

strace(1) counts, children and the runtime's own included: /bin/true makes 29 calls. The limits leave
about a tenth for another libc or kernel; whoever needs more says so here, and why in the commit
message. Times are the benchmark's business.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import DATA, need
from tests.probe import Box, oci
from tests.test_startup import (
    DEVICE,
    HOOK,
    LDCACHE,
    LIBRARIES,
    STANDARD,
    by_pyshim,
    chain,
    fill,
    loaded,
    ours,
    processes,
    settle,
)
from tools.lab import driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.lab.compiler import Compiler


@pytest.fixture(name="box")
def _box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="pyshim-", dir="/tmp") as folder:
        yield fill(Path(folder))


class Stub:
    """In place of the lab's compiler: hooks meet these libraries' links only."""

    def library(self, _soname: str) -> Path:
        return DATA / "README.md"


def dgx(box: Box) -> Path:
    """Let the bundle `dgx` ask for all of a node with two GPUs: 5 nodes, 26 mounts, six hooks."""
    text = driver.text_of(DATA / "nvidia-dgx-a100.yaml", box.folder / "driver")
    compiler: Compiler = Stub()  # type: ignore[assignment]
    driver.build(text, compiler)
    box.add_spec("nvidia.yaml", text)
    settle()
    asking = oci(annotations={"cdi.k8s.io/x": "nvidia.com/gpu=all"})
    box.bundle(asking, "first")
    assert box.call("create", "--bundle", "first", "c").status == 0  # compiles the spec
    return box.bundle(asking, "dgx")


def fused(box: Box) -> list[str]:
    """The one hook that pyshim left in the bundle `dgx`."""
    hooks = json.loads((box.folder / "dgx/config.json").read_bytes())["hooks"]["createContainer"]
    assert [hook["args"].count("--next") for hook in hooks] == [5]
    return [str(box.bin / "pyshim-hook"), *hooks[0]["args"][1:]]


def calls(box: Box, *command: str) -> int:
    """How many system calls `command` and its children make."""
    trace = box.folder / "calls"
    subprocess.run(
        [need("strace"), "-c", "-f", "-o", str(trace), *command], env=box.environment(),
        cwd=box.folder, input="{}", capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split() for line in trace.read_text().splitlines()]
    return sum(int(row[3]) for row in rows if row and row[0][0].isdigit() and row[-1] != "total")


@pytest.mark.binary
@pytest.mark.parametrize("line", [
    pytest.param("state c", id="state"),
    pytest.param("--root /r --log /l start c", id="start"),
    pytest.param("kill c 9", id="kill"),
    pytest.param("delete --force c", id="delete"),
])  # fmt: skip
def test_pass_through(box: Box, line: str) -> None:
    assert 0 < calls(box, str(box.pyshim), *line.split()) <= 62


@pytest.mark.binary
@pytest.mark.parametrize(("bundle", "limit"), [
    pytest.param("plain", 100, id="without devices"),
    pytest.param("device", 240, id="with a device"),
    pytest.param("again", 225, id="again"),
])  # fmt: skip
def test_create(box: Box, bundle: str, limit: int) -> None:
    line = ["create", "--bundle", bundle, "c"]
    assert 0 < calls(box, str(box.pyshim), *line) <= limit


@pytest.mark.binary
def test_one_hook(box: Box) -> None:
    state = box.folder / "state.json"
    state.write_text(json.dumps({"bundle": f"{box.folder}/device"}))
    words = ["create-symlinks", "--container-spec", str(state), "--link", "a::/b"]
    hook = str(box.bin / "pyshim-hook")
    assert 0 < calls(box, hook, *words) <= 130
    assert (box.folder / "device/rootfs/b").is_symlink()


@pytest.mark.binary
def test_a_link_more(box: Box) -> None:
    """What each further link of a chain costs."""

    def links(count: int, folder: str) -> int:
        words = [word for n in range(count) for word in ("--link", f"a::/{folder}/l{n}")]
        (box.folder / "device/rootfs" / folder).mkdir()
        return calls(box, str(box.bin / "pyshim-hook"), *chain(box, "create-symlinks", *words))

    few, many = links(10, "few"), links(60, "many")
    assert (box.folder / "device/rootfs/many/l59").is_symlink()
    assert 0 < (many - few) / 50 <= 7


@pytest.mark.binary
@pytest.mark.root
def test_a_chain_with_libraries(box: Box) -> None:
    """With ldconfig, its sandbox, and what ldconfig itself does in an empty rootfs."""
    hook = str(box.bin / "pyshim-hook")
    assert 0 < calls(box, hook, *chain(box, *LIBRARIES)) <= 340


@pytest.mark.binary
@pytest.mark.root
def test_six_hooks(box: Box) -> None:
    """Two GPUs and a vendor's six hooks: one process for create, one for them, one for ldconfig."""
    dgx(box)
    line = ["create", "--bundle", "dgx", "c"]
    assert 0 < calls(box, str(box.pyshim), *line) <= 275
    again = processes(box, str(box.pyshim), *line)
    assert again == (["pyshim", "true"], 0)
    hook = fused(box)
    # Each library that CDI mounts is shown to ldconfig by itself: eight calls, and there are 15.
    assert 0 < calls(box, *hook) <= 630
    assert processes(box, *hook, stdin="{}") == (["pyshim-hook"], 1)
    assert (box.folder / "dgx/rootfs/etc/ld.so.cache").exists()


@pytest.mark.clone
@pytest.mark.root
def test_modules_of_six_hooks(box: Box) -> None:
    dgx(box)
    found = by_pyshim(box, "create", "--bundle", "dgx", "c")
    assert ours(found) == DEVICE
    assert found - DEVICE <= STANDARD | {"_json"}
    found = loaded(box, *fused(box), stdin="{}")
    expected = HOOK | LDCACHE | {
        "ocishim.hooks.create_symlinks", "ocishim.hooks.disable_device_node_modification",
        "ocishim.hooks.enable_cuda_compat", "ocishim.hooks.update_application_profile",
    }  # fmt: skip
    assert ours(found) == expected
    assert found - expected <= STANDARD | {"_ctypes", "_prctl", "fcntl", "select"}
