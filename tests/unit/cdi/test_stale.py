"""Specs that no longer fit their host: what is found, in which words, and what is not."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.cdi import stale
from ocishim.cdi.registry.entries import Found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = "/var/run/cdi/acme.yaml"
RELOADED = "; likely its kernel module was loaded again: generate the spec again"
UPGRADED = "; likely the driver was upgraded or removed: generate the spec again"


def found(edits: dict[str, Any], common: dict[str, Any] | None = None, name: str = "0") -> Found:
    return Found(f"acme.com/gpu={name}", SPEC, "0.6.0", common or {}, edits)


def node(kind: int, major: int, minor: int) -> os.stat_result:
    """A stat result of that kind and those numbers."""
    values: list[Any] = [kind | 0o666, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    return os.stat_result(values, {"st_rdev": os.makedev(major, minor)})


HOST: dict[str, os.stat_result | int] = {
    "/dev/gpu0": node(stat.S_IFCHR, 195, 0),
    "/dev/disk": node(stat.S_IFBLK, 8, 1),
    "/dev/fifo": node(stat.S_IFIFO, 0, 0),
    "/dev/link": node(stat.S_IFLNK, 0, 0),
    "/usr/lib/libcuda.so": node(stat.S_IFREG, 0, 0),
    "/secret": errno.EACCES,
    "/loop": errno.ELOOP,
    "/long": errno.ENAMETOOLONG,
}


NODE = "('devices[name=0].containerEdits.deviceNodes[0].path')"
MOUNT = "('containerEdits.mounts[0].hostPath')"


def bind(source: str, destination: str = "/x") -> dict[str, Any]:
    return {"hostPath": source, "containerPath": destination, "options": ["bind"]}


def host(path: str) -> os.stat_result:
    answer = HOST.get(path, errno.ENOENT)
    if isinstance(answer, int):
        raise OSError(answer, os.strerror(answer), path)
    return answer


def messages(*devices: Found) -> list[str]:
    return [finding.message for finding in stale.findings(devices, host, host)]


@pytest.mark.parametrize(
    ("spec", "fact"),
    [
        pytest.param(
            {"path": "/dev/gpu0", "type": "c", "major": 510},
            "/dev/gpu0 is c 510:0 in the spec, c 195:0 on this host",
            id="major",
        ),
        pytest.param(
            {"path": "/dev/gpu0", "type": "c", "major": 195, "minor": 3},
            "/dev/gpu0 is c 195:3 in the spec, c 195:0 on this host",
            id="minor",
        ),
        pytest.param(
            {"path": "/dev/gpu0", "major": 510},
            "/dev/gpu0 is c 510:0 in the spec, c 195:0 on this host",
            id="no type given",
        ),
        pytest.param(
            {"path": "/dev/gpu0", "type": "b", "major": 195},
            "/dev/gpu0 is b 195:0 in the spec, c 195:0 on this host",
            id="type",
        ),
        pytest.param(
            {"path": "/dev/x", "hostPath": "/dev/disk", "type": "b", "major": 8, "minor": 2},
            "/dev/disk is b 8:2 in the spec, b 8:1 on this host",
            id="host path",
        ),
    ],
)
def test_a_node_that_differs(spec: dict[str, Any], fact: str) -> None:
    field = "hostPath" if "hostPath" in spec else "path"
    where = f"('devices[name=0].containerEdits.deviceNodes[0].{field}')"
    message = f"{SPEC} is stale: {fact} {where}{RELOADED}"
    assert messages(found({"deviceNodes": [spec]})) == [message]
    assert not any(one.certain for one in stale.findings([found({"deviceNodes": [spec]})], host))


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"path": "/dev/gpu0", "type": "c", "major": 195, "minor": 0}, id="equal"),
        pytest.param({"path": "/dev/gpu0", "type": "c", "major": 195}, id="equal, minor 0"),
        pytest.param({"path": "/dev/gpu0", "type": "u", "major": 195}, id="u is c"),
        pytest.param({"path": "/dev/gpu0"}, id="nothing given"),
        pytest.param({"path": "/dev/gpu0", "minor": 7}, id="the reference ignores a lone minor"),
        pytest.param({"path": "/dev/gpu0", "type": "p", "major": 7}, id="p has no numbers"),
        pytest.param({"path": "/dev/none", "type": "c", "major": 7}, id="no node on the host"),
        pytest.param({"path": "/dev/fifo", "type": "c", "major": 7}, id="host has a FIFO"),
        pytest.param({"path": "/dev/link", "type": "c", "major": 7}, id="host has a symlink"),
        pytest.param({"path": "/secret", "type": "c", "major": 7}, id="not to be seen"),
    ],
)
def test_a_node_that_fits_or_that_the_reference_judges(spec: dict[str, Any]) -> None:
    assert messages(found({"deviceNodes": [spec]})) == []


@pytest.mark.parametrize(
    ("mount", "is_gone"),
    [
        pytest.param({"hostPath": "/usr/lib/libcuda.so"}, False, id="there"),
        pytest.param({"hostPath": "/usr/lib/libcuda.so.1"}, True, id="gone"),
        pytest.param({"hostPath": "/secret"}, False, id="not to be seen"),
        pytest.param({"hostPath": "/gone", "type": "bind"}, True, id="bind"),
        pytest.param({"hostPath": "/gone", "type": "tmpfs", "options": []}, False, id="other type"),
        pytest.param({"hostPath": "/gone", "type": "x", "options": ["rbind"]}, True, id="rbind"),
        pytest.param({"hostPath": "tmpfs", "type": "tmpfs", "options": []}, False, id="no path"),
    ],
)
def test_a_mount_whose_source_is_gone(mount: dict[str, Any], *, is_gone: bool) -> None:
    where = "('devices[name=0].containerEdits.mounts[0].hostPath')"
    message = f"{SPEC} is stale: mount source {mount['hostPath']} is gone {where}{UPGRADED}"
    edits = {"mounts": [{"options": ["bind"], **mount, "containerPath": "/x"}]}
    assert messages(found(edits)) == ([message] if is_gone else [])
    assert all(one.certain for one in stale.findings([found(edits)], host, host))


LOOP = "; no runtime can follow it: mend the links on its way, which 'namei -l' shows"
NOWHERE = "; no runtime can mount it: write the path of a file or folder"
RELATIVE = (
    "; runtimes look for it in the container's bundle, where it is not: write an absolute hostPath"
)
OF_BUNDLE = (
    "; the container gets what is there in its own bundle, and nothing of the host: "
    "write an absolute hostPath"
)


@pytest.mark.parametrize(
    ("source", "bundle", "fact"),
    [
        pytest.param("/loop", "", " is stale: mount source /loop is a loop of links {}" + LOOP,
                     id="loop"),
        pytest.param("lib/acme", "", ": mount source lib/acme is a relative path {}" + RELATIVE,
                     id="relative, no bundle yet"),
        pytest.param("lib/acme", "/b", ": mount source lib/acme is a relative path {}" + RELATIVE,
                     id="relative, not in the bundle"),
        pytest.param("lib/libcuda.so", "/usr",
                     ": mount source lib/libcuda.so is a relative path {}" + OF_BUNDLE,
                     id="relative, in the bundle"),
        pytest.param("../loop", "/usr/..", ": mount source ../loop is a relative path {}" + RELATIVE,
                     id="relative, a loop in the bundle"),
        pytest.param("/long", "", ": mount source /long is no path: file name too long {}" + NOWHERE,
                     id="a name too long"),
    ],
)  # fmt: skip
def test_a_mount_whose_source_is_nowhere(source: str, bundle: str, fact: str) -> None:
    """Runc 1.1 and 1.3 and crun 1.8 take a relative source from the bundle, and follow no loop."""
    edits = {"mounts": [bind(source)]}
    left = stale.findings([found(edits)], host, lambda path: host(os.path.normpath(path)),
                          bundle=bundle)  # fmt: skip
    where = "('devices[name=0].containerEdits.mounts[0].hostPath')"
    assert [one.message for one in left] == [SPEC + fact.format(where)]
    assert left[0].certain is (OF_BUNDLE not in fact)


def test_one_finding_a_file_and_sort_however_many_facts() -> None:
    common = {"mounts": [bind(f"/gone/{n}") for n in range(26)]}
    edits = {"deviceNodes": [{"path": "/dev/gpu0", "type": "c", "major": 7}]}
    other = Found("b.c/d=x", "/etc/cdi/b.yaml", "0.6.0", common, {})
    more = f" {MOUNT} and 25 more of this sort{UPGRADED}"
    assert messages(found(edits, common), found(edits, common, "1"), other) == [
        f"{SPEC} is stale: /dev/gpu0 is c 7:0 in the spec, c 195:0 on this host {NODE}{RELOADED}",
        f"{SPEC} is stale: mount source /gone/0 is gone{more}",
        f"/etc/cdi/b.yaml is stale: mount source /gone/0 is gone{more}",
    ]


def test_each_path_is_looked_at_once_a_request() -> None:
    seen: list[str] = []

    def counted(path: str) -> os.stat_result:
        seen.append(path)
        return host(path)

    common = {"mounts": [bind("/usr/lib/libcuda.so")]}
    device = found({"deviceNodes": [{"path": "/dev/gpu0", "major": 1}]}, common)
    stale.findings([device, device, found({}, common, "1")], counted, counted)
    assert seen == ["/usr/lib/libcuda.so", "/dev/gpu0"]


def test_the_error_has_all_findings_who_asks_and_the_way_out() -> None:
    nodes = {"deviceNodes": [{"path": "/dev/gpu0", "type": "c", "major": 7}]}
    mounts = {"mounts": [bind("/gone")]}
    error = stale.error(stale.findings([found(nodes, mounts)], host, host))
    assert error.message == (
        f"{SPEC} is stale: /dev/gpu0 is c 7:0 in the spec, c 195:0 on this host {NODE}"
        "; likely its kernel module was loaded again, needed by acme.com/gpu=0; "
        f"{SPEC} is stale: mount source /gone is gone {MOUNT}"
        "; likely the driver was upgraded or removed, needed by acme.com/gpu=0"
    )
    assert error.hint == 'generate the spec again, or set cdi.stale = "auto"'


@pytest.mark.parametrize(
    ("path", "kind", "step"),
    [
        pytest.param("/etc/cdi/acme.yaml", "acme.com/gpu", "generate the spec again", id="any"),
        pytest.param("/var/run/cdi/nvidia.yaml", "nvidia.com/gpu",
                     "generate the spec again: pyshimctl cdi generate --output "
                     "/var/run/cdi/nvidia.yaml", id="NVIDIA"),
        pytest.param("/var/run/cdi/k8s.gpu.nvidia.com-claim_4711.yaml", "k8s.gpu.nvidia.com/claim",
                     "only its driver can write it again: delete the pod, so that its claim is "
                     "prepared anew", id="a claim"),
        pytest.param("/var/run/cdi/acme.com-claim_1.json", "acme.com/x",
                     "only its driver can write it again: delete the pod, so that its claim is "
                     "prepared anew", id="a claim by its file"),
        pytest.param("/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json",
                     "k8s.device-plugin.nvidia.com/gpu",
                     "restart the device plugin's or driver's pod on this node, which writes it "
                     "again", id="a plugin"),
    ],
)  # fmt: skip
def test_the_next_step_is_whose_file_it_is(path: str, kind: str, step: str) -> None:
    one = Found(f"{kind}=0", path, "0.6.0", {}, {"mounts": [bind("/gone")]})
    assert stale.error(stale.findings([one], host, host)).hint == step


@pytest.mark.parametrize(
    ("mount", "unbound"),
    [
        pytest.param({}, True, id="neither"),
        pytest.param({"options": ["ro", "nosuid"]}, True, id="other options"),
        pytest.param({"type": "bind"}, True, id="a type is not enough"),
        pytest.param({"type": "none", "options": ["ro"]}, True, id="none"),
        pytest.param({"options": ["ro", "rbind"]}, False, id="rbind"),
        pytest.param({"type": "tmpfs"}, False, id="tmpfs"),
    ],
)
def test_a_mount_that_does_not_say_bind(mount: dict[str, Any], *, unbound: bool) -> None:
    edits = {"mounts": [{"hostPath": "/usr/lib/libcuda.so", "containerPath": "/x", **mount}]}
    message = (
        f"{SPEC}: the mount at /x says neither 'bind' nor 'rbind' "
        "('devices[name=0].containerEdits.mounts[0].options'); runc and crun cannot mount it: "
        "add 'bind' to its options"
    )
    assert messages(found(edits)) == unbound * [message]


def test_a_mount_that_another_device_replaced_is_nobodys() -> None:
    edits = {"mounts": [bind("/gone", "/x"), bind("/gone/too", "/y")]}
    left = stale.findings([found(edits)], host, host, mounted={("/gone/too", "/y")})
    assert [one.what for one in left] == [
        (
            f"{SPEC} is stale: mount source /gone/too is gone "
            "('devices[name=0].containerEdits.mounts[1].hostPath')"
            "; likely the driver was upgraded or removed"
        )
    ]


@pytest.mark.parametrize("no_nodes", [True, False])
def test_a_node_that_only_the_host_could_give(*, no_nodes: bool) -> None:
    nodes = [{"path": "/dev/none", "type": "c", "major": 7}, {"path": "/secret", "major": 7}]
    left = stale.findings([found({"deviceNodes": nodes})], host, host, no_nodes=lambda: no_nodes)
    assert [(one.what, one.certain) for one in left] == no_nodes * [
        ((f"{SPEC} is stale: device node /dev/none is gone {NODE}"
         "; in a user namespace no other can be made"), True),
    ]  # fmt: skip


def test_on_a_real_host(tmp_path: Path, dangle: Callable[[str], str]) -> None:
    gone = dangle("libcuda.so")
    edits = {
        "deviceNodes": [
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/zero", "type": "c", "major": 1, "minor": 3},
        ],
        "mounts": [
            bind(str(tmp_path)),
            bind(gone, "/y"),
        ],
    }
    assert [finding.message for finding in stale.findings([found(edits)])] == [
        f"{SPEC} is stale: {fact} ('devices[name=0].containerEdits.{field}'){cause}"
        for fact, field, cause in (
            ("/dev/zero is c 1:3 in the spec, c 1:5 on this host", "deviceNodes[1].path", RELOADED),
            (f"mount source {gone} is gone", "mounts[1].hostPath", UPGRADED),
        )
    ]


@pytest.fixture(name="dangle")
def _dangle(tmp_path: Path) -> Callable[[str], str]:
    def dangle(name: str) -> str:
        (tmp_path / name).symlink_to(f"{name}.535.54")
        return str(tmp_path / name)

    return dangle


@pytest.mark.parametrize("path", ["/a\0b", "\0", "/\ud800"], ids=ascii)
def test_a_path_that_is_none(path: str) -> None:
    """A node's is the runtime's to refuse; of a mount it is told, as no runtime can make it."""
    given = {"type": "c", "major": 1, "minor": 3}
    edits = {
        "deviceNodes": [{"path": path, **given}, {"path": "/dev/x", "hostPath": path, **given}],
        "mounts": [bind(path)],
    }
    left = stale.findings([found(edits)], no_nodes=lambda: True)
    where = "('devices[name=0].containerEdits.mounts[0].hostPath')"
    fact = f"{path} is no path" if path.startswith("/") else f"{path} is a relative path"
    assert [one.what.partition(";")[0] for one in left] == [f"{SPEC}: mount source {fact} {where}"]
    assert left[0].certain
