"""config.json as runc reads it: what escapes one reader's eyes must not reach another's.

What runc reads was asked of Go (tests/reading): this table's rows are among its inputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ocishim import jsonio
from ocishim.oci import reading, structs
from ocishim.oci.bundle import Bundle

if TYPE_CHECKING:
    from pathlib import Path

HOOK = '{"path":"/h"}'
READ: dict[str, tuple[str, dict[str, Any]]] = {
    "Hooks": (f'{{"Hooks":{{"createContainer":[{HOOK}]}}}}',
              {"hooks": {"createContainer": [{"path": "/h"}]}}),
    "createcontainer": (f'{{"hooks":{{"createcontainer":[{HOOK}]}}}}',
                        {"hooks": {"createContainer": [{"path": "/h"}]}}),
    "a second hooks": (f'{{"hooks":{{}},"hooks":{{"createContainer":[{HOOK}]}}}}',
                       {"hooks": {"createContainer": [{"path": "/h"}]}}),
    "hooks of two halves": (f'{{"hooks":{{"poststop":[{HOOK}]}},"hooks":{{"createContainer":[]}}}}',
                            {"hooks": {"poststop": [{"path": "/h"}], "createContainer": []}}),
    "a second hooks in another case": (f'{{"hooks":{{"createContainer":[{HOOK}]}},"HOOKS":{{}}}}',
                                       {"hooks": {"createContainer": [{"path": "/h"}]}}),
    "hooks taken back": (f'{{"hooks":{{"createContainer":[{HOOK}]}},"hooks":null}}',
        {"hooks": None}),
    "the long s": ('{"hook\\u017f":{"po\\u017ft\u017ftop":[]}}', {"hooks": {"poststop": []}}),
    "the sign of Kelvin": ('{"hoo\\u212as":{}}', {"hooks": {}}),
    "a name in escapes": ('{"\\u0048ooks":{}}', {"hooks": {}}),
    "a double s is no long s": ('{"proce\\u00df":{}}', {"proce\u00df": {}}),
    "a dotless i": ('{"l\\u0131nux":{}}', {"l\u0131nux": {}}),
    "root.ReadOnly": ('{"root":{"path":"r","ReadOnly":true}}',
        {"root": {"path": "r", "readonly": True}}),
    "null leaves a scalar": ('{"root":{"path":"r","Path":null}}', {"root": {"path": "r"}}),
    "null takes a pointer": ('{"root":{"path":"r"},"root":null,"root":{"readonly":true}}',
                             {"root": {"readonly": True}}),
    "null takes an array": ('{"mounts":[{"source":"a"}],"mounts":null,"mounts":[{"type":"b"}]}',
                            {"mounts": [{"type": "b"}]}),
    "a second array writes into the first": (
        '{"mounts":[{"destination":"/a","source":"x"}],"Mounts":[{"source":"y"}]}',
        {"mounts": [{"destination": "/a", "source": "y"}]}),
    "a shorter one": ('{"mounts":[{"source":"a"},{"source":"b"}],"mounts":[{"type":"c"}]}',
                      {"mounts": [{"source": "a", "type": "c"}]}),
    "what is behind its end comes back": (
        '{"mounts":[{"source":"a"},{"source":"b"}],"mounts":[{}],"mounts":[{},{"type":"c"}]}',
        {"mounts": [{"source": "a"}, {"source": "b", "type": "c"}]}),
    "not after an empty one": ('{"mounts":[{"source":"a"}],"mounts":[],"mounts":[{"type":"c"}]}',
                               {"mounts": [{"type": "c"}]}),
    "null in an array": ('{"process":{"args":["a","b"],"args":[null,"c"]}}',
        {"process": {"args": ["a", "c"]}}),
    "annotations add up": ('{"annotations":{"a":"1","b":"2"},"Annotations":{"b":"3","B":"4"}}',
                           {"annotations": {"a": "1", "b": "3", "B": "4"}}),
    "a map's values are new": (
        '{"linux":{"netDevices":{"e":{"name":"a"}},"netdevices":{"e":{"Name":"b"}}}}',
        {"linux": {"netDevices": {"e": {"name": "b"}}}}),
    "a map's keys are not names": ('{"annotations":{"Hooks":"a","hooks":"b"}}',
                                   {"annotations": {"Hooks": "a", "hooks": "b"}}),
    "deep": ('{"linux":{"resources":{"Devices":[{"Allow":true,"ACCESS":"rwm"}]}}}',
             {"linux": {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}}),
    "unknown names stay": ('{"X":{"Hooks":1,"a":1,"a":2},"hooks":{"Env":3}}',
                           {"X": {"Hooks": 1, "a": 2}, "hooks": {"Env": 3}}),
    "what is of no use to Go": ('{"hooks":[1],"Mounts":{"a":2}}',
        {"hooks": [1], "mounts": {"a": 2}}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "spec"), READ.values(), ids=READ)
def test_what_runc_reads(text: str, spec: dict[str, Any]) -> None:
    assert reading.read(text.encode(), "f").spec == spec


@pytest.mark.parametrize(("text", "odd"), [
    pytest.param('{"hooks":{},"annotations":{"a":"b"}}', False, id="ordinary"),
    pytest.param('{"annotations":{"Hooks":"a"}}', False, id="a map's key"),
    pytest.param('{"annotations":{"a":"b","a":"b"}}', True, id="a key twice"),
    pytest.param('{"hooks":{},"hooks":{}}', True, id="a field twice, alike"),
    pytest.param('{"X":{"a":1,"a":1}}', True, id="in what nobody knows"),
    pytest.param('{"Hooks":{}}', True, id="another case"),
    pytest.param('{"hooks":null}', False, id="null"),
])  # fmt: skip
def test_odd(text: str, odd: bool) -> None:  # noqa: FBT001 - a column
    assert reading.read(text.encode(), "f").odd is odd


def test_what_others_would_read_otherwise_is_written(tmp_path: Path) -> None:
    """Crun takes the first of repeated fields; and once is enough."""
    file = tmp_path / "config.json"
    file.write_text('{"hooks":{"poststop":[{"path":"/a"}]},"Hooks":{"poststop":[]}}')
    for changed in (True, False):
        bundle = Bundle(str(tmp_path))
        assert bundle.replace(bundle.spec) is changed
        assert json.loads(file.read_bytes()) == {"hooks": {"poststop": []}}


def test_no_two_fields_differ_in_case_alone() -> None:
    """By that reading.py sees without a table of places whether a text may be odd."""
    assert len(structs.FOLDED) == len(structs.NAMES)
    assert {jsonio.fold(name) for name in structs.NAMES} == structs.FOLDED
    shapes = {shape for struct in structs.STRUCTS.values() for shape in struct.values()}
    assert {shape.lstrip("?[{") for shape in shapes} - {""} == set(structs.STRUCTS) - {"Spec"}
