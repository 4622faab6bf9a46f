"""Devices of the engine's whose name on the host is another, where nobody makes nodes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.cache import Cache
from ocishim.create import renamed
from ocishim.settings import config, defaults

if TYPE_CHECKING:
    from pathlib import Path

ZERO = {"path": "/dev/acme0", "type": "c", "major": 1, "minor": 5}
GONE = (
    "device node /dev/acme0 is {} in config.json and not on this host: in a user namespace the "
    "container gets what the host has at that path, or does not start"
)


@pytest.mark.parametrize(
    ("device", "told", "warning"),
    [
        pytest.param(ZERO, ["device node /dev/acme0: a mount of /dev/zero"], "", id="of the spec"),
        pytest.param({**ZERO, "minor": 3}, [], GONE.format("c 1:3"), id="another device"),
        pytest.param({**ZERO, "type": "b"}, [], GONE.format("b 1:5"), id="another type"),
        pytest.param({**ZERO, "path": "/dev/zero"}, [], "", id="the host's name"),
        pytest.param({**ZERO, "path": "/dev/null"}, ["device node /dev/null: a mount of /dev/zero"],
                     "", id="the host has another one there"),
        pytest.param({"path": "/dev/fifo", "type": "p"}, [], "", id="no device"),
        pytest.param(5, [], "", id="no object"),
    ],
)  # fmt: skip
def test_bound(tmp_path: Path, device: Any, told: list[str], warning: str) -> None:
    nodes = [{"path": path, "hostPath": "/dev/zero"} for path in ("/dev/acme0", "/dev/null")]
    edits = {"deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/full"}, *nodes]}
    document = {"cdiVersion": "0.5.0", "kind": "acme.com/gpu",
                "devices": [{"name": "0", "containerEdits": edits}]}  # fmt: skip
    (tmp_path / "acme.json").write_text(json.dumps(document))
    values = {**defaults.DEFAULTS, "cdi.spec_dirs": [os.fspath(tmp_path)]}
    chosen = config.Config(values, "/c.toml", Cache("/dev/null/nowhere"))
    changes, warnings = renamed.bound({"linux": {"devices": [device]}}, chosen)
    assert [change.describe() for change in changes] == told
    assert warnings == ([warning] if warning else [])
