"""Requests by environment and volume mounts: every form, none of the peer's surprises."""

from __future__ import annotations

import pytest

from ocishim.create import device_lists

KIND = "nvidia.com/gpu"


def q(*names: str) -> list[str]:
    return [f"{KIND}={name}" for name in names]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param("0", q("0"), id="index"),
        pytest.param("GPU-4c3c,MIG-6c2f", q("GPU-4c3c", "MIG-6c2f"), id="uuids"),
        pytest.param("0:1", q("0:1"), id="mig index"),
        pytest.param("all", q("all"), id="all"),
        pytest.param("none", [], id="none"),
        pytest.param("void", [], id="void"),
        pytest.param("0,void", [], id="void anywhere"),
        pytest.param("", [], id="empty"),
        pytest.param(" 0 , 1 ", q("0", "1"), id="blanks"),
        pytest.param("0,0,1,0", q("0", "1"), id="duplicates"),
        pytest.param("0,,1,", q("0", "1"), id="empty items"),
        pytest.param("0-3", q("0", "1", "2", "3"), id="range"),
        pytest.param("1,0-2", q("1", "0", "2"), id="range and duplicate"),
        pytest.param("3-1", q("3-1"), id="backward range is a name"),
        pytest.param("0-99999999", q("0-99999999"), id="absurd range is a name"),
        pytest.param("a-b", q("a-b"), id="dash in a name"),
        pytest.param("amd.com/gpu=2,0", ["amd.com/gpu=2", *q("0")], id="qualified among others"),
        pytest.param("/var/run/nvidia-container-devices", [], id="beside volume mounts"),
    ],
)
def test_device_names(value: str, names: list[str]) -> None:
    assert device_lists.device_names(value, KIND) == names


def mount(destination: str, source: str = "/dev/null") -> dict[str, str]:
    return {"destination": destination, "source": source}


@pytest.mark.parametrize(
    ("destination", "names"),
    [
        pytest.param("/GPU-4c3c", q("GPU-4c3c"), id="uuid"),
        pytest.param("/all", q("all"), id="all"),
        pytest.param("/cdi/amd.com/gpu/1", ["amd.com/gpu=1"], id="cdi path"),
        pytest.param("/cdi/amd.com/gpu=1", ["amd.com/gpu=1"], id="cdi qualified"),
        pytest.param("/imex/0", [], id="imex channel"),
        pytest.param("", [], id="the folder itself"),
        pytest.param("-evil/0", [], id="prefix without a slash"),
        pytest.param("/a/b", [], id="deeper than an id"),
        pytest.param("/cdi/amd.com", [], id="cdi too short"),
    ],
)
def test_mounted_names(destination: str, names: list[str]) -> None:
    spec = {"mounts": [mount(device_lists.MOUNTS_ROOT + destination)]}
    assert device_lists.mounted_names(spec, KIND) == names


def test_mount_of_something_else_asks_for_nothing() -> None:
    spec = {"mounts": [mount(device_lists.MOUNTS_ROOT + "/0", "/etc/passwd"), None, {}]}
    assert device_lists.mounted_names(spec, KIND) == []


@pytest.mark.parametrize(
    ("env", "value"),
    [
        pytest.param(["A=1", "A=2"], "2", id="last wins"),
        pytest.param(["A", "A=1"], "1", id="entry without ="),
        pytest.param(["AB=1"], None, id="longer name"),
        pytest.param(None, None, id="no env"),
    ],
)
def test_env_value(env: list[str] | None, value: str | None) -> None:
    assert device_lists.env_value({"process": {"env": env}}, "A") == value


def test_privileged_is_the_bounding_set() -> None:
    def spec(**sets: list[str]) -> dict[str, object]:
        return {"process": {"capabilities": sets}}

    assert device_lists.is_privileged(spec(bounding=["CAP_SYS_ADMIN"]))
    assert not device_lists.is_privileged(spec(effective=["CAP_SYS_ADMIN"], bounding=[]))
    assert not device_lists.is_privileged({})
