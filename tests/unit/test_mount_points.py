"""Which mount point a rootfs lacks: by the links of the image, below other mounts, under gVisor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocishim.rootfs import readonly
from tests.trees import make_tree

TREE = (
    "file opt/tool x", "dir run/folder", "symlink var/run /run", "symlink gone /nowhere/at/all",
    "symlink up ../../../../opt", "symlink loop loop", "dir data",
)  # fmt: skip
TMPFS = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
BIND = {"destination": "/data/", "type": "bind", "source": "/srv"}


@pytest.mark.parametrize(
    ("places", "lacking"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["/opt/tool", "/run/folder"], "", id="there"),
        pytest.param(["/opt/tool", "/opt/other", "/opt/third"], "/opt/other", id="the first"),
        pytest.param(["/var/run/folder"], "", id="by a link"),
        pytest.param(["/up/tool"], "", id="by a link that stays in the root"),
        pytest.param(["/gone"], "/gone", id="a link to nothing"),
        pytest.param(["/loop/a"], "/loop/a", id="a link to itself"),
        pytest.param(["/opt/tool/below"], "/opt/tool/below", id="below a file"),
        pytest.param(["/data/a"], "", id="below a bind"),
        pytest.param(["/database"], "/database", id="beside a bind"),
        pytest.param(["/tmp/a/b"], "", id="below a tmpfs"),
    ],
)
@pytest.mark.parametrize("root", [None, "/"], ids=["", "a mount at the root"])
def test_lacking(tmp_path: Path, places: list[str], lacking: str, root: str | None) -> None:
    tree = make_tree(tmp_path / "root", *TREE)
    at_root = [{"destination": root, "type": "bind"}] if root else []
    spec = {"mounts": [TMPFS, BIND, *at_root]}
    assert readonly.lacking(str(tree), spec, places, own_root=False) == lacking


@pytest.mark.parametrize(("place", "lacking"), [("/tmp/a", "/tmp/a"), ("/data/a", "")])
def test_gvisor_binds_on_the_rootfs(tmp_path: Path, place: str, lacking: str) -> None:
    tree = make_tree(tmp_path / "root", *TREE)
    assert readonly.lacking(str(tree), {"mounts": [TMPFS, BIND]}, [place], own_root=True) == lacking


@pytest.mark.parametrize("spec", [{}, {"mounts": None}, {"mounts": [{}]}], ids=str)
def test_a_spec_without_mounts(tmp_path: Path, spec: dict[str, Any]) -> None:
    tree = make_tree(tmp_path / "root", *TREE)
    assert readonly.lacking(str(tree), spec, ["/x"], own_root=False) == "/x"
