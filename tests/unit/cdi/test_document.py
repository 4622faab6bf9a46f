"""What is wrong with a spec file, where, and in whose words."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest

from ocishim.cdi.document import document

NODE: dict[str, Any] = {"path": "/dev/x"}


def spec_with(**edits: Any) -> dict[str, Any]:
    devices = [{"name": "d0", "containerEdits": edits}]
    return {"cdiVersion": "1.1.0", "kind": "a.com/b", "devices": devices}


def fault(spec: object) -> document.CDISpecError:
    with pytest.raises(document.CDISpecError) as e:
        document.load(json.dumps(spec).encode(), "/etc/cdi/a.json")
    return e.value


EDITS = "devices[0].containerEdits"
KNOWN = ": known are cdiVersion, kind, annotations, devices, containerEdits"


@pytest.mark.parametrize(
    ("spec", "kind", "field", "reason"),
    [
        ([], "json-type", "", "expected object, found array"),
        ("x", "json-type", "", "expected object, found string"),
        ({"foo": None}, "unknown-field", "foo", f"unknown field 'foo'{KNOWN}"),
        (
            spec_with(mounts=[{}, {"hostpaths": 1}]),
            "unknown-field",
            f"{EDITS}.mounts[1].hostpaths",
            (
                f"unknown field '{EDITS}.mounts[1].hostpaths': known are"
                " hostPath, containerPath, options, type"
            ),
        ),
        (
            spec_with(intelRdt={"enableCMT": True}),
            "unknown-field",
            f"{EDITS}.intelRdt.enableCMT",
            (
                f"unknown field '{EDITS}.intelRdt.enableCMT': known are"
                " closID, l3CacheSchema, memBwSchema, schemata, enableMonitoring"
            ),
        ),
        (
            spec_with(env=[["A=b"]]),
            "json-type",
            f"{EDITS}.env[0]",
            f"expected string, found array in '{EDITS}.env[0]'",
        ),
        (
            spec_with(deviceNodes=[{"path": "/x", "uid": -1}]),
            "json-type",
            f"{EDITS}.deviceNodes[0].uid",
            f"expected integer from 0 to 4294967295, found -1 in '{EDITS}.deviceNodes[0].uid'",
        ),
        (
            {"containerEdits": []},
            "json-type",
            "containerEdits",
            "expected object, found array in 'containerEdits'",
        ),
        (
            {"annotations": {"a": {}}},
            "json-type",
            "annotations.a",
            "expected string, found object in 'annotations.a'",
        ),
    ],
)
def test_structure_is_told_in_our_words(spec: object, kind: str, field: str, reason: str) -> None:
    error = fault(spec)
    assert (error.kind, error.field) == (kind, field)
    assert error.message == f"/etc/cdi/a.json: {reason}"


@pytest.mark.parametrize(
    ("changes", "kind", "field", "text"),
    [
        ({"cdiVersion": "2.0"}, "version-invalid", "cdiVersion", 'invalid version "2.0"'),
        (
            {"cdiVersion": "0.5.0", "kind": "a/b.c"},
            "version-too-old",
            "kind",
            "the spec version must be at least v0.6.0",
        ),
        ({"kind": "a"}, "vendor", "kind", "invalid vendor. empty name"),
        ({"kind": "a/1"}, "class", "kind", 'invalid class. "1", should start with letter'),
        ({"devices": []}, "no-devices", "devices", "invalid spec, no devices"),
        (
            {"containerEdits": {"env": ["=x"]}},
            "env",
            "containerEdits.env[0]",
            'invalid container edits: invalid environment variable "=x"',
        ),
        (
            {"devices": [{"name": ""}]},
            "device-name",
            "devices[0].name",
            'failed add device "": invalid (empty) device name',
        ),
        (
            {"devices": [{"name": "d"}]},
            "empty-edits",
            "devices[0].containerEdits",
            'failed add device "d": invalid device, empty device edits',
        ),
        (
            {"devices": spec_with(env=["A=b"])["devices"] * 2},
            "dup-device",
            "devices[1].name",
            'invalid spec, multiple device "d0"',
        ),
    ],
)
def test_rules_are_told_in_the_references_words(
    changes: dict[str, Any], kind: str, field: str, text: str
) -> None:
    error = fault({**spec_with(env=["A=b"]), **changes})
    assert (error.kind, error.field) == (kind, field)
    assert error.message == f"invalid CDI Spec: {text}"
    assert error.cdi_version == changes.get("cdiVersion", "1.1.0")


@pytest.mark.parametrize(
    ("edits", "kind", "field", "text"),
    [
        (
            {"env": ["A=", "B"]},
            "env",
            "env[1]",
            'invalid container edits: invalid environment variable "B"',
        ),
        (
            {"deviceNodes": [{}]},
            "devnode-path",
            "deviceNodes[0].path",
            "invalid (empty) device path",
        ),
        (
            {"deviceNodes": [{**NODE, "type": "x"}]},
            "devnode-type",
            "deviceNodes[0].type",
            'device "/dev/x": invalid type "x"',
        ),
        (
            {"deviceNodes": [NODE, {**NODE, "permissions": "rwmx"}]},
            "devnode-permissions",
            "deviceNodes[1].permissions",
            'device "/dev/x": invalid permissions "rwmx"',
        ),
        (
            {"hooks": [{"hookName": "Prestart"}]},
            "hook-name",
            "hooks[0].hookName",
            'invalid hook name "Prestart"',
        ),
        (
            {"hooks": [{"hookName": "prestart"}]},
            "hook-path",
            "hooks[0].path",
            'invalid hook "prestart" with empty path',
        ),
        (
            {"hooks": [{"hookName": "prestart", "path": "h", "env": [""]}]},
            "hook-env",
            "hooks[0].env[0]",
            'invalid hook "prestart": invalid environment variable ""',
        ),
        ({"mounts": [{}]}, "mount-host", "mounts[0].hostPath", "invalid mount, empty host path"),
        (
            {"mounts": [{"hostPath": "a"}]},
            "mount-container",
            "mounts[0].containerPath",
            "invalid mount, empty container path",
        ),
        ({"intelRdt": {"closID": ".."}}, "rdt-closid", "intelRdt.closID", "invalid ClosID"),
        ({"intelRdt": {"closID": "é" * 2048}}, "rdt-closid", "intelRdt.closID", "invalid ClosID"),
        (
            {"netDevices": [{"name": "a"}]},
            "netdev",
            "netDevices[0]",
            "invalid linux net device, empty HostInterfaceName",
        ),
        (
            {
                "netDevices": [
                    {"hostInterfaceName": "h", "name": "a"},
                    {"hostInterfaceName": "h", "name": "b"},
                ]
            },
            "netdev",
            "netDevices[1]",
            'invalid linux net device, duplicate HostInterfaceName "h" with names "b" and "a"',
        ),
        (
            {
                "netDevices": [
                    {"hostInterfaceName": "h", "name": "a"},
                    {"hostInterfaceName": "i", "name": "a"},
                ]
            },
            "netdev",
            "netDevices[1]",
            'invalid linux net device, duplicate Name "a" with HostInterfaceName "i" and "h"',
        ),
        (
            {"mounts": [None]},
            "null-entry",
            "mounts[0]",
            f"expected object, found null in '{EDITS}.mounts[0]'",
        ),
    ],
)
def test_edits_that_break_a_rule(edits: dict[str, Any], kind: str, field: str, text: str) -> None:
    error = fault(spec_with(**edits))
    assert (error.kind, error.field) == (kind, f"{EDITS}.{field}")
    prefix = 'invalid CDI Spec: failed add device "d0": invalid device "d0": '
    assert error.message == prefix + text


@pytest.mark.parametrize(
    "edits",
    [
        {"env": [" A=b", "A="]},
        {"deviceNodes": [{"path": "x/../y", "type": "u", "major": -1, "permissions": "mmr"}]},
        {"deviceNodes": [{"path": "/x", "permissions": "none"}]},
        {"hooks": [{"hookName": "poststop", "path": "rel", "timeout": -3}]},
        {"mounts": [{"hostPath": "a", "containerPath": "b"}]},
        {"intelRdt": {}},
        {"intelRdt": {"closID": "/"}},
        {"additionalGids": [0]},
    ],
)
def test_what_the_reference_does_not_mind(edits: dict[str, Any]) -> None:
    spec = document.load(json.dumps(spec_with(**edits)).encode(), "x")
    assert spec["devices"][0]["containerEdits"] == edits


def test_a_spec_is_marshal_data() -> None:
    spec = document.load(json.dumps(spec_with(env=["A=b"], additionalGids=[1])).encode(), "x")
    assert marshal.loads(marshal.dumps(spec)) == spec
