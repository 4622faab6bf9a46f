"""The JSON Schema files: the reference's verdict, and one version's own fields."""

from __future__ import annotations

import json
import os
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from ocishim.cdi import fields, versions
from ocishim.cdi.document import document
from ocishim.cdi.schema import validate
from tests.unit.cdi import strategies

FOLDER = os.path.dirname(validate.__file__)
FILES = sorted(name for name in os.listdir(FOLDER) if name.endswith(".json"))
MINIMAL = {"cdiVersion": "1.1.0", "kind": "a.com/b", "devices": []}


def spec_with(version: str, **edits: Any) -> dict[str, Any]:
    devices = [{"name": "d", "containerEdits": {"env": ["A=b"], **edits}}]
    return {"cdiVersion": version, "kind": "a.com/b", "devices": devices}


@pytest.mark.parametrize("name", FILES)
def test_files_are_schemas(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(validate.load(name))


def test_one_file_per_version_that_differs() -> None:
    assert FILES == ["cdi-0.3.0.json", "cdi-0.4.0.json", "cdi-0.5.0.json", "cdi-0.6.0.json", "cdi-0.7.0.json", "cdi-1.1.0.json", "cdi.json"]  # fmt: skip


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_version_has_the_fields_of_the_table(name: str) -> None:
    """As properties, and among what makes a device's edits more than none."""
    version = _numbers(name.removeprefix("cdi-").removesuffix(".json"))
    known = {one.name for one in fields.FIELDS if not one.since or _numbers(one.since) <= version}
    schema = validate.load(name)["definitions"]
    assert schema["containerEdits"]["properties"].keys() == known
    some = schema["device"]["properties"]["containerEdits"]["anyOf"]
    assert {name for one in some for name in one["required"]} == known


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param(json.dumps(MINIMAL), [], id="no devices are enough"),
        pytest.param(
            "{}", ["missing 'cdiVersion'", "missing 'kind'", "missing 'devices'"], id="{}"
        ),
        pytest.param("", ["expected object, found null"], id="empty"),
        pytest.param("- a", ["not valid YAML: expected object, found array"], id="a list"),
        pytest.param("a: *b", ["not valid YAML: unknown anchor 'b' referenced"], id="YAML"),
        pytest.param(
            json.dumps({**MINIMAL, "kind": 5}),
            ["expected string, found integer in 'kind'"],
            id="type",
        ),
        pytest.param(json.dumps({**MINIMAL, "x": 5}), [], id="unknown member"),
        pytest.param(
            json.dumps({**MINIMAL, "devices": [{"name": "", "containerEdits": {"mounts": [{}]}}]}),
            [
                "missing 'hostPath' in 'devices[0].containerEdits.mounts[0]'",
                "missing 'containerPath' in 'devices[0].containerEdits.mounts[0]'",
            ],
            id="members of a mount",
        ),
        pytest.param(
            json.dumps(
                {
                    **MINIMAL,
                    "containerEdits": {"hooks": [{"hookName": "", "path": "", "timeout": -1}]},
                }
            ),
            ["-1 is less than the minimum of 0 in 'containerEdits.hooks[0].timeout'"],
            id="negative timeout",
        ),
        pytest.param(
            "cdiVersion: 1\nkind: y\ndevices: []",
            [
                "expected string, found integer in 'cdiVersion'",
                "expected string, found boolean in 'kind'",
            ],
            id="nothing is coerced",
        ),
        pytest.param("cdiVersion: a\ncdiVersion: b\nkind: c\ndevices: []", [], id="keys twice"),
        pytest.param(
            "cdiVersion: a\nkind: c\ndevices: []\nannotations: {-a: x}",
            ["annotations.-a: not a qualified name of Kubernetes"],
            id="annotation keys in YAML",
        ),
        pytest.param(json.dumps({**MINIMAL, "annotations": {"-a": "x"}}), [], id="and not in JSON"),
    ],
)
def test_what_the_references_schema_asks(text: str, faults: list[str]) -> None:
    assert validate.faults(text.encode()) == faults


def test_a_missing_field_is_named_whatever_the_librarys_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def required(_self: Any, names: list[str], value: Any, _schema: Any) -> Any:
        missing = [name for name in names if name not in value]
        return (jsonschema.ValidationError("words of another version") for _ in missing)

    extend: Any = jsonschema.validators.extend
    other = extend(jsonschema.Draft7Validator, {"required": required})
    monkeypatch.setattr(jsonschema, "Draft7Validator", other)
    text = json.dumps({"cdiVersion": "1.1.0", "devices": [{}, {}]}).encode()
    assert validate.faults(text) == [
        "missing 'kind'",
        "missing 'name' in 'devices[0]'",
        "missing 'containerEdits' in 'devices[0]'",
        "missing 'name' in 'devices[1]'",
        "missing 'containerEdits' in 'devices[1]'",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{'a': 1}", "not valid JSON: "),
        ("{} {}", "not valid JSON: "),
        ('{"a": NaN}', "not valid JSON: 'NaN' is not a JSON value"),
        ("a: .inf", "not valid YAML: unsupported value: +Inf"),
        ('{"a": ' + "[" * 100000, "not valid JSON: "),
    ],
)
def test_text_that_is_neither(text: str, fault: str) -> None:
    (found,) = validate.faults(text.encode())
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("major", "valid"),
    [
        ("1.0", True),
        ("1e3", True),
        ("1.5", False),
        (str(2**63 - 1), True),
        (str(2**63), False),
        ("1e999", False),
    ],
)
def test_integers_in_json(major: str, *, valid: bool) -> None:
    node = '{"path": "/x", "major": ' + major + "}"
    text = json.dumps({**MINIMAL, "containerEdits": {"deviceNodes": ["?"]}}).replace('"?"', node)
    assert (validate.faults(text.encode()) == []) == valid


def test_integers_in_yaml_go_through_a_float() -> None:
    text = (
        "cdiVersion: a\nkind: c\ndevices: []\ncontainerEdits: {deviceNodes: [{path: x, major: %d}]}"
    )
    assert validate.faults((text % (2**62)).encode()) == []
    assert validate.faults((text % (2**63 - 1)).encode()) != []


def test_annotations_may_be_large_but_not_huge() -> None:
    text = "cdiVersion: a\nkind: c\ndevices: []\nannotations: {a: %s}"
    assert validate.faults((text % ("x" * 262143)).encode()) == []
    assert validate.faults((text % ("x" * 262144)).encode()) == [
        "annotations: 262145 bytes, more than 262144"
    ]


@pytest.mark.parametrize("place", ["devices", "spec"])
@pytest.mark.parametrize(
    ("version", "older", "edits"),
    [
        ("0.4.0", "0.3.0", {"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]}),
        ("0.5.0", "0.4.0", {"deviceNodes": [{"path": "/a", "hostPath": "/b"}]}),
        ("0.7.0", "0.6.0", {"intelRdt": {"closID": "/"}}),
        ("0.7.0", "0.6.0", {"additionalGids": [1]}),
        ("1.1.0", "1.0.0", {"intelRdt": {"schemata": ["a"]}}),
        ("1.1.0", "0.8.0", {"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}),
    ],
)
def test_fields_appear_with_their_version(
    version: str, older: str, edits: dict[str, Any], place: str
) -> None:
    for declared, fits in ((version, True), (f"v{version}", True), (older, False)):
        spec = spec_with(declared, **(edits if place == "devices" else {}))
        if place == "spec":
            spec["containerEdits"] = edits
        assert (validate.version_faults(spec) == []) == fits
        assert (versions.minimum(spec) == version) or place == "spec"


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"kind": "a.com/b.c", "cdiVersion": "0.5.0"}, False),
        ({"kind": "a.com/b.c", "cdiVersion": "0.6.0"}, True),
        ({"annotations": {"a": "b"}, "cdiVersion": "0.5.0"}, False),
        ({"annotations": {"a": "b"}}, True),
        ({"kind": "a.com/b\n"}, False),
        ({"devices": []}, False),
        (
            {"devices": [{"name": "0", "containerEdits": {"env": ["A=b"]}}], "cdiVersion": "0.4.0"},
            False,
        ),
        (
            {"devices": [{"name": "0", "containerEdits": {"env": ["A=b"]}}], "cdiVersion": "0.5.0"},
            True,
        ),
        ({"devices": [{"name": "d", "containerEdits": {"env": []}}]}, False),
        ({"devices": [{"name": "d", "containerEdits": {"intelRdt": {"closID": ".."}}}]}, False),
        ({"devices": [{"name": "d", "containerEdits": {"intelRdt": {"closID": "..a"}}}]}, True),
        ({"cdiVersion": "9.9"}, True),
    ],
)
def test_what_a_version_asks_for(changes: dict[str, Any], *, fits: bool) -> None:
    assert (validate.version_faults({**spec_with("1.1.0"), **changes}) == []) == fits


@settings(max_examples=100, deadline=None)
@given(strategies.cdi_specs())
def test_what_fits_a_version_is_loaded(spec: dict[str, Any]) -> None:
    assert validate.version_faults(spec) == []
    for version, _ in versions.TABLE:
        declared = {**spec, "cdiVersion": version}
        if version >= "0.3.0" and validate.version_faults(declared) == []:
            assert document.load(json.dumps(declared).encode(), "x") == declared
