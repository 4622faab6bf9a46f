"""YAML and JSON as the reference reads them, and values as Go decodes them."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from ocishim.cdi.document import document, goscalars, jsontext, yamlgo
from ocishim.cdi.document.document import CDISpecError
from tests import words

SPEC = "cdiVersion: 0.3.0\nkind: a.com/b\ndevices: [{name: d, containerEdits: {env: [A=b]}}]\n"
PLAIN = {
    "cdiVersion": "0.3.0",
    "kind": "a.com/b",
    "devices": [{"name": "d", "containerEdits": {"env": ["A=b"]}}],
}
ANCHORED = "containerEdits: &x {env: [A=b]}\n" + SPEC.replace("{env: [A=b]}", "{<<: *x}")
TAGGED = SPEC.replace("name: d", "name: !foo d").replace("[A=b]", "[!!binary QT1i]")


def read(text: str | bytes) -> dict[str, Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return document.load(data, "/etc/cdi/a.yaml")


def fault(text: str | bytes) -> CDISpecError:
    with pytest.raises(CDISpecError) as e:
        read(text)
    return e.value


def with_hook(**members: object) -> dict[str, Any]:
    hook = {"hookName": "prestart", "path": "/h", **members}
    device = {"name": "d", "containerEdits": {"hooks": [hook]}}
    return {"cdiVersion": "1.1.0", "kind": "a/b", "devices": [device]}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SPEC + "---\n{]", id="second document is garbage"),
        pytest.param(SPEC + "---\n" + "x" * 600 + "\0", id="not even text, further on"),
        pytest.param("---\n" + SPEC + "...\nrest", id="text after the end"),
        pytest.param("%YAML 1.1\n---\n" + SPEC, id="YAML 1.1"),
        pytest.param("\ufeff" + SPEC, id="byte order mark"),
        pytest.param(b"\xff\xfe" + SPEC.encode("utf-16-le"), id="UTF-16"),
        pytest.param(SPEC.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(SPEC.replace("kind", "KIND"), id="upper case key"),
        pytest.param(SPEC.replace("kind", "\u212aind"), id="KELVIN SIGN in a key"),
        pytest.param(SPEC.replace("devices", "device\u017f"), id="LONG S in a key"),
        pytest.param("# one\n" + SPEC.replace("\n", "\t# tab before it\n"), id="comments"),
        pytest.param(SPEC + "containerEdits:\n", id="null for an object"),
        pytest.param(SPEC + "annotations: ~\n", id="null for a map"),
        pytest.param(ANCHORED, id="merge key"),
        pytest.param(TAGGED, id="tags"),
        pytest.param(json.dumps(PLAIN), id="JSON"),
        pytest.param(json.dumps(PLAIN, indent="\t"), id="JSON with tabs"),
        pytest.param(json.dumps(PLAIN) + " garbage", id="JSON and text behind it"),
        pytest.param(json.dumps(PLAIN).replace("]}}]}", "],}},],}"), id="trailing commas"),
        pytest.param(json.dumps(PLAIN).replace('"', "'"), id="JSON with single quotes"),
    ],
)
def test_texts_that_are_one_spec(text: str | bytes) -> None:
    spec = read(text)
    spec.pop("containerEdits", None)
    assert spec == PLAIN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(SPEC + "kind: x\n", "line 4: key 'kind' already set in map", id="twice"),
        pytest.param('{"a": 1, "a": 1}', "line 1: key 'a' already set in map", id="twice in JSON"),
        pytest.param(
            "a: {1: x, 0x1: y}", "line 1: key '1' already set in map", id="twice as number"
        ),
        pytest.param(
            "a: &a {k: 1}\nb: {<<: *a, k: 2}",
            "line 2: key 'k' already set in map",
            id="merged twice",
        ),
        pytest.param(
            "a: {<<: 5}",
            "map merge requires map or sequence of maps as the value",
            id="merged scalar",
        ),
        pytest.param("%YAML 1.2\n---\n" + SPEC, "found incompatible YAML document", id="YAML 1.2"),
        pytest.param("a: *b", "unknown anchor 'b' referenced", id="unknown anchor"),
        pytest.param("a: &a [*a]", "anchor 'a' value contains itself", id="endless"),
        pytest.param("? [a]\n: b", "invalid map key: array", id="list as key"),
        pytest.param("~: b", "invalid map key: null", id="null as key"),
        pytest.param(
            "a:\n\t- b",
            words.of_yaml("a:\n\t- b") + ": a tab, and YAML indents by spaces",
            id="tab",
        ),
        pytest.param(
            "é: ü\na: [\tb",
            words.of_yaml("é: ü\na: [\tb"),
            id="tab that is not to blame",
        ),
        pytest.param('a: "\\/"', "line 1: found unknown escape character", id="solidus escape"),
        pytest.param("[a?b]", "line 1: did not expect '?' here", id="question mark in brackets"),
        pytest.param("a: !!int x", "cannot decode !!str `x` as a !!int", id="wrong tag"),
        pytest.param("a: !!binary QQ", "!!binary value contains invalid base64 data", id="base64"),
        pytest.param("[" * 5000, "line 1: nested too deeply", id="deep"),
        pytest.param("- " * 5000, "line 1: nested too deeply", id="deep in blocks"),
        pytest.param("[" * 200000, "line 1: nested too deeply", id="deep and long"),
        pytest.param('{"a":' * 100000, "line 1: nested too deeply", id="deep JSON"),
    ],
)
def test_texts_that_are_no_yaml(text: str, reason: str) -> None:
    error = fault(text)
    assert error.message == f"/etc/cdi/a.yaml: {reason}"
    assert (error.kind, error.path) == ("yaml", "/etc/cdi/a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SPEC.encode() + b"# \xff", id="invalid UTF-8"),
        pytest.param(SPEC + "# \0", id="NUL"),
        pytest.param(SPEC + "---\n\0", id="NUL close behind the document"),
        pytest.param(SPEC + "\t# comment", id="tab in front of the first column"),
        pytest.param(SPEC + "# \x07", id="control character"),
        pytest.param('a: "\\ud83d\\ude00"', id="surrogate escapes"),
        pytest.param("a: b\n c: d", id="mapping in a scalar"),
    ],
)
def test_texts_libyaml_refuses(text: str | bytes) -> None:
    assert fault(text).kind == "yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("[a:, {b: c:}, d::]", ["a:", {"b": "c:"}, "d::"], id="colon at the end"),
        pytest.param("[b :, c :]", ["b :", "c :"], id="colon behind a blank"),
        pytest.param('[A="a":, y\':, {k: v}]', ['A="a":', "y':", {"k": "v"}], id="and a quote"),
        pytest.param('{"a":[b :],"c":{d\n :}}', {"a": ["b :"], "c": {"d :": None}}, id="in JSON"),
        pytest.param("[\"it\\'s\", \"\\\\'\", 'a\\']", ["it's", "\\'", "a\\"], id="quote"),
        pytest.param('{a: "\\\'\\"\\\'b"}', {"a": "'\"'b"}, id="several in one scalar"),
        pytest.param('["\\\'", "\\\'", b :]', ["'", "'", "b :"], id="several scalars"),
        pytest.param("a: !b,c[d] e\nf: !] g", {"a": "e", "f": "g"}, id="tags"),
        pytest.param("\ufeff['\u00e9', \"\\'\"]", ["é", "'"], id="behind a byte order mark"),
    ],
)
def test_texts_only_libyaml_refuses(text: str, value: object) -> None:
    assert yamlgo.load(text.encode()) == value


def test_mending_ends() -> None:
    scalars_in_need = b"[" + b'"\\\'", ' * 5000 + b"]"
    start = time.process_time()
    with pytest.raises(goscalars.DialectError, match="too many places"):
        yamlgo.load(scalars_in_need)
    assert time.process_time() - start < 5


def test_keys_that_are_no_number_are_many() -> None:
    assert yamlgo.load(b"{.nan: a, .nan: b}") == {".nan": "b"}


def test_byte_order_marks_are_text_but_for_the_first() -> None:
    text = "\ufeffa: 'x\n\ufeffy'\n# \ufeff\n\ufeffb: [c:]\n"
    assert yamlgo.load(text.encode()) == {"a": "x \ufeffy", "\ufeffb": ["c:"]}
    with pytest.raises(goscalars.DialectError, match="private use"):
        yamlgo.load((text + "c: \ue001").encode())


@pytest.mark.parametrize(
    "text", [SPEC, ANCHORED, TAGGED, json.dumps(PLAIN), "a: {b: b\n", SPEC + SPEC]
)
def test_pyyaml_without_its_c_part_reads_the_same(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome() -> Any:
        try:
            return yamlgo.load(text.encode())
        except goscalars.DialectError:
            return "refused"

    with_c = outcome()
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    assert outcome() == with_c


def test_an_anchor_may_be_given_again() -> None:
    assert yamlgo.load(b"[&a 1, *a, &a 2, *a]") == [1, 1, 2, 2]
    assert yamlgo.load(b"&a [&a x, *a]") == ["x", "x"]


def test_keys_become_strings() -> None:
    assert yamlgo.load(b"{5: a, 1.5: b, yes: c, .inf: d, 5.0: e}") == {
        "5": "e",
        "1.5": "b",
        "true": "c",
        ".inf": "d",
    }


@pytest.mark.parametrize("text", ["", "\n", "# nothing", "null", "~", "---\n", "---\n---\n" + SPEC])
def test_no_document(text: str) -> None:
    error = fault(text)
    assert error.message == 'failed to parse CDI Spec "/etc/cdi/a.yaml", no Spec data'
    assert error.kind == "no-data"


def test_a_small_text_does_not_become_a_large_document() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    start = time.monotonic()
    assert "excessive aliasing" in fault("\n".join(lines)).message
    assert time.monotonic() - start < 30


def test_aliases_at_the_very_end_count_too() -> None:
    many = "annotations: {a: &a [" + "x, " * 2000 + "], b: [" + "*a, " * 300 + "]}\n"
    assert fault(SPEC + many).message == "/etc/cdi/a.yaml: document contains excessive aliasing"


@pytest.mark.parametrize("timeout", ["1.5", '"5"', "1e21", "9223372036854775808", ".nan", "[1]"])
def test_numbers_that_are_none(timeout: str) -> None:
    text = json.dumps(with_hook(timeout="?")).replace('"?"', timeout)
    error = fault(text)
    assert error.kind == "json-type"
    assert error.field == "devices[0].containerEdits.hooks[0].timeout"
    assert error.cdi_version == "1.1.0"


def test_spellings_of_one_key_fall_together() -> None:
    text = (
        SPEC + "containerEdits: {env: [A=1], ENV: [B=2, C=3]}\nContainerEdits: {additionalGids: []}"
    )
    # By sorted keys, the later one on top of the earlier one.
    assert read(text)["containerEdits"] == {"env": ["A=1"], "additionalGids": []}


def test_null_is_absent() -> None:
    spec = with_hook(args=None, env=[], timeout=None)
    hook = read(json.dumps(spec))["devices"][0]["containerEdits"]["hooks"][0]
    assert hook == {"hookName": "prestart", "path": "/h", "env": []}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" : 1}',
        '{"a"\n:1}',
        '{"a": 1.0}',
        '{"a": NaN}',
        '{"a": 1234567890123456789}',
        '{"a": "\\/"}',
        '{"a": "\\u0041"}',
        '{"a": "é"}',
        '{"a": "\x7f"}',
        '{"' + "a" * 2000 + '": 1}',
        '{"a": 1} x',
        '{"a": 1}\n\t',
        ' {"a": 1}',
        "[1]",
        '{"a": ' + "[" * 100000,
        '{"a": 1,}',
        "{a: 1}",
    ],
)
def test_json_that_takes_the_long_way(text: str) -> None:
    with pytest.raises(jsontext.NotPlainError):
        jsontext.load(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAIN),
        json.dumps(with_hook(timeout=-5, args=["a\\b", 'say "x"', "tab\there", "", "x y: z #"])),
        '{"a": -0, "b": [true, false, null, [], {}], "<<": "c", "1": 2}\r\n  ',
    ],
)
def test_both_ways_read_the_same(text: str) -> None:
    assert jsontext.load(text.encode()) == yamlgo.load(text.encode())
