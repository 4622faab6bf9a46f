"""Which limits the hooks' own control group gets, and where it lies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.executor import devicerules, hookgroup

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("path", "folder"), [
    pytest.param("/kubepods/burstable/pod1/c", "/kubepods/burstable/pod1", id="cgroupfs"),
    pytest.param("/c", "/", id="below the root"),
    pytest.param("/a/../../../b/c", "/b", id="dots lead nowhere else"),
    pytest.param("", "", id="none"),
    pytest.param("a/b", "", id="relative: below the caller's"),
    pytest.param("kubepods-burstable-pod1.slice:cri-containerd:c",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice", id="systemd"),
    pytest.param(":docker:c", "/system.slice", id="systemd's own"),
    pytest.param("-.slice:x:c", "", id="systemd's root"),
])  # fmt: skip
def test_beside(path: str, folder: str) -> None:
    assert hookgroup._beside(path) == folder


RESOURCES: list[Any] = [
    pytest.param({"cpu": {"quota": 5000, "period": 50000}},
                 {"": [("cpu.max", "5000 50000")]},
                 {"cpu": [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "5000")]}, id="cpu"),
    pytest.param({"cpu": {"quota": 5000}},
                 {"": [("cpu.max", "5000 100000")]},
                 {"cpu": [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "5000")]}, id="no period"),
    pytest.param({"cpu": {"quota": -1, "shares": 2}, "memory": {"limit": -1}, "pids": {"limit": 0}},
        {}, {}, id="no limit"),
    pytest.param({"memory": {"limit": 7}}, {"": [("memory.max", "7")]},
        {"memory": [("memory.limit_in_bytes", "7")]}, id="memory"),
    pytest.param({"pids": {"limit": 7}}, {"": [("pids.max", "7")]}, {"pids": [("pids.max", "7")]},
        id="processes"),
    pytest.param({"memory": {"limit": 1 << 70}, "pids": {"limit": 1.5}}, {}, {},
        id="no number of the kernel's"),
    pytest.param({}, {}, {}, id="nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "unified", "legacy"), RESOURCES)
def test_limits(resources: dict[str, Any], unified: object, legacy: object) -> None:
    spec = {"linux": {"resources": resources}}
    assert hookgroup._unified(spec, []) == unified
    assert hookgroup._legacy(spec, []) == legacy


def test_device_rules() -> None:
    resources = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 195, "minor": 0, "access": "rw"},
            {"allow": True, "type": "b", "major": 8, "access": "r"},
        ]
    }
    rules = devicerules.parse({"linux": {"resources": resources}})
    found = hookgroup._legacy({}, rules)["devices"]
    assert found[:3] == [
        ("devices.deny", "a *:* rwm"),
        ("devices.allow", "c 195:0 rw"),
        ("devices.allow", "b 8:* r"),
    ]
    assert ("devices.allow", "c 1:3 rwm") in found[3:]


NOW = 10**15
MINUTE = 60 * 10**9


@pytest.mark.parametrize(("name", "stays"), [
    pytest.param(f"1-{NOW}", True, id="made now"),
    pytest.param(f"4194305-{NOW - MINUTE + 1}", True, id="of a pid that we do not see"),
    pytest.param(f"1-{NOW - MINUTE}", False, id="a minute old"),
    pytest.param(f"{os.getpid()}-{NOW - MINUTE}", False, id="of our own pid, a minute old"),
    pytest.param(f"1-{NOW + 1}", False, id="of before the last boot"),
    pytest.param("1", False, id="without its time"),
])  # fmt: skip
def test_what_a_killed_one_left_is_removed(tmp_path: Path, name: str, stays: bool) -> None:  # noqa: FBT001
    for folder in f"pyshim-hooks-{name}", "other":
        (tmp_path / folder).mkdir()
    hookgroup._sweep(str(tmp_path), NOW)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == (["other", f"pyshim-hooks-{name}"] if stays else ["other"])


def test_a_leftover_with_our_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has processes cannot be removed; the hooks get their limits all the same."""
    (tmp_path / "cgroup.controllers").touch()
    above = tmp_path / "above"
    (above / f"pyshim-hooks-{os.getpid()}" / "busy").mkdir(parents=True)
    monkeypatch.setattr(hookgroup, "_ROOT", str(tmp_path))
    written = []
    monkeypatch.setattr(hookgroup, "_write", lambda path, text: written.append((path, text)))
    spec = {"linux": {"cgroupsPath": "/above/c", "resources": {"pids": {"limit": 7}}}}
    group = hookgroup.Group(spec)
    [folder] = {path.rpartition("/")[0] for path, _ in written}
    assert written == [(f"{folder}/pids.max", "7")]
    group.remove()
    assert [path.name for path in above.iterdir()] == [f"pyshim-hooks-{os.getpid()}"]


def test_where_nothing_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rootless, or no control groups at all."""
    monkeypatch.setattr(hookgroup, "_ROOT", str(tmp_path / "none"))
    group = hookgroup.Group({"linux": {"resources": {"pids": {"limit": 7}}}})
    group.enter()
    group.remove()
    assert list(tmp_path.iterdir()) == []
