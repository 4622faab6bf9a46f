"""The short way for block YAML reads what the long way reads, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench import claims
from ocishim.cdi.document import blocktext, goscalars, yamlgo
from ocishim.cdi.document.jsontext import NotPlainError

DGX = Path(__file__).parents[2] / "data" / "nvidia-dgx-a100.yaml"
FRAME = "kind: {}\n"


def agree(text: str) -> bool:
    """Whether the short way takes `text`; if so, both ways must read the same."""
    data = text.encode()
    try:
        value = blocktext.load(data)
    except NotPlainError:
        return False
    try:
        long_way: Any = yamlgo.load(data)
    except goscalars.DialectError as e:
        long_way = e
    assert repr(value) == repr(long_way), text
    return True


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(claims.spec_text([claims.uid(7) + "-gpu-0"]), id="a claim"),
        pytest.param(DGX.read_text().replace("@DRIVER_ROOT@", "/run/driver"), id="DGX"),
        pytest.param("# made by acme\n\ncdiVersion: 0.6.0\nkind: 'a/b'\n", id="comment, quotes"),
        pytest.param('devices:\n-   name: "0"\n    containerEdits: {}\n', id="wide dash"),
        pytest.param("env: []\nhooks:\n  - args:\n    - --x=1\n    timeout: 7\n", id="nested"),
    ],
)
def test_what_writers_of_specs_write_is_taken(text: str) -> None:
    assert agree(text)


@pytest.mark.parametrize(
    "text",
    [
        "devices:\nkind: x\n", "containerEdits:\n  env:\nkind: x\n",
        "", "\n", "# nothing\n", "---\n", "kind", "kind:\n", "kind:x\n", " kind: x\n",
        "Kind: x\n", "unknown: x\n", "kind: x\nkind: x\n", "kind: x\n name: y\n",
        "kind:\n  name: x\n type: y\n", "kind: x\n  y\n", "kind: x\n...\n", "kind: x\n---\n",
        "kind: x\n- y\n", "- kind: x\n", "kind: x\ty\n", "kind: x\r\n", "kind: \u00e9\n",
        "env:\n- - x\n", "env:\n-\n", "env:\n- a: b\n", "env:\n- a:\n", "env:\n- x\n  y\n",
        "env:\n- x\nkind\n", "%YAML 1.1\n---\nkind: x\n", "{kind: x}\n", "annotations:\n  a: b\n",
    ],
)  # fmt: skip
def test_texts_that_are_left_to_the_long_way(text: str) -> None:
    assert not agree(text)


@pytest.mark.parametrize(
    "scalar",
    [
        "x", "/usr/bin/x", "0.6.0", "0", "7", "438", "195", "A=1", "yesterday", "--link", "'it is'",
        '"a # b"', "a#b", "a:b", "_x", "../lib.so::/usr/lib/x", "570.86.15", "{}", "[]", "+x=",
        "00000007-5f0c-4a51-9d0e-0123-gpu-0",
    ],
)  # fmt: skip
def test_scalars_that_are_taken(scalar: str) -> None:
    assert agree(FRAME.format(scalar))
    assert agree(f"env:\n- {scalar}\n")


@pytest.mark.parametrize(
    "scalar",
    [
        "y", "Yes", "ON", "off", "null", "~", "true", "NO", "1.5", "1e3", "0x1f", "010", "0o17",
        "1_000", "+1", "-1", ".5", ".inf", "-.inf", ".nan", "12:30:45", "2020-01-01", "0b1",
        "12345678901234567890", "089", "a: b", "a #b", "a:", "- a", "-", "? a", "&a b", "*a", "!x y",
        "|", ">", "[a]", "{a: b}", "@x", "%x", "`x", ",x", "'a''b'", "'a", '"a\\n"', '"a" b', "<<",
        "'", '"', "0.6.0.", "1.2.e",
    ],
)  # fmt: skip
def test_scalars_that_are_left_to_the_long_way(scalar: str) -> None:
    assert not agree(FRAME.format(scalar))


keys = st.sampled_from(["kind", "name", "env", "devices", "mounts", "unknown", "y"])
WORDS = """
    x 0 07 1.2.3 1_0 0x1f 12:30 -g --l A=1 ~ yes n 'q' 'a''b' "q" "\\" [] {} [x] a:b &a *a !t |
    - ? # #c .5 + 1e3 ... --- <<
"""
words = st.sampled_from(WORDS.split())
scalar_texts = st.lists(words, min_size=1, max_size=3).map(" ".join)
lines = st.tuples(
    st.sampled_from(["", " ", "  ", "    "]),
    st.sampled_from(["", "- ", "-  ", "- - "]),
    st.one_of(
        st.tuples(keys, st.sampled_from([":", ": ", ":  ", " : "]), scalar_texts | st.just("")),
        st.tuples(st.just(""), st.just(""), scalar_texts | st.just("")),
    ),
).map(lambda line: line[0] + line[1] + "".join(line[2]))


@settings(deadline=None)  # other work may have the machine
@given(st.lists(lines, max_size=8).map("\n".join))
@example("kind:\n- x\n- y\nname: 1")
@example("env:\n  - x\n - y")
def test_both_ways_agree_on_what_the_short_way_takes(text: str) -> None:
    agree(text)


@settings(deadline=None)  # other work may have the machine
@given(
    st.integers(0, 3000),
    st.sampled_from("\n -:#'\"[]{}y0.&*!|>\\\t") | st.just(""),
    st.integers(0, 3),
)
def test_both_ways_agree_on_damaged_claims(place: int, insert: str, cut: int) -> None:
    text = claims.spec_text(["a-gpu-0", "b"], mounts=4)
    place %= len(text)
    agree(text[:place] + insert + text[place + cut :])
