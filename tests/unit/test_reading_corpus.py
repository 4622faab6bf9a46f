"""What Go made of random texts and command lines, kept: `make test-reading` asks it of new ones."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.reading.run import CORPUS, fault_in_line, fault_in_reading

KEPT: dict[str, list[Any]] = json.loads(CORPUS.read_bytes())


def test_texts() -> None:
    pairs = [(base64.b64decode(text), go) for text, go in KEPT["specs"]]
    faults = [(text, fault_in_reading(text, go)) for text, go in pairs]
    assert [fault for fault in faults if fault[1]] == []
    assert sum("error" not in go for _, go in pairs) > 100


def test_lines() -> None:
    faults = [(line, fault_in_line(line, go)) for line, go in KEPT["lines"]]
    assert [fault for fault in faults if fault[1]] == []
    assert sum(go["command"] in ("create", "run", "restore") for _, go in KEPT["lines"]) > 50


@pytest.mark.parametrize(("given", "go", "fault"), [
    pytest.param(b'{"hooks":{}}', {"hooks": {"poststop": [{"path": "/a"}]}},
                 "another reader has {'hooks': {}}", id="text"),
    pytest.param(["state", "id"], {"command": "create", "error": "", "id": "id"},
                 "pyshim passes through", id="line"),
])  # fmt: skip
def test_a_difference_is_seen(given: Any, go: dict[str, Any], fault: str) -> None:
    found = fault_in_reading(given, go) if isinstance(given, bytes) else fault_in_line(given, go)
    assert found == fault
