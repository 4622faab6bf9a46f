"""Any bytes, any YAML, any JSON: a document or an error with a name, in bounded time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim.cdi.document import document
from tests.unit.cdi import corpus

laws = settings(max_examples=200, deadline=None)
OWN_WORDS = ("invalid CDI Spec: ", "failed to parse CDI Spec ")


def judge(data: bytes) -> None:
    """Load `data`; it must give a spec, or an error that names file and field."""
    try:
        assert document.load(data, "/etc/cdi/f.yaml")["devices"]
    except document.CDISpecError as e:
        error = e
    else:
        return
    assert error.message.startswith(("/etc/cdi/f.yaml: ", *OWN_WORDS))
    assert error.path == "/etc/cdi/f.yaml"
    if error.kind == "json-type" and error.field:
        assert f"'{error.field}'" in error.message
    elif error.kind not in ("yaml", "no-data", "json-type", "unknown-field"):
        assert error.field


TOKENS = st.sampled_from(
    [
        *": ,[]{}&*!|>'\"%@`#?-\n\t\r\0",
        *(": ", "- ", "\n  ", "---\n", "...", "<<: ", "&a ", "*a", "!!int ", "|2-\n", "\\u0041"),
        *("cdiVersion", "kind", "devices", "containerEdits", "1.1.0", "a.com/b", "name", "env"),
        *(
            "\ufeff",
            "\u2028",
            "\x85",
            "é",
            "~",
            "0x1F",
            "1e999",
            "y",
            "'x'",
            '"y"',
            "!!binary QQ==",
        ),
    ]
)
FIELDS = [
    *("cdiVersion", "kind", "annotations", "devices", "containerEdits", "name", "env", "KIND", "x"),
    *("deviceNodes", "netDevices", "hooks", "mounts", "intelRdt", "additionalGids", "path", "uid"),
    *(
        "hostPath",
        "type",
        "major",
        "minor",
        "fileMode",
        "permissions",
        "hookName",
        "args",
        "timeout",
    ),
    *("containerPath", "options", "closID", "schemata", "enableMonitoring", "hostInterfaceName"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["1.1.0", "a.com/b", "A=b", "/x", "c", "prestart", "", "rwm"])
    | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.fixed_dictionaries(
    {"cdiVersion": st.just("1.1.0"), "kind": st.just("a/b"), "devices": VALUES},
    optional={"x": VALUES},
) | st.dictionaries(st.sampled_from(FIELDS), VALUES)


@laws
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    judge(data)


@laws
@given(st.lists(TOKENS, max_size=30).map("".join))
def test_any_yaml_tokens(text: str) -> None:
    judge(text.encode())


@laws
@given(st.sampled_from(corpus.records("schema-public")), st.data())
def test_any_real_spec_with_tokens_in_it(record: dict[str, Any], data: st.DataObject) -> None:
    text = record["spec"]
    place = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 3))
    judge((text[:place] + data.draw(TOKENS) + text[place + gone :]).encode())


@laws
@given(DOCUMENTS | VALUES)
def test_any_json(value: Any) -> None:
    judge(json.dumps(value).encode())
    judge(json.dumps(value, ensure_ascii=False, indent=1).encode(errors="surrogatepass"))


@laws
@given(DOCUMENTS)
def test_any_yaml_document(value: Any) -> None:
    judge(yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass"))


SPEC = "cdiVersion: 1.1.0\nkind: a/b\ndevices: [{name: d, containerEdits: {env: [A=b]}}]\n"
SIZE = 400_000
HOSTILE = {
    "brackets": "[" * SIZE,
    "braces": '{"a":' * (SIZE // 5),
    "dashes": "- " * (SIZE // 2),
    "question marks": "? " * (SIZE // 2),
    "indentation": "\n".join(" " * n + "a:" for n in range(int((2 * SIZE) ** 0.5))),
    "one long scalar": "a: " + "x" * SIZE,
    "one long number": "a: " + "9" * SIZE,
    "one long hexadecimal number": "a: 0x" + "f" * SIZE,
    "one long float": "a: 1." + "0" * SIZE,
    "one long timestamp": "a: !!timestamp 2001-01-01" + " " * SIZE + "x",
    "one long key": '{"' + "k" * SIZE + '": 1}',
    "quotes": "a: '" + "''" * (SIZE // 2),
    "escapes": 'a: "' + "\\\\" * (SIZE // 2) + '\\/"',
    "colons": "[" + "a:," * (SIZE // 3) + "]",
    "colons alone": ":" * SIZE,
    "commas": "[" + "," * SIZE,
    "comments": "#\n" * (SIZE // 2),
    "blank lines": SPEC + "\n" * SIZE,
    "tags": "!" * SIZE,
    "anchors": "".join(f"&a{n} x: 1\n" for n in range(SIZE // 12)),
    "aliases": "a: &a [x]\nb: [" + "*a, " * (SIZE // 4) + "]",
    "aliases of aliases": "\n".join(
        ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, SIZE // 24))]
    ),
    "merges": "a: &a {k: 1}\nb: [" + "{<<: *a}, " * (SIZE // 10) + "]",
    "many keys": "".join(f"k{n}: 1\n" for n in range(SIZE // 9)),
    "many devices": SPEC.replace(
        "[{",
        "["
        + "".join(f"{{name: d{n}, containerEdits: {{env: [A=b]}}}},\n" for n in range(8000))
        + "{",
    ),
    "many documents": "---\n" * (SIZE // 4),
    "block scalar": "a: |\n" + " x\n" * (SIZE // 3),
    "byte order marks": "\ufeff" * (SIZE // 3),
}
JUDGE = """
import sys, time, resource
from ocishim.cdi.document import document, yamlgo, rules, coerce, jsontext
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    document.load(data, "x")
except document.CDISpecError as e:
    assert len(e.message) < 4 * len(data) + 1000
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss - before.ru_maxrss)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_cost_is_proportional_to_size(name: str, tmp_path: Any) -> None:
    data = HOSTILE[name].encode()
    (tmp_path / "spec").write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", JUDGE, tmp_path / "spec"],
        capture_output=True,
        text=True,
        check=True,
        cwd=corpus.ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    seconds, kilobytes = map(float, run.stdout.split())
    # Ten times what an ordinary text of this size costs; what is not proportional costs hundreds.
    assert seconds < 20 * len(data) / 1e6 + 1
    assert kilobytes * 1024 < 500 * len(data) + (8 << 20)
