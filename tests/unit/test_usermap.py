"""usermap: what config.json says about the container's user namespace."""

from __future__ import annotations

from typing import Any

import pytest

from ocishim.errors import DocumentError
from ocishim.executor import usermap


def spec(space: dict[str, Any], **linux: object) -> dict[str, Any]:
    return {"linux": {"namespaces": [{"type": "mount"}, space], **linux}}


MAPPED = {"containerID": 0, "hostID": 200000, "size": 65536}


def test_no_user_namespace() -> None:
    assert usermap.wanted(spec({"type": "pid"})) is None
    assert usermap.wanted({}) is None


def test_mappings_become_the_kernels_lines() -> None:
    second = {"containerID": 65536, "hostID": 5, "size": 1}
    found = usermap.wanted(
        spec({"type": "user"}, uidMappings=[second, MAPPED], gidMappings=[MAPPED])
    )
    assert found is not None
    assert (found.uids, found.gids) == ("65536 5 1\n0 200000 65536\n", "0 200000 65536\n")
    assert found.needs_writing
    assert found.root_ids() == (200000, 200000)


def test_a_namespace_to_join() -> None:
    found = usermap.wanted(spec({"type": "user", "path": "/proc/7/ns/user"}))
    assert found is not None
    assert not found.needs_writing
    assert found.path == "/proc/7/ns/user"
    assert found.root_ids() == (0, 0), "config.json does not say"


@pytest.mark.parametrize(("entry", "message"), [
    pytest.param("0", "expected object, found string in 'linux.uidMappings[1]'", id="no object"),
    pytest.param(None, "expected object, found null in 'linux.uidMappings[1]'", id="null"),
    pytest.param({}, "expected integer, found null in 'linux.uidMappings[1].containerID'",
        id="empty"),
    pytest.param({"containerID": 0, "hostID": "x", "size": 1},
        "expected integer, found string in 'linux.uidMappings[1].hostID'", id="a string"),
    pytest.param({"containerID": 0, "hostID": 1},
        "expected integer, found null in 'linux.uidMappings[1].size'", id="no size"),
])  # fmt: skip
def test_odd_mappings_are_refused(entry: object, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        usermap.wanted(spec({"type": "user"}, uidMappings=[MAPPED, entry]))
    assert caught.value.message == f"config.json: {message}"
