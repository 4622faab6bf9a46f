"""Requests in annotations: reading, writing, and the reference's messages."""

from __future__ import annotations

from typing import Any

import pytest

from ocishim.cdi import annotations as cdi_annotations
from ocishim.errors import DocumentError
from tests.unit.cdi.corpus import load_driver

DRIVER = load_driver()


def test_keys_are_sorted_and_items_keep_their_order() -> None:
    given = {
        "cdi.k8s.io/b": "v.com/c=2,v.com/c=1",
        "other": "not looked at",
        "cdi.k8s.io/a": "v.com/c=2",
        "cdi.k8s.io": "no slash, no request",
    }
    assert cdi_annotations.parse(given) == [
        ("cdi.k8s.io/a", "v.com/c=2"),
        ("cdi.k8s.io/b", "v.com/c=2"),
        ("cdi.k8s.io/b", "v.com/c=1"),
    ]


def test_any_of_several_prefixes() -> None:
    given = {"x.io/a": "v.com/c=1", "cdi.k8s.io/a": "v.com/c=2", "y.io/a": "?"}
    found = cdi_annotations.parse(given, ("x.io/", "cdi.k8s.io/"))
    assert [name for _, name in found] == ["v.com/c=2", "v.com/c=1"]


@pytest.mark.parametrize(
    ("value", "item"),
    [
        ("", '""'),
        ("v.com/c=1,", '""'),
        ("v.com/c=1, v.com/c=2", '" v.com/c=2"'),
        ("v.com/c=1,,v.com/c=2", '""'),
        ("v.com/c", '"v.com/c"'),
        ("/dev/null", '"/dev/null"'),
    ],
)
def test_items_that_are_no_names(value: str, item: str) -> None:
    with pytest.raises(DocumentError) as e:
        cdi_annotations.parse({"cdi.k8s.io/a": value})
    assert e.value.message == f"invalid CDI device name {item}"


@pytest.mark.parametrize("value", [None, 5, ["v.com/c=1"]])
def test_a_value_that_is_no_string(value: Any) -> None:
    with pytest.raises(DocumentError, match=r"^annotation 'cdi.k8s.io/a': expected string, found "):
        cdi_annotations.parse({"cdi.k8s.io/a": value})


@pytest.mark.parametrize(
    ("plugin", "device_id", "message"),
    [
        ("", "d", "invalid plugin name, empty"),
        ("p", "", "invalid deviceID, empty"),
        ("p" * 62, "d", f'invalid plugin+deviceID "{"p" * 62}_d", too long'),
        ("_p", "d", "invalid name \"_p_d\", first '_' should be alphanumeric"),
        ("p", "d+e", "invalid name \"p_d+e\", invalid character '+'"),
        ("p", "d-", "invalid name \"p_d-\", last '-' should be alphanumeric"),
        ("é", "d", "invalid name \"é_d\", first 'Ã' should be alphanumeric"),
    ],
)
def test_keys_that_cannot_be(plugin: str, device_id: str, message: str) -> None:
    with pytest.raises(DocumentError) as e:
        DRIVER.key_of(plugin, device_id)
    assert e.value.message == message


def test_only_the_device_id_loses_its_slashes() -> None:
    assert DRIVER.key_of("v-e.n_d", "d-e/v") == "cdi.k8s.io/v-e.n_d_d-e_v"
    with pytest.raises(DocumentError, match="invalid character '/'"):
        DRIVER.key_of("v/e", "d")


def test_update_adds_and_leaves_its_argument_alone() -> None:
    given = {"x": "y"}
    result = DRIVER.updated(given, "vendor.class", "0", ["v.com/c=1", "v.com/c=2"])
    assert result == {"x": "y", "cdi.k8s.io/vendor.class_0": "v.com/c=1,v.com/c=2"}
    assert given == {"x": "y"}


@pytest.mark.parametrize(
    ("plugin", "devices", "message"),
    [
        ("", ["v.com/c=1"], "CDI annotation failed: invalid plugin name, empty"),
        ("p", ["v.com/c=1"], 'CDI annotation failed, key "cdi.k8s.io/p_0" used'),
        ("q", ["c=1"], 'CDI annotation failed: unqualified device "c=1", missing vendor'),
    ],
)
def test_updates_that_cannot_be(plugin: str, devices: list[str], message: str) -> None:
    with pytest.raises(DocumentError) as e:
        DRIVER.updated({"cdi.k8s.io/p_0": ""}, plugin, "0", devices)
    assert e.value.message == message
