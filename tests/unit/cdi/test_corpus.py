"""The recorded verdicts of the CDI reference, replayed through our driver."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from typing import Any

import pytest

from ocishim.cdi import hostdev
from tests.unit.cdi import corpus

PUBLIC = corpus.records("public")
CATEGORIES = collections.defaultdict(list)
for _case in PUBLIC:
    CATEGORIES[_case["category"]].append(_case)


@pytest.fixture(scope="module")
def driver() -> Any:
    return corpus.load_driver()


def answer_with(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the host have the device nodes of the host that recorded the case."""
    real = hostdev.stat

    def stat(path: str) -> hostdev.HostDevice:
        node = nodes.get(path)
        if node is None:
            return real(path)
        return hostdev.HostDevice(node["type"], node["major"], node["minor"], node["mode"])

    monkeypatch.setattr(hostdev, "stat", stat)


@pytest.mark.parametrize("category", sorted(CATEGORIES))
def test_injection(category: str, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {}
    for case in CATEGORIES[category]:
        with monkeypatch.context() as patch:
            answer_with(case["host_nodes"], patch)
            inputs = {key: case[key] for key in ("name", "spec_dirs", "oci_in", "devices")}
            result = driver.answer(json.loads(json.dumps(inputs)))
        differences = corpus.injection_differences(case, result)
        if differences:
            wrong[case["name"]] = differences
    assert wrong == {}


def test_every_case_is_replayed() -> None:
    assert sum(map(len, CATEGORIES.values())) == len(PUBLIC) == 624


@pytest.mark.parametrize(
    "question",
    [
        "parse_qualified_name",
        "parse_device",
        "parse_qualifier",
        "validate_vendor",
        "validate_class",
        "validate_device",
    ],
)
def test_names(question: str, driver: Any) -> None:
    records = corpus.records("names-public")
    answers = {r["input"]: driver.answer({"op": question, "input": r["input"]}) for r in records}
    assert answers == {r["input"]: r[question] for r in records}


def test_annotations(driver: Any) -> None:
    for record in corpus.records("annotations-public"):
        result = driver.answer(record)
        # The reference goes through a map: any of its recorded orders is right.
        expected = record["result"].get("outcomes", [record["result"]])
        assert result in expected, record


def test_minimum_versions(driver: Any) -> None:
    for record in corpus.records("minversion-public"):
        result = driver.answer(record)
        assert result == {key: record[key] for key in result}, record["name"]


def test_verdicts_on_spec_texts(driver: Any) -> None:
    for record in corpus.records("schema-public"):
        result = driver.answer(record)
        assert result["read_valid"] == record["read_valid"], record["name"]
        assert result["schema_valid"] == record["schema_valid"], record["name"]
        assert (result["parse_spec"] is None) == (record["parse_spec"] is None), record["name"]
        expected = record.get("read_spec") or ""
        if expected.startswith("invalid CDI Spec"):
            assert result["read_spec"] == expected, record["name"]


def test_driver_streams() -> None:
    path = corpus.ROOT / "conformance" / "adapters" / "ocishim.py"
    cases = [r for r in PUBLIC if not r["host_nodes"]][:2]
    cases.append({"op": "validate_class", "input": "a b"})
    lines = "\n".join(json.dumps(case) for case in cases)
    run = subprocess.run(
        [sys.executable, path, "--stream"], input=lines, capture_output=True, text=True, check=True
    )
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [
        corpus.injection_differences(*pair) for pair in zip(cases[:2], results[:2], strict=True)
    ] == [[], []]
    assert results[2] == {"error": "invalid class. invalid character ' ' in name \"a b\""}
