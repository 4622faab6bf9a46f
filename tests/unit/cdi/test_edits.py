"""From container edits to changes: merging, filling in from the host, what is left out."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from ocishim.cdi import edits, hostdev
from ocishim.cdi.hostdev import HostDevice
from ocishim.cdi.registry import entries
from ocishim.errors import UnresolvedDeviceError
from ocishim.oci import spec as oci

HOST = {
    "/dev/char": HostDevice("c", 195, 3, 0o666),
    "/dev/disk": HostDevice("b", 8, 1, 0o660),
    "/dev/pipe": HostDevice("p", 0, 0, 0o600),
}


def stat(path: str) -> HostDevice:
    if path == "/dev/link":
        raise OSError("not a device node")
    if path not in HOST:
        raise OSError(errno.ENOENT, "No such file or directory")
    return HOST[path]


def found(path: str, common: dict[str, Any], own: dict[str, Any]) -> entries.Found:
    return entries.Found("a.com/b=c", path, "0.8.0", common, own)


def planned(spec: dict[str, Any] | None = None, **merged: Any) -> list[str]:
    return [change.describe() for change in edits.plan(spec or {}, merged, stat)]


def test_common_edits_come_once_per_file_before_its_first_device() -> None:
    merged = edits.merge(
        [
            found("/a", {"env": ["A=0"]}, {"env": ["A=1"]}),
            found("/b", {"env": ["B=0"]}, {"env": ["B=1"]}),
            found("/a", {"env": ["A=0"]}, {"env": ["A=2"]}),
        ]
    )
    assert merged["env"] == ["A=0", "A=1", "B=0", "B=1", "A=2"]


def test_lists_grow_and_the_last_rdt_wins() -> None:
    merged = edits.merge(
        [
            found("/a", {"intelRdt": {"closID": "x"}}, {"additionalGids": [5, 5]}),
            found("/b", {"intelRdt": {}}, {"additionalGids": [5], "mounts": [{"type": "x"}]}),
        ]
    )
    assert merged["additionalGids"] == [5, 5, 5]
    assert merged["intelRdt"] == {}
    assert merged["mounts"] == [{"type": "x"}]


def test_merging_leaves_the_devices_alone() -> None:
    device = found("/a", {"env": ["A=0"]}, {"env": ["A=1"]})
    edits.merge([device, device])
    assert (device.common, device.edits) == ({"env": ["A=0"]}, {"env": ["A=1"]})


def test_changes_come_by_kind() -> None:
    assert planned(
        additionalGids=[0, 44],
        intelRdt={"closID": "c", "schemata": []},
        hooks=[{"hookName": "prestart", "path": "/h", "args": ["h", "x"], "timeout": 0}],
        mounts=[{"hostPath": "/s", "containerPath": "/d", "options": ["ro", "bind"]}],
        netDevices=[{"hostInterfaceName": "eth7", "name": "net0"}],
        deviceNodes=[{"path": "/dev/char", "permissions": "rw"}, {"path": "/dev/pipe"}],
        env=["A=b"],
    ) == [
        "environment A=b",
        "device node /dev/char (c 195:3, 0666)",
        "cgroup rule allow c 195:3 rw",
        "device node /dev/pipe (p, 0600)",
        "network device eth7 as net0",
        "mount /s at /d (ro,bind)",
        "prestart hook /h x",
        "intelRdt closID=c",
        "additional group 44",
    ]


@pytest.mark.parametrize(
    ("node", "device"),
    [
        pytest.param({}, ("c", 195, 3, 0o666), id="all from the host"),
        pytest.param({"fileMode": 0}, ("c", 195, 3, 0), id="a mode of zero is a mode"),
        pytest.param({"minor": 9}, ("c", 195, 3, 0o666), id="a minor without major"),
        pytest.param({"major": 5}, ("c", 5, 0, 0o666), id="a major without type"),
        pytest.param({"type": "c"}, ("c", 195, 3, 0o666), id="the type alone"),
        pytest.param({"type": "b", "major": 5}, ("b", 5, 0, 0o666), id="complete, not compared"),
        pytest.param({"type": "p"}, ("p", 0, 0, 0o666), id="a fifo, not compared"),
        pytest.param({"hostPath": "/dev/disk"}, ("b", 8, 1, 0o660), id="another host path"),
        pytest.param(
            {"hostPath": "/none", "type": "u", "major": 1}, ("u", 1, 0, None), id="complete, absent"
        ),
    ],
)
def test_filling_in(node: Any, device: tuple[Any, ...]) -> None:
    filled = edits.fill({"path": "/dev/char"} | node, stat)
    assert filled["path"] == "/dev/char"
    assert tuple(filled.get(key) for key in ("type", "major", "minor", "fileMode")) == device


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"hostPath": "/none"},
            'failed to stat CDI host device "/none": no such file or directory',
        ),
        (
            {"hostPath": "/dev/link", "type": "c"},
            'failed to stat CDI host device "/dev/link": not a device node',
        ),
        (
            {"hostPath": "/dev/disk", "type": "c"},
            'CDI device ("/dev/x", "/dev/disk"), host type mismatch (c, b)',
        ),
        (
            {"hostPath": "/dev/char", "type": "u"},
            'CDI device ("/dev/x", "/dev/char"), host type mismatch (u, c)',
        ),
    ],
)
def test_devices_the_host_does_not_have(node: Any, message: str) -> None:
    with pytest.raises(UnresolvedDeviceError) as e:
        edits.fill({"path": "/dev/x"} | node, stat)
    assert e.value.message == message


@pytest.mark.parametrize(
    ("user", "node", "owner"),
    [
        ({"uid": 1000, "gid": 50}, {}, (1000, 50)),
        ({"uid": 1000, "gid": 50}, {"uid": 0, "gid": 7}, (0, 7)),
        ({"uid": 0}, {}, (None, None)),
        (None, {}, (None, None)),
    ],
)
def test_owner_of_a_node(user: Any, node: dict[str, Any], owner: tuple[Any, Any]) -> None:
    spec: dict[str, Any] = {"process": {"user": user}}
    merged = {"deviceNodes": [{"path": "/dev/char", **node}]}
    oci.apply(spec, edits.plan(spec, merged, stat), once=False)
    device = spec["linux"]["devices"][0]
    assert (device.get("uid"), device.get("gid")) == owner


@pytest.mark.parametrize(
    ("node", "rules"),
    [
        ({"permissions": "r"}, ["cgroup rule allow c 195:3 r"]),
        ({}, ["cgroup rule allow c 195:3 rwm"]),
        ({"permissions": "none"}, []),
        ({"type": "p"}, []),
        ({"type": "u", "major": 1}, []),
    ],
)
def test_cgroup_rules(node: dict[str, Any], rules: list[str]) -> None:
    assert planned(deviceNodes=[{"path": "/dev/char", **node}])[1:] == rules


def test_the_reference_writes_a_rule_without_access() -> None:
    merged = {"deviceNodes": [{"path": "/dev/char", "permissions": "none"}]}
    spec: dict[str, Any] = {}
    oci.apply(spec, edits.plan(spec, merged, stat, as_reference=True), once=False)
    # runc refuses it: "device access at N field cannot be empty".
    assert spec["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 195, "minor": 3}
    ]


@pytest.mark.parametrize(
    ("mount", "options"),
    [
        ({"type": "bind"}, ["idmap"]),
        ({"type": "bind", "options": ["ro"]}, ["ro", "idmap"]),
        ({"options": ["rbind"]}, ["rbind", "ridmap"]),
        ({"options": ["rbind", "bind"]}, ["rbind", "bind", "idmap"]),
        ({"type": "bind", "options": ["ridmap", "rbind"]}, ["ridmap", "rbind"]),
        ({"options": ["BIND"]}, ["BIND"]),
        ({"type": "tmpfs"}, None),
    ],
)
def test_id_mapped_mounts(mount: dict[str, Any], options: list[str] | None) -> None:
    merged = {"mounts": [{"hostPath": "/s", "containerPath": "/d", **mount}]}
    spec: dict[str, Any] = {"linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]}}
    oci.apply(spec, edits.plan(spec, merged, stat))
    assert spec["mounts"][0].get("options") == options
    plain: dict[str, Any] = {"linux": {"namespaces": [{"type": "pid"}]}}
    oci.apply(plain, edits.plan(plain, merged, stat))
    assert plain["mounts"][0].get("options") == mount.get("options")


class Kernel(hostdev.Kernel):
    """Maps owners below /mapped alone; `inside`: the runtime is in a user namespace itself."""

    def __init__(self, *, inside: bool = False) -> None:
        self.inside = inside
        self.asked: list[tuple[str, bool]] = []

    def maps_owners(self, source: str, *, recursive: bool) -> bool:
        self.asked.append((source, recursive))
        return source.startswith("/mapped")

    def makes_no_nodes(self) -> bool:
        return self.inside


MAPPED: dict[str, Any] = {"linux": {"namespaces": [{"type": "user", "path": "/proc/7/ns/user"}]}}


@pytest.mark.parametrize(
    ("source", "mount", "asked", "result"),
    [
        pytest.param("/mapped", {"options": ["bind"]}, [("/mapped", False)],
                     {"type": "bind", "options": ["bind", "idmap"]}, id="granted"),
        pytest.param("/overlay", {"options": ["ro", "rbind"]}, [("/overlay", True)],
                     {"type": "bind", "options": ["ro", "rbind"]}, id="not granted"),
        pytest.param("/overlay", {"type": "bind"}, [("/overlay", False)],
                     {"type": "bind"}, id="not granted, no options"),
        pytest.param("/overlay", {"options": ["bind", "idmap"]}, [],
                     {"type": "bind", "options": ["bind", "idmap"]}, id="the spec asks for it"),
        pytest.param("tmpfs", {"type": "tmpfs", "options": ["ro"]}, [],
                     {"type": "tmpfs", "options": ["ro"]}, id="no bind mount"),
        pytest.param("/overlay", {"type": "none", "options": ["bind"]}, [("/overlay", False)],
                     {"type": "none", "options": ["bind"]}, id="a type is kept"),
        pytest.param("/overlay", {"options": ["ro"]}, [], {"options": ["ro"]}, id="neither"),
    ],
)  # fmt: skip
def test_owners_are_mapped_where_the_kernel_can(
    source: str, mount: dict[str, Any], asked: list[object], result: dict[str, Any]
) -> None:
    merged = {"mounts": [{"hostPath": source, "containerPath": "/d", **mount}]}
    spec = {"linux": {"namespaces": [{"type": "user"}]}}
    kernel = Kernel()
    oci.apply(spec, edits.plan(spec, merged, stat, kernel))
    assert spec["mounts"] == [{"source": source, "destination": "/d", **result}]  # type: ignore[comparison-overlap]
    assert kernel.asked == asked
    reference = edits.plan(MAPPED, merged, stat, kernel, as_reference=True)
    assert kernel.asked == asked
    assert reference[0].mount.get("type") == mount.get("type")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("node", "spec", "inside", "bound"),
    [
        pytest.param({"hostPath": "/dev/char"}, MAPPED, False, True, id="a namespace of its own"),
        pytest.param({"hostPath": "/dev/char"}, {}, True, True, id="rootless"),
        pytest.param({"hostPath": "/dev/char"}, {}, False, False, id="root"),
        pytest.param({}, MAPPED, True, False, id="one name"),
        pytest.param({"hostPath": "/dev/x"}, MAPPED, True, False, id="one name, twice"),
    ],
)
def test_a_node_of_another_name_is_bound(
    node: dict[str, Any], spec: dict[str, Any], *, inside: bool, bound: bool
) -> None:
    merged = {"deviceNodes": [{"path": "/dev/x", "type": "c", "major": 195, "minor": 3, **node}]}
    edited: dict[str, Any] = {
        "linux": {**spec.get("linux", {}), "devices": [{"path": "/dev/x"}, {"path": "/dev/y"}]}
    }
    for _ in range(2):  # the second time changes nothing
        oci.apply(edited, edits.plan(edited, merged, stat, Kernel(inside=inside)))
        devices = [device["path"] for device in edited["linux"]["devices"]]
        assert devices == (["/dev/y"] if bound else ["/dev/y", "/dev/x"])
        assert len(edited.get("mounts", [])) == bound
    assert edited["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 195, "minor": 3, "access": "rwm"}
    ]
    if bound:
        assert edited["mounts"][0] == {
            "destination": "/dev/x", "source": "/dev/char", "type": "bind",
            "options": ["bind", "rw", "nosuid", "noexec"],
        }  # fmt: skip
        change = edits.plan(edited, merged, stat, Kernel(inside=inside))[0]
        assert change.describe() == "device node /dev/x: a mount of /dev/char"


def test_planning_changes_neither_spec_nor_edits() -> None:
    merged = {
        "deviceNodes": [{"path": "/dev/char"}],
        "mounts": [{"hostPath": "/s", "containerPath": "/d", "options": ["bind"]}],
        "intelRdt": {"closID": ""},
    }
    spec = {"linux": {"namespaces": [{"type": "user"}]}}
    before = repr((merged, spec))
    edits.plan(spec, merged, stat)
    assert repr((merged, spec)) == before
