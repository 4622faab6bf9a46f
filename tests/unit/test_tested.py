"""docs/tested.md's rows are written by tools/tested.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import tested

HEAD = f"# Page\n\n| a | b |\n{tested.BEGIN}"
TAIL = "\n## More\n| x | y |\n"
OLD = tested.row("test", "Debian 12", "runc 1.1", "1 passed", "2026-01-01")
OTHER = tested.row("test-sid", "Debian sid", "", "passed", "2026-01-03")


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        pytest.param([], OLD, [OLD], id="first"),
        pytest.param([OLD], OTHER, [OTHER, OLD], id="newest first"),
        pytest.param(
            [OTHER, OLD],
            tested.row("test", "Debian 12", "runc 1.2", "2 passed", "2026-01-02"),
            [OTHER, OLD.replace("1.1", "1.2").replace("1 p", "2 p").replace("-01 ", "-02 ")],
            id="replaced",
        ),
        pytest.param(
            [OLD],
            tested.row("test", "Debian 13", "", "passed", "2026-01-01"),
            [OLD.replace("12", "13").replace("runc 1.1", "").replace("1 p", "p"), OLD],
            id="another system",
        ),
    ],
)
def test_rows(before: list[str], line: str, after: list[str]) -> None:
    assert tested.put(HEAD + "".join(before) + TAIL, line) == HEAD + "".join(after) + TAIL


def test_a_page_without_a_table_is_not_written() -> None:
    with pytest.raises(ValueError, match="has no table"):
        tested.put("# Page\n", OLD)


def test_reports_are_added_up(tmp_path: Path) -> None:
    reports = []
    for number in (1, 2):
        report = tmp_path / f"{number}.xml"
        counts = f'tests="{number}0" failures="1" errors="{number}" skipped="2"'
        report.write_text(f"<testsuites><testsuite {counts}/></testsuites>")
        reports.append(report)
    assert tested.result(reports) == "21 passed, 5 failed, 4 skipped"


def test_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "tested.md"
    page.write_text(HEAD)
    monkeypatch.setattr(tested, "PAGE", page)
    monkeypatch.delenv("TESTED", raising=False)
    tested.main("test", [])
    assert page.read_text() == HEAD
    monkeypatch.setenv("TESTED", "yes")
    tested.main("test", [])
    assert "`make test`" in page.read_text()


def test_the_page_can_be_written() -> None:
    assert OLD in tested.put(tested.PAGE.read_text(), OLD)
