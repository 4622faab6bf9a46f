"""The CDI corpus: its records, the driver that answers them, and when an answer agrees."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "data" / "corpus"
# Classes whose texts are those of Go's libraries: the class is compared, not the text.
LIBRARY_CLASSES = {"yaml", "json-type", "unknown-field", "io"}


def records(name: str) -> list[dict[str, Any]]:
    """The records of one file of the corpus."""
    with open(FOLDER / f"{name}.jsonl", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def load_driver() -> Any:
    """The driver as a module (its name is the package's, so not by import)."""
    path = ROOT / "conformance" / "adapters" / "ocishim.py"
    spec = importlib.util.spec_from_file_location("corpus_driver", path)
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    return driver


def canon(value: Any, path: tuple[str, ...] = ()) -> Any:
    """`value` without what Go's omitempty drops, with what Go always writes."""
    if isinstance(value, list):
        return [canon(item, (*path, "*")) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, raw in value.items():
        item = canon(raw, (*path, key))
        empty = item is None or item == "" or (item in ([], {}) and key != "intelRdt")
        if not empty and (item is not False or key == "allow"):
            kept[key] = item
    if path == ("process",):
        kept = {"cwd": "", **kept, "user": {"uid": 0, "gid": 0, **kept.get("user", {})}}
    if path == ("linux", "devices", "*"):
        kept = {"major": 0, "minor": 0, **kept}
    if path == ("linux", "resources", "devices", "*"):
        kept = {"allow": False, **kept}
    return kept


def injection_differences(case: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """What differs between the recorded and the given result of an injection."""
    if case.get("panic"):
        return [] if result["error"] else ["the reference crashes here, and this succeeds"]
    differences = []
    for key in ("oci_out", "error", "known_devices"):
        expected, got = case[key], result[key]
        if key == "oci_out":
            expected, got = canon(expected), canon(got)
        if (expected or None) != (got or None):
            differences.append(f"{key}: {got!r}, expected {expected!r}")
    expected_errors = {entry["path"]: _comparable(entry) for entry in case["load_errors"] or ()}
    got_errors = {entry["path"]: _comparable(entry) for entry in result["load_errors"]}
    if expected_errors != got_errors:
        differences.append(f"load_errors: {got_errors!r}, expected {expected_errors!r}")
    return differences


def _comparable(entry: dict[str, Any]) -> list[str]:
    pairs = zip(entry["classes"], entry["errors"], strict=True)
    return sorted(kind if kind in LIBRARY_CLASSES else text for kind, text in pairs)
