"""JSON without loss: the C way against the pure one, and both against the json package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim import jsonio
from ocishim.errors import DocumentError
from tests import words

if TYPE_CHECKING:
    from pathlib import Path

WAYS = ["C", "pure"]


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once with the C scanner and once as on a Python that has none."""
    if request.param == "pure":
        monkeypatch.setattr(jsonio, "_c", None)
    else:
        assert jsonio._c is not None, "CPython has _json"
    return str(request.param)


def both(data: bytes) -> list[Any]:
    """What each way makes of `data`: the value, or the message of the DocumentError."""
    results: list[Any] = []
    c = jsonio._c
    for module in (c, None):
        jsonio._c = module
        try:
            results.append(jsonio.loads(data, "f"))
        except DocumentError as err:
            results.append(str(err))
        finally:
            jsonio._c = c
    return results


def written(value: object) -> list[bytes]:
    """What each way writes for `value`."""
    c = jsonio._c
    results = []
    for module in (c, None):
        jsonio._c = module
        try:
            results.append(jsonio.dumps(value))
        finally:
            jsonio._c = c
    return results


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


def plain(value: Any) -> Any:
    """`value` with Numbers as floats, as the json package gives them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value.text) if isinstance(value, jsonio.Number) else value


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_any_document_is_what_json_says(value: Any, indent: Any, ascii_only: bool) -> None:  # noqa: FBT001
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if not ascii_only:
        data = data.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    by_c, by_python = both(data.encode())
    assert by_c == by_python
    assert plain(by_c) == json.loads(data)
    first, second = written(by_c)
    assert first == second
    assert plain(jsonio.loads(first, "f")) == json.loads(data)


@given(VALUES)
def test_writing_again_is_the_same_text(value: Any) -> None:
    """What was read and not changed is written back byte for byte."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "replace")
    assert written(jsonio.loads(data, "f")) == [data, data]


@settings(max_examples=300)
@given(st.binary() | st.text(alphabet='{}[]":,0123456789.eE+- \n\\utrnafls').map(str.encode))
def test_any_bytes_are_a_document_or_a_document_error(data: bytes) -> None:
    """Both ways agree whether it is JSON; and json does, where the text is UTF-8."""
    by_c, by_python = both(data)
    refused = isinstance(by_c, str) and by_c.startswith("f: not valid JSON: ")
    assert refused == (isinstance(by_python, str) and by_python.startswith("f: not valid JSON: "))
    if not refused:
        assert by_c == by_python
    try:
        text = data.decode()
        expected = json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return
    assert plain(by_c) == expected


KEPT = [
    pytest.param(b'{"a":1.0}', id="float with a zero"),
    pytest.param(b'{"a":1.50}', id="trailing zero"),
    pytest.param(b'{"a":1E3,"b":1e+03}', id="exponents"),
    pytest.param(b'{"a":-0,"b":-0.0}', id="minus zero"),
    pytest.param(b'{"a":18446744073709551615}', id="uint64"),
    pytest.param(b'{"a":-9223372036854775808}', id="int64"),
    pytest.param(b'{"a":340282366920938463463374607431768211456}', id="beyond 128 bits"),
    pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="longer than int() takes"),
    pytest.param(b'{"a":0.1000000000000000055511151231257827}', id="more digits than a double"),
    pytest.param(b'{"a":1e400}', id="beyond a double"),
    pytest.param(b'{"z":1,"a":2,"m":3}', id="key order"),
    pytest.param(b'{"a":{},"b":[],"c":"","d":null,"e":false,"f":0}', id="empty values"),
    pytest.param('{"é":"ü😀","a":"\u2028"}'.encode(), id="UTF-8"),
    pytest.param(b'{"a":"\xff\xfe","\x80":1}', id="bytes that are not UTF-8"),
    pytest.param(b'{"a":"\\u0000\\u001f\\"\\\\\\n"}', id="escapes that are needed"),
    pytest.param(b"[[[[[1]]]]]", id="nesting"),
    pytest.param(b"[" * 200 + b"]" * 200, id="the deepest nesting"),
    pytest.param(b"3", id="a number alone"),
    pytest.param(b'"x"', id="a string alone"),
]


@pytest.mark.parametrize("data", KEPT)
def test_kept_byte_for_byte(way: str, data: bytes) -> None:
    assert jsonio.dumps(jsonio.loads(data, "f")) == data


@pytest.mark.parametrize(("data", "expected"), [
    pytest.param(b' \n{ "a" : [ 1 , 2 ] }\t\r\n', b'{"a":[1,2]}', id="blanks go"),
    pytest.param(b'{"a":"\\u00e9\\/\\u0041"}', '{"a":"é/A"}'.encode(), id="needless escapes go"),
    pytest.param(b'{"a":"\\ud83d\\ude00"}', '{"a":"😀"}'.encode(), id="a surrogate pair is one"),
    pytest.param(b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}', id="the last of duplicates, as in Go"),
])  # fmt: skip
def test_same_value_in_fewer_bytes(way: str, data: bytes, expected: bytes) -> None:
    assert jsonio.dumps(jsonio.loads(data, "f")) == expected


HALVES = [
    pytest.param(rb"\ud800", "\ufffd", id="the first half"),
    pytest.param(rb"\udfff", "\ufffd", id="the second half"),
    pytest.param(
        rb"\udcc3\udca9", "\ufffd\ufffd", id="two second halves, bytes of UTF-8 to Python"
    ),
    pytest.param(rb"\ud83d\ude00", "\U0001f600", id="a pair"),
    pytest.param(rb"\uD83D\uDE00", "\U0001f600", id="a pair in capitals"),
    pytest.param(rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600", id="a half before a pair"),
    pytest.param(rb"\ud83d\ude00\ude00", "\U0001f600\ufffd", id="a half after a pair"),
    pytest.param(rb"\ud83dx\ude00", "\ufffdx\ufffd", id="a letter between"),
    pytest.param(rb"\ud83d\n\ude00", "\ufffd\n\ufffd", id="an escape between"),
    pytest.param(rb"\ud83d\u0041", "\ufffdA", id="a half before a letter's escape"),
    pytest.param(rb"\\ud800", "\\ud800", id="an escaped backslash and no escape"),
    pytest.param(rb"\\\ud800", "\\\ufffd", id="an escaped backslash before it"),
    pytest.param(rb"\ud83d\\ude00", "\ufffd\\ude00", id="an escaped backslash between"),
    pytest.param(rb"\u00d8\ud7ff\ue000", "\u00d8\ud7ff\ue000", id="next to them"),
    pytest.param(b"\\udcc3\xa9", "\ufffd\udca9", id="beside a byte that is not UTF-8"),
]


@pytest.mark.parametrize(("text", "value"), HALVES)
def test_half_a_surrogate_pair_is_what_go_reads(way: str, text: bytes, value: str) -> None:
    assert jsonio.loads(b'{"%s":["%s"]}' % (text, text), "f") == {value: [value]}


def test_half_a_pair_is_no_reason_to_take_a_broken_text(way: str) -> None:
    for text in (rb'"\ud8"', rb'"\ud80g"', rb'"\ud800', rb"\ud800"):
        with pytest.raises(DocumentError):
            jsonio.loads(text, "f")


REFUSED = [
    pytest.param(b"", "the document is empty", id="empty"),
    pytest.param(b" \n ", "the document is empty", id="blanks"),
    pytest.param(b'{"a":', "the document ends too early", id="value missing"),
    pytest.param(b'{"a":1', words.of_json(b'{"a":1'), id="end missing"),
    pytest.param(b'{"a"', words.of_json(b'{"a"'), id="colon missing"),
    pytest.param(b'{\n "a": x}', "expected a value, line 2 column 7", id="not a value"),
    pytest.param(b'{"a":1} x', "text after the document, line 1 column 8", id="text after"),
    pytest.param(b'{"a":1}{}', "text after the document, line 1 column 8", id="two documents"),
    pytest.param(b"\xef\xbb\xbf{}", "expected a value, line 1 column 1", id="byte order mark"),
    pytest.param(b'{"a":NaN}', "'NaN' is not a JSON value", id="NaN"),
    pytest.param(b"[-Infinity]", "'-Infinity' is not a JSON value", id="infinity"),
    pytest.param(b"[Infinity]", "'Infinity' is not a JSON value", id="plus infinity"),
    pytest.param(b'{"a":"\n"}', words.of_json(b'{"a":"\n"}'), id="control character"),
    pytest.param(b'"\\x"', words.of_json(b'"\\x"'), id="escape"),
    pytest.param(b"[" * 201 + b"]" * 201, "nested too deeply", id="too deep"),
    pytest.param(b'{"a":' * 201 + b"1" + b"}" * 201, "nested too deeply", id="objects too deep"),
    pytest.param(b"[" * 100_000, "nested too deeply", id="far too deep"),
    pytest.param(b"{'a':1}", words.of_json(b"{'a':1}"), id="Python"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_refused(data: bytes, reason: str) -> None:
    """The messages are the C scanner's; the pure one's differ in places between versions."""
    with pytest.raises(DocumentError) as caught:
        jsonio.loads(data, "/b/config.json")
    assert str(caught.value) == f"/b/config.json: not valid JSON: {reason}"
    assert isinstance(both(data)[1], str)


@pytest.mark.parametrize("engine", ["containerd", "docker", "podman"])
def test_truncated_anywhere_is_refused(data: Path, engine: str) -> None:
    """Every proper prefix of a real config.json is an error, never an exception of another kind."""
    whole = (data / "engines" / f"{engine}.config.json").read_bytes().rstrip()
    assert jsonio.loads(whole, "f") == json.loads(whole)
    for length in range(len(whole)):
        with pytest.raises(DocumentError, match=r"^f: not valid JSON: "):
            jsonio.loads(whole[:length], "f")


@pytest.mark.parametrize("engine", ["containerd", "docker", "podman"])
def test_an_engines_document_is_kept(way: str, data: Path, engine: str) -> None:
    whole = (data / "engines" / f"{engine}.config.json").read_bytes()
    again = jsonio.dumps(jsonio.loads(whole, "f"))
    assert json.loads(again, object_pairs_hook=list) == json.loads(whole, object_pairs_hook=list)


@pytest.mark.parametrize(
    "value",
    [{1}, object(), b"x", 1.5j, {"a": [{2}]}],
    ids=["set", "object", "bytes", "complex", "set inside"],
)
def test_what_is_no_json_value_is_an_error(way: str, value: object) -> None:
    with pytest.raises(TypeError, match="is not a JSON value"):
        jsonio.dumps(value)


def test_a_number_beside_what_is_no_value(way: str) -> None:
    with pytest.raises(TypeError, match="set is not a JSON value"):
        jsonio.dumps([jsonio.Number("1.0"), {1}])


def test_steps_grow_with_the_size() -> None:
    """Nothing quadratic: of twenty times the document, twenty times the calls and a few."""
    assert calls(2_000) <= 21 * calls(100)


def calls(members: int) -> int:
    """Return how many functions are called, Python's and C's, to read and write a document."""
    member = b'{"destination":"/some/where","options":["ro","nosuid"],"n":1.50}'
    data = b'{"a":[' + b",".join([member] * members) + b"]}"
    events: list[str] = []
    sys.setprofile(lambda _, event, __: events.append(event))
    try:
        written = jsonio.dumps(jsonio.loads(data, "f"))
    finally:
        sys.setprofile(None)
    assert written == data
    return sum(event.endswith("call") for event in events)


@pytest.mark.parametrize("data", ['{"a":1', '{"a" 1}', '"x', '["\\q"]', "{1:2}"])
def test_a_fault_where_nobody_imported_json(data: str) -> None:
    """Before 3.12 the C scanner then fails without an exception: SystemError."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from ocishim import errors, jsonio\n"
        "assert 'json' not in sys.modules\n"
        "try: jsonio.loads(sys.argv[2].encode(), 'f')\n"
        "except errors.DocumentError as err: print(err)"
    )
    library = os.path.dirname(os.path.dirname(jsonio.__file__))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, library, data],
                          capture_output=True, text=True, check=False)  # fmt: skip
    with pytest.raises(DocumentError) as caught:
        jsonio.loads(data.encode(), "f")
    assert (done.stdout, done.stderr) == (f"{caught.value}\n", "")


def test_copy_is_deep() -> None:
    value: dict[str, Any] = {"a": [{"b": [1, jsonio.Number("2.0")]}]}
    copied = jsonio.copy(value)
    assert copied == value
    copied["a"][0]["b"].append(3)
    assert value == {"a": [{"b": [1, jsonio.Number("2.0")]}]}
