"""Laws of injecting devices, for any valid CDI spec and any OCI spec."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocishim.cdi import annotations as cdi_annotations
from ocishim.cdi import edits, names
from ocishim.cdi.document import document
from ocishim.cdi.hostdev import HostDevice
from ocishim.cdi.registry import entries
from ocishim.errors import DocumentError
from ocishim.oci import spec as oci
from ocishim.oci.changes import AllowDevice, Change
from ocishim.oci.hookchanges import AddHook
from tests.unit.cdi import strategies
from tests.unit.cdi.corpus import load_driver

laws = settings(max_examples=100, deadline=None)


def stat(path: str) -> HostDevice:
    if path == "/dev/null":
        return HostDevice("c", 1, 3, 0o666)
    raise OSError("not a device node")


def found(spec: dict[str, Any], path: str = "/etc/cdi/a.json") -> list[entries.Found]:
    return [
        entries.Found(
            f"{spec['kind']}={device['name']}",
            path,
            spec["cdiVersion"],
            spec["containerEdits"],
            device["containerEdits"],
        )
        for device in spec["devices"]
    ]


def inject(oci_spec: dict[str, Any], devices: list[entries.Found], *, once: bool = True) -> Any:
    result = copy.deepcopy(oci_spec)
    changes = edits.plan(result, edits.merge(devices), stat)
    done = oci.apply(result, changes, once=once)
    return result, done


@laws
@given(strategies.cdi_specs())
def test_a_valid_spec_is_read_as_it_is(spec: dict[str, Any]) -> None:
    text = json.dumps(spec, ensure_ascii=False).encode()
    assert document.load(text, "a.json") == spec


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS)
def test_injecting_is_deterministic(cdi: dict[str, Any], before: dict[str, Any]) -> None:
    for once in (True, False):
        one, two = (inject(before, found(cdi), once=once)[0] for _ in range(2))
        assert json.dumps(one) == json.dumps(two)


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS)
def test_injecting_twice_is_injecting_once(cdi: dict[str, Any], before: dict[str, Any]) -> None:
    after, _ = inject(before, found(cdi))
    again, done = inject(after, found(cdi))
    assert done == []
    assert json.dumps(again) == json.dumps(after)


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS)
def test_nothing_changes_where_the_reference_was_before(
    cdi: dict[str, Any], before: dict[str, Any]
) -> None:
    after, _ = inject(before, found(cdi), once=False)
    again, done = inject(after, found(cdi))
    assert done == []
    assert json.dumps(again) == json.dumps(after)


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS)
def test_both_ways_agree_where_nothing_is_double(
    cdi: dict[str, Any], before: dict[str, Any]
) -> None:
    devices = found(cdi)[:1]
    changes = edits.plan(before, edits.merge(devices), stat)
    assume(not _has_doubles(before, changes))
    assume(not any(change.present(before) for change in changes))
    assert inject(before, devices)[0] == inject(before, devices, once=False)[0]


def _has_doubles(before: dict[str, Any], changes: list[Change]) -> bool:
    linux = before.get("linux") or {}
    lists = [
        [mount["destination"] for mount in before.get("mounts") or ()],
        [device["path"] for device in linux.get("devices") or ()],
        [c.describe() for c in changes if isinstance(c, (AddHook, AllowDevice))],
    ]
    return any(len(items) != len(set(items)) for items in lists)


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS)
def test_unknown_properties_survive(cdi: dict[str, Any], before: dict[str, Any]) -> None:
    after, _ = inject(before, found(cdi))
    for path in ((), ("process",), ("linux",), ("hooks",)):
        old, new = before, after
        for name in path:
            old, new = old.get(name) or {}, new.get(name) or {}
        assert {k: v for k, v in old.items() if k[:2] == "x-"} == {
            k: v for k, v in new.items() if k[:2] == "x-"
        }
    merged = edits.merge(found(cdi))
    replaced = {m["containerPath"] for m in merged["mounts"]}
    replaced |= {node["path"] for node in merged["deviceNodes"]}  # bound in user namespaces
    for mount in before.get("mounts") or ():
        assert mount["destination"] in replaced or mount in after["mounts"]
    for hook in (before.get("hooks") or {}).get("createContainer", ()):
        assert hook in after["hooks"]["createContainer"]


@laws
@given(strategies.cdi_specs(), strategies.OCI_SPECS, st.randoms(use_true_random=False))
def test_the_order_of_the_request_is_respected(
    cdi: dict[str, Any], before: dict[str, Any], random: Any
) -> None:
    devices = found(cdi)
    random.shuffle(devices)
    for device in devices:
        own = {"hookName": "startContainer", "path": f"/{device.name}"}
        device.edits = {**device.edits, "hooks": [own]}
    after, _ = inject(before, devices)
    assert [h["path"] for h in after["hooks"]["startContainer"]] == [f"/{d.name}" for d in devices]
    last = f"DEVICE={devices[-1].name.partition('=')[2]}"
    assert [entry for entry in after["process"]["env"] if entry.startswith("DEVICE=")] == [last]


@laws
@given(strategies.KIND_PARTS, strategies.KIND_PARTS, strategies.DEVICE_NAMES)
def test_names_round_trip(vendor: str, class_: str, device: str) -> None:
    name = names.parse(f"{vendor}/{class_}={device}")
    assert (name.vendor, name.class_, name.name) == (vendor, class_, device)
    assert names.parse(str(name)) == name


@laws
@given(st.text() | st.from_regex(r"[a-z1/=_.:-]{1,12}", fullmatch=True))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    if names.is_qualified(text):
        assert str(names.parse(text)) == text
    else:
        with pytest.raises(DocumentError) as e:
            names.parse(text)
        assert names.goquote(text) in e.value.message


@laws
@given(
    st.lists(strategies.DEVICE_NAMES.map("a.com/b={}".format), min_size=1, max_size=4), st.text()
)
def test_annotations_round_trip(devices: list[str], device_id: str) -> None:
    try:
        written = load_driver().updated({"other": ""}, "vendor.class", device_id, devices)
    except DocumentError:
        assert (
            not device_id.replace("/", "_").isalnum()
            or len(device_id.encode()) > 50
            or not device_id.isascii()
        )
        return
    assert [name for _, name in cdi_annotations.parse(written)] == devices
