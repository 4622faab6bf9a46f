"""The version table: what each version brought, and what the corpus does not ask."""

from __future__ import annotations

from typing import Any

import pytest

from ocishim.cdi import versions
from ocishim.errors import DocumentError


def on_device(**edits: Any) -> dict[str, Any]:
    return {"devices": [{"name": "d", "containerEdits": edits}]}


def on_spec(**edits: Any) -> dict[str, Any]:
    return {"devices": [{"name": "d"}], "containerEdits": edits}


@pytest.mark.parametrize("place", [on_device, on_spec])
@pytest.mark.parametrize(
    ("edits", "version"),
    [
        ({"env": ["A=b"]}, "0.3.0"),
        ({"mounts": [{"type": "bind"}]}, "0.4.0"),
        ({"mounts": [{"type": ""}]}, "0.3.0"),
        ({"deviceNodes": [{"path": "/a", "hostPath": "/a"}]}, "0.5.0"),
        ({"intelRdt": {}}, "0.7.0"),
        ({"additionalGids": [0]}, "0.7.0"),
        ({"additionalGids": []}, "0.3.0"),
        ({"netDevices": [{"name": "a"}]}, "1.1.0"),
        ({"netDevices": []}, "0.3.0"),
        ({"intelRdt": {"schemata": []}}, "1.1.0"),
        ({"intelRdt": {"enableMonitoring": False}}, "0.7.0"),
        ({"intelRdt": {"enableMonitoring": True}}, "1.1.0"),
        ({"mounts": [None, {"type": "bind"}]}, "0.4.0"),
    ],
)
def test_edits_ask_for_a_version(place: Any, edits: dict[str, Any], version: str) -> None:
    assert versions.minimum(place(**edits)) == version


@pytest.mark.parametrize(
    ("edits", "alone", "before_another"),
    [
        ({"mounts": [{"type": "bind"}]}, "0.4.0", "0.3.0"),
        ({"deviceNodes": [{"hostPath": "/a"}]}, "0.5.0", "0.3.0"),
        ({"additionalGids": [1]}, "0.7.0", "0.7.0"),
    ],
)
def test_two_rules_look_at_the_last_device_only(
    edits: dict[str, Any], alone: str, before_another: str
) -> None:
    device, other = {"name": "d", "containerEdits": edits}, {"name": "e", "containerEdits": {}}
    assert versions.minimum({"devices": [other, device]}) == alone
    assert versions.minimum({"devices": [device, other]}) == before_another


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ({}, "0.3.0"),
        ({"annotations": {"a": "b"}}, "0.6.0"),
        ({"annotations": {}}, "0.3.0"),
        ({"devices": [{"name": "d", "annotations": {"a": "b"}}]}, "0.6.0"),
        ({"kind": "a/b.c"}, "0.6.0"),
        ({"kind": "/b.c"}, "0.6.0"),
        ({"kind": "a.b/c"}, "0.3.0"),
        ({"devices": [{"name": "0d"}]}, "0.5.0"),
        ({"devices": [{"name": "٣"}]}, "0.3.0"),
    ],
)
def test_the_rest_of_a_spec_does_too(spec: dict[str, Any], version: str) -> None:
    assert versions.minimum(spec) == version


@pytest.mark.parametrize("version", [version for version, _ in versions.TABLE])
def test_a_version_is_enough_from_its_own_on(version: str) -> None:
    spec = {"cdiVersion": version, "kind": "a/b.c"}
    if version in ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0"):
        with pytest.raises(DocumentError) as e:
            versions.validate(spec)
        assert e.value.message == "the spec version must be at least v0.6.0"
    else:
        versions.validate(spec)
        versions.validate({**spec, "cdiVersion": f"v{version}"})


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_versions_before_the_first(version: str) -> None:
    with pytest.raises(DocumentError, match=r"^the spec version must be at least v0\.3\.0$"):
        versions.validate({"cdiVersion": version})


@pytest.mark.parametrize("version", ["", "1.2.0", "0.6", "V1.1.0", "vv1.0.0", "1.0.0 ", "1.0.0-rc"])
def test_strings_that_are_no_version(version: str) -> None:
    with pytest.raises(DocumentError) as e:
        versions.validate({"cdiVersion": version})
    assert e.value.message == f'invalid version "{version}"'
