"""The conformance kit's own promises: a case for everything, and a mutant for every case.

What the cases find is tests/integration/test_conformance.py's.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "conformance"


def _table(*argv: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=KIT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def cases() -> list[list[str]]:
    return _table("run.py", "--list")


@pytest.fixture(scope="module")
def caught() -> dict[str, list[str]]:
    return {name: paths.split(", ") for name, paths in _table("mutant.py")}


def _kind(path: str) -> str:
    return path.partition("[")[0]


def test_there_are_enough_cases_and_each_has_one_name(cases: list[list[str]]) -> None:
    paths = [path for path, _, _ in cases]
    assert len(paths) >= 250
    assert len(paths) == len(set(paths))


def test_each_case_quotes_what_it_checks_and_where_it_is_written(cases: list[list[str]]) -> None:
    assert [path for path, must, source in cases if len(must) < 10 or len(source) < 5] == []


def test_each_kind_of_case_has_a_mutant(
    cases: list[list[str]], caught: dict[str, list[str]]
) -> None:
    proven = {_kind(path) for paths in caught.values() for path in paths}
    # runc before 1.2 fails these itself: expected.json.
    proven.add("hooks/poststop-failure")
    assert {_kind(path) for path, _, _ in cases} - proven == set()


def test_each_mutant_is_meant_for_cases_that_exist(
    cases: list[list[str]], caught: dict[str, list[str]]
) -> None:
    paths = {path for path, _, _ in cases}
    assert {name: set(its) - paths for name, its in caught.items() if set(its) - paths} == {}


def test_each_expected_failure_has_a_reason_and_a_case(
    cases: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(KIT))
    Case = importlib.import_module("kit.case").Case  # noqa: N806 - a class
    known = [Case(*path.split("/", 1), must, source, print) for path, must, source in cases]
    for entry in json.loads((KIT / "expected.json").read_text()):
        assert re.search(r"\w+ \w+ \w+", entry["reason"]), entry
        for pattern in entry["cases"]:
            assert any(case.matches(pattern) for case in known), pattern
