"""Each change to an OCI spec: the reference's way, the idempotent way, odd specs, its words."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest

from ocishim.errors import DocumentError
from ocishim.oci import spec as oci
from ocishim.oci.changes import (
    AddGid,
    AddMount,
    AllowDevice,
    Change,
    PutDevice,
    SetEnv,
    SetIntelRdt,
    SetNetDevice,
)
from ocishim.oci.hookchanges import AddHook

if TYPE_CHECKING:
    from ocishim.oci.types import Device, Hook, Mount

NULL: Device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}
HOOK: Hook = {"path": "/h", "args": ["h"]}


def applied(spec: dict[str, Any], *changes: Change, once: bool = True) -> dict[str, Any]:
    result = copy.deepcopy(spec)
    oci.apply(result, list(changes), once=once)
    return result


def mount(source: str, destination: str, *options: str, **more: str) -> Mount:
    found: Any = {"destination": destination, "source": source, **more}
    if options:
        found["options"] = list(options)
    return cast("Mount", found)


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(
    ("env", "entries", "result"),
    [
        pytest.param(None, ["A=1"], ["A=1"], id="no env"),
        pytest.param(["A=0", "B=0"], ["A=1"], ["A=1", "B=0"], id="in its place"),
        pytest.param(
            ["A=0", "B=0", "A=9"], ["A=1"], ["A=0", "B=0", "A=1"], id="the last duplicate"
        ),
        pytest.param(["A"], ["A=1"], ["A=1"], id="an entry without ="),
        pytest.param(["AB=1", "plain", 7], ["A=1"], ["AB=1", "plain", 7, "A=1"], id="others stay"),
        pytest.param([], ["A=1", "B=1", "A=2"], ["A=2", "B=1"], id="twice in one go"),
        pytest.param([], ["A=b=c"], ["A=b=c"], id="= in the value"),
    ],
)
def test_environment(env: Any, entries: list[str], result: list[Any], *, once: bool) -> None:
    spec = applied({"process": {"env": env}}, *map(SetEnv, entries), once=once)
    assert spec["process"]["env"] == result


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(
    ("paths", "result"),
    [
        ([], ["/dev/null*"]),
        (["/dev/null", "/x"], ["/x", "/dev/null*"]),
        (["/dev/null", "/x", "/dev/null", "/y"], ["/x", "/dev/null*", "/y"]),
        (["/dev//null"], ["/dev//null", "/dev/null*"]),
    ],
)
def test_where_a_device_goes(paths: list[str], result: list[str], *, once: bool) -> None:
    old = [{"path": path, "type": "c", "major": 9, "minor": 9} for path in paths]
    spec = applied({"linux": {"devices": old}}, PutDevice(NULL), once=once)
    marked = [d["path"] + "*" * (d["major"] == 1) for d in spec["linux"]["devices"]]
    assert marked == result


@pytest.mark.parametrize(
    ("there", "unchanged"),
    [
        pytest.param(NULL, True, id="the same"),
        pytest.param({**NULL, "fileMode": 0o600, "uid": 5}, True, id="inherited members differ"),
        pytest.param({**NULL, "gid": 5}, False, id="a member asked for differs"),
        pytest.param({**NULL, "minor": 4}, False, id="another number"),
    ],
)
def test_a_device_that_is_there(there: dict[str, Any], *, unchanged: bool) -> None:
    wanted: Device = {**NULL, "fileMode": 0o666, "uid": 1}
    if "gid" in there:
        wanted["gid"] = 6
    change = PutDevice(wanted, inherited=("fileMode", "uid"))
    spec = {"linux": {"devices": [{"path": "/a"}, there, {"path": "/b"}]}}
    assert (applied(spec, change) == spec) == unchanged


def test_rules_are_appended_and_not_repeated() -> None:
    rule = AllowDevice("c", 1, 3, "rw")
    deny = {"allow": False, "access": "rwm"}
    spec = applied({"linux": {"resources": {"devices": [deny]}}}, rule, rule)
    assert spec["linux"]["resources"]["devices"] == [
        deny,
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    ]
    twice = applied(spec, rule, rule, once=False)["linux"]["resources"]["devices"]
    assert len(twice) == 4


def test_a_rule_that_was_taken_back_is_given_again() -> None:
    rule = AllowDevice("c", 1, 3, "rw")
    spec = {"linux": {"resources": {"devices": [dict(rule.rule), {"allow": False}]}}}
    assert applied(spec, rule)["linux"]["resources"]["devices"][-1] == rule.rule


def test_mounts_replace_and_are_sorted_once() -> None:
    spec = {"mounts": [mount("p", "/a/b/c"), mount("q", "/x"), mount("r", "/x"), mount("s", "rel")]}
    new = [AddMount(mount("n", "/x", "ro")), AddMount(mount("m", "/y/z/"))]
    assert [m["source"] for m in applied(spec, *new)["mounts"]] == ["s", "r", "n", "m", "p"]


@pytest.mark.parametrize(
    ("shallow", "deep"),
    [("rel", "/"), ("", "/a"), ("/a", "/a/b"), ("//a//", "/a/b"), ("/a/../b", "/a/b/.")],
)
def test_depth_of_destinations(shallow: str, deep: str) -> None:
    spec = {"mounts": [mount("deep", deep), mount("shallow", shallow)]}
    found = applied(spec, AddMount(mount("new", "/1/2/3/4/5")))["mounts"]
    assert [m["source"] for m in found] == ["shallow", "deep", "new"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("/", "/a"), ("/..", "/a"), ("/a/./", "/b"), ("/a/b/..", "/b"), ("../q", "/")],
)
def test_destinations_of_one_depth_keep_their_order(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        spec = {"mounts": [mount("1", first), mount("2", second)]}
        found = applied(spec, AddMount(mount("new", "/1/2/3/4/5")))["mounts"]
        assert [m["source"] for m in found] == ["1", "2", "new"]


def test_nothing_is_sorted_when_no_mount_is_added() -> None:
    spec = {"mounts": [mount("a", "/deep/er"), mount("b", "/x", "bind", "idmap", type="bind")]}
    assert (
        applied(spec, AddMount(mount("b", "/x", "bind")), SetEnv("A=b"))["mounts"] == spec["mounts"]
    )


@pytest.mark.parametrize(
    "there",
    [mount("c", "/x", "ro"), mount("b", "/x"), mount("b", "/x", "ro", type="tmpfs"), "odd", None],
)
def test_another_mount_is_another(there: Any) -> None:
    change = AddMount(mount("b", "/x", "ro"))
    found = applied({"mounts": [there]}, change)["mounts"]
    assert change.mount in found


@pytest.mark.parametrize(
    ("there", "count"),
    [
        pytest.param([], 1, id="none"),
        pytest.param([HOOK], 1, id="the same"),
        pytest.param(
            [{**HOOK, "env": ["A=b"], "timeout": None}], 1, id="with an environment since"
        ),
        pytest.param([{**HOOK, "timeout": 5}], 2, id="other timeout"),
        pytest.param([{**HOOK, "args": None}, None, "odd"], 4, id="other arguments"),
    ],
)
def test_hooks(there: list[Any], count: int) -> None:
    change = AddHook("createContainer", HOOK)
    spec = {"hooks": {"createContainer": there}}
    assert len(applied(spec, change, change)["hooks"]["createContainer"]) == count
    assert (
        len(applied(spec, change, change, once=False)["hooks"]["createContainer"]) == len(there) + 2
    )


def test_a_hook_that_asks_for_an_environment_must_have_it() -> None:
    change = AddHook("poststop", {**HOOK, "env": ["A=b"]})
    there = {"hooks": {"poststop": [HOOK]}}
    assert len(applied(there, change)["hooks"]["poststop"]) == 2


def test_network_devices() -> None:
    spec = {"linux": {"netDevices": {"eth0": {"name": "x"}, "eth1": {"name": "y"}}}}
    found = applied(spec, SetNetDevice("eth0", "a"), SetNetDevice("eth0", "b"))
    assert found["linux"]["netDevices"] == {"eth0": {"name": "b"}, "eth1": {"name": "y"}}


def test_rdt_is_replaced_as_a_whole() -> None:
    spec = {"linux": {"intelRdt": {"closID": "old", "l3CacheSchema": "L3:0=f"}}}
    assert applied(spec, SetIntelRdt({}))["linux"] == {"intelRdt": {}}


def test_groups_are_added_once() -> None:
    spec = {"process": {"user": {"additionalGids": [5]}}}
    found = applied(spec, *map(AddGid, (5, 6, 6)), once=False)
    assert found["process"]["user"]["additionalGids"] == [5, 6]


EVERY_CHANGE = [
    (SetEnv("A=b"), "environment A=b"),
    (PutDevice({**NULL, "fileMode": 0o66}), "device node /dev/null (c 1:3, 0066)"),
    (PutDevice({**NULL, "type": "p"}), "device node /dev/null (p)"),
    (AllowDevice("b", 8, 0, "r"), "cgroup rule allow b 8:0 r"),
    (AllowDevice("b", 9, 0, ""), "cgroup rule allow b 9:0 no access"),
    (SetNetDevice("eth0", "net1"), "network device eth0 as net1"),
    (AddMount(mount("/a", "/b", "ro", "nosuid")), "mount /a at /b (ro,nosuid)"),
    (AddMount(mount("/a", "/c")), "mount /a at /c"),
    (AddHook("prestart", {"path": "/h", "args": ["h", "", "x"]}), "prestart hook /h '' x"),
    (AddHook("prestart", {"path": "/h"}), "prestart hook /h"),
    (
        SetIntelRdt({"closID": "c", "schemata": ["L3:0=f"]}),
        "intelRdt closID=c schemata=['L3:0=f']",
    ),
    (AddGid(44), "additional group 44"),
]
CHANGES = [change for change, _ in EVERY_CHANGE]


@pytest.mark.parametrize(("change", "sentence"), EVERY_CHANGE)
def test_every_change_says_what_it_is(change: Change, sentence: str) -> None:
    assert change.describe() == sentence
    assert repr(change) == f"<{type(change).__name__} {sentence}>"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"process": None, "linux": None, "mounts": None, "hooks": None},
        {
            "process": {"env": None, "user": None},
            "linux": {"devices": None, "resources": None, "netDevices": None, "intelRdt": None},
            "hooks": {"prestart": None},
        },
        {"process": {"user": {"additionalGids": None}}, "linux": {"resources": {"devices": None}}},
    ],
)
def test_members_that_are_missing_are_made(spec: dict[str, Any]) -> None:
    result = copy.deepcopy(spec)
    survivors = [c for c in CHANGES if c is not CHANGES[1]]  # the second /dev/null replaces it
    assert [*map(repr, oci.apply(result, list(CHANGES)))] == [*map(repr, survivors)]
    assert all(change.present(result) for change in survivors)
    again = copy.deepcopy(result)
    assert oci.apply(again, list(CHANGES)) == []
    assert again == result


def test_reading_makes_nothing() -> None:
    spec: dict[str, Any] = {"linux": {}}
    assert [change for change in CHANGES if change.present(spec)] == []
    assert (oci.process_ids(spec), oci.has_user_namespace(spec)) == ((0, 0), False)
    assert spec == {"linux": {}}


@pytest.mark.parametrize(
    ("spec", "change", "message"),
    [
        ({"process": []}, 0, "expected object, found array in 'process'"),
        ({"process": {"env": {}}}, 0, "expected array, found object in 'process.env'"),
        ({"linux": []}, 1, "expected object, found array in 'linux'"),
        ({"linux": {"devices": "x"}}, 1, "expected array, found string in 'linux.devices'"),
        ({"linux": {"resources": 5}}, 3, "expected object, found integer in 'linux.resources'"),
        (
            {"linux": {"resources": {"devices": True}}},
            3,
            "expected array, found boolean in 'linux.resources.devices'",
        ),
        ({"linux": {"netDevices": 1.5}}, 5, "expected object, found number in 'linux.netDevices'"),
        ({"mounts": {}}, 6, "expected array, found object in 'mounts'"),
        ({"hooks": []}, 8, "expected object, found array in 'hooks'"),
        ({"hooks": {"prestart": {}}}, 8, "expected array, found object in 'hooks.prestart'"),
        ({"process": {"user": []}}, 11, "expected object, found array in 'process.user'"),
    ],
)
@pytest.mark.parametrize("once", [True, False])
def test_members_of_another_type(
    spec: dict[str, Any], change: int, message: str, *, once: bool
) -> None:
    with pytest.raises(DocumentError) as e:
        oci.apply(copy.deepcopy(spec), [CHANGES[change]], once=once)
    assert e.value.message == f"config.json: {message}"


def test_the_changes_do_not_share_data_with_the_spec() -> None:
    spec: dict[str, Any] = {}
    before = repr([vars_of(change) for change in CHANGES])
    oci.apply(spec, list(CHANGES))
    spec["mounts"][0]["options"].append("x")
    spec["hooks"]["prestart"][0]["args"].append("x")
    spec["linux"]["devices"][0]["path"] = "x"
    spec["linux"]["intelRdt"]["closID"] = "x"
    spec["linux"]["intelRdt"]["schemata"].append("x")
    spec["linux"]["resources"]["devices"][0]["access"] = "x"
    assert repr([vars_of(change) for change in CHANGES]) == before


def vars_of(change: Change) -> list[Any]:
    names: tuple[str, ...] = type(change).__slots__
    return [getattr(change, name) for name in names]
