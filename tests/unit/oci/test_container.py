"""What hooks are told of a container, and that a chain's words say the same."""

from __future__ import annotations

from typing import Any

import pytest

from ocishim.errors import UsageError
from ocishim.oci.container import USER_OPTION, Container

DROPPED: dict[str, Any] = {"bounding": ["CAP_CHOWN", "CAP_KILL"]}
ALL: dict[str, Any] = {"bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]}


@pytest.mark.parametrize(("process", "words"), [
    pytest.param({"capabilities": ALL}, [], id="root"),
    pytest.param({"capabilities": {"bounding": ["CAP_DAC_READ_SEARCH"]}}, [], id="root that reads"),
    pytest.param({}, [], id="root, nothing told"),
    pytest.param({"capabilities": DROPPED}, ["--user", "0:0::held"], id="root without"),
    pytest.param({"capabilities": {}}, ["--user", "0:0::held"], id="all dropped"),
    pytest.param(
        {"capabilities": {"bounding": None, "effective": ["CAP_DAC_OVERRIDE"]}},
        ["--user", "0:0::held"], id="not in the bounding set",
    ),
    pytest.param(
        {"capabilities": DROPPED, "user": {"uid": 0, "gid": 5, "additionalGids": [44, 7]}},
        ["--user", "0:5:44,7:held"], id="root's groups",
    ),
    pytest.param(
        {"capabilities": DROPPED, "user": {"uid": 9, "gid": 5}}, ["--user", "9:5:"], id="a user"
    ),
])  # fmt: skip
def test_who_it_is(process: dict[str, Any], words: list[str]) -> None:
    found = Container.of({"process": process})
    assert found.options() == words
    told = Container.from_options({USER_OPTION: words[1]} if words else {})
    assert told.options() == words


@pytest.mark.parametrize("text", ["0:0::x", "0:0::held:held", "0:0::", "0:0", "a:0:", "0:0:a"])
def test_what_is_no_user(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Container.from_options({USER_OPTION: text})
    assert caught.value.message == f"option --user {text!r} is not UID:GID:GROUPS"


@pytest.mark.parametrize(("mount", "places"), [
    pytest.param({}, ["/m"], id="its own"),
    pytest.param({"options": ["nosuid"]}, ["/m"], id="with options"),
    pytest.param({"options": ["bind"]}, [], id="a bind of somebody's"),
    pytest.param({"options": ["nosuid", "rbind"]}, [], id="with what is below"),
    pytest.param({"type": "bind"}, [], id="another type"),
    pytest.param({"destination": "m/n/"}, ["/m/n"], id="relative"),
    pytest.param({"destination": "/m:n"}, [], id="no word can say it"),
    pytest.param({"destination": 5}, [], id="no text"),
])  # fmt: skip
def test_where_it_has_tmpfs(mount: dict[str, Any], places: list[str]) -> None:
    found = Container.of({"mounts": [{"type": "tmpfs", "destination": "/m", **mount}, 5]})
    assert list(found.tmpfs) == places
