"""The benchmark's arithmetic, and what it writes into the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import document, report
from bench.case import Growth, Row
from bench.document import DOCUMENT, PARTS, replaced
from bench.paired import Sample, added, summary, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW = Row("create", "create", 0.5)


def test_every_side_meets_every_neighbour_and_begins() -> None:
    orders = [turns(3, number) for number in range(6)]
    assert orders == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2]]


def test_summary() -> None:
    assert summary([4, 1, 2, 3, 5]) == {
        "median": 3,
        "min": 1,
        "quarter": 1.5,
        "three_quarters": 4.5,
    }


def test_added_is_pair_by_pair_and_its_minimum_is_of_minima() -> None:
    values = {"one": [12.0, 30.0, 14.0], "base": [10.0, 20.0, 9.0]}
    assert added(values, "one", "base")["median"] == 5
    assert added(values, "one", "base")["min"] == 3


def samples(**sides: Sequence[float]) -> dict[str, list[Sample]]:
    return {name: [Sample(wall) for wall in walls] for name, walls in sides.items()}


@pytest.mark.parametrize(
    ("pyshim", "words"),
    [
        pytest.param(5, "ok", id="at the goal"),
        pytest.param(6, "MISSED", id="not reached"),
    ],
)
def test_verdict(pyshim: float, words: str) -> None:
    row = ROW.result(samples(bare=[1], pyshim=[1 + pyshim], peer=[11]))
    assert row["score"] == pyshim / 10
    assert report.verdict(row) == words


def test_without_a_peer() -> None:
    row = ROW.result(samples(bare=[1], pyshim=[3]))
    assert report.cell(row) == "2.00 ms"
    assert report.verdict(row) == "no peer: pyshim's own number"


def test_growth() -> None:
    sides = samples(**{"1": [10, 20], "9": [15, 30]})
    more = Growth(Row("more", "more", 5), "9", "1").result(sides)
    assert more["score"] == 7.5
    assert report.verdict(more) == "MISSED"
    times = Growth(Row("times", "times", 1.5), "9", "1", times=True).result(sides)
    assert times["score"] == 1.5
    assert report.verdict(times) == "ok"


def test_a_part_of_the_document_is_replaced() -> None:
    text = "a\n<!-- x: made -->\nold\n<!-- end -->\n<!-- y: made -->\nstays\n<!-- end -->\n"
    new = "a\n<!-- x: made -->\n\nnew\n\n<!-- end -->\n<!-- y: made -->\nstays\n<!-- end -->\n"
    assert replaced(text, "x", "new\n") == new
    assert replaced(new, "x", "new\n") == new
    with pytest.raises(ValueError, match="no part 'z'"):
        replaced(text, "z", "")


@pytest.mark.parametrize("name", PARTS)
def test_the_document_has_the_part(name: str) -> None:
    assert replaced(DOCUMENT.read_text(), name, "").count("<!-- end -->") == len(PARTS)


def test_a_table() -> None:
    assert document.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
