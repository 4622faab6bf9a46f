"""Device rules as the kernel keeps them, asked for real: a group of cgroup v2 for each row."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.executor import devicerules, hookgroup
from ocishim.executor.devicerules import Rule
from ocishim.linux import bpf, syscalls
from tests.isolated import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}


def rules_of(text: str) -> list[Rule]:
    """`deny a; allow c 1:* rw` as rules."""
    found = []
    for line in filter(None, text.split("; ")):
        words = line.split()
        verb, kind, numbers, access = words + ["", "", "*:*", "rwm"][len(words) :]
        major, minor = (-1 if word == "*" else int(word) for word in numbers.split(":"))
        found.append(Rule(kind, major, minor, access, allow=verb == "allow"))
    return found


def may(device: str, access: str) -> bool:
    """Whether the kernel lets this process use `device`, `c 1:3`, so."""
    kind, numbers = device.split()
    major, minor = map(int, numbers.split(":"))
    type_ = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
    try:
        if access == "m":
            os.mknod("made", type_ | 0o600, os.makedev(major, minor))
        else:
            os.close(os.open(f"{kind}{major}:{minor}", FLAGS[access] | os.O_NONBLOCK))
    except PermissionError:
        return False
    except OSError:
        pass  # allowed, and not there
    return True


def in_a_group(folder: Path, body: Callable[[Path], None]) -> None:
    """Run `body` in a child, with nodes to try and cgroup v2 mounted for it; it gets the mount."""

    def child() -> None:
        groups = folder / "groups"
        groups.mkdir()
        syscalls.mount("tmpfs", str(folder), "tmpfs", 0)
        groups.mkdir()
        syscalls.mount("cgroup2", str(groups), "cgroup2", 0)
        os.chdir(folder)
        for kind, major, minor in ("c", 1, 3), ("c", 1, 5), ("c", 1, 11), ("b", 7, 200):
            type_ = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
            os.mknod(f"{kind}{major}:{minor}", type_ | 0o600, os.makedev(major, minor))
        body(groups)

    run(child)


HUGE = 1 << 40


@pytest.mark.root
@pytest.mark.parametrize(("rules", "device", "access", "allowed"), [
    pytest.param("", "c 1:3", "r", False, id="no rule: denied"),
    pytest.param("allow a", "c 1:3", "rw", True, id="all"),
    pytest.param("allow a", "c 9:9", "m", True, id="all, to make one"),
    pytest.param("deny a; allow c 1:3 r", "c 1:3", "r", True, id="to read"),
    pytest.param("deny a; allow c 1:3 r", "c 1:3", "w", False, id="to read, not to write"),
    pytest.param("deny a; allow c 1:3 r", "c 1:3", "rw", False, id="to read, not both"),
    pytest.param("allow c 1:3 r; allow c 1:* w", "c 1:3", "rw", True, id="two rules add up"),
    pytest.param("allow c 1:3 rw", "c 1:5", "r", False, id="another minor"),
    pytest.param("allow c 2:3 rw", "c 1:3", "r", False, id="another major"),
    pytest.param("allow b 1:3 rw", "c 1:3", "r", False, id="another type"),
    pytest.param("allow c *:* rw", "b 7:200", "r", False,
        id="a block device is none of characters"),
    pytest.param("allow b 7:* r", "b 7:200", "r", True, id="block"),
    pytest.param("allow c *:3 rw", "c 1:3", "rw", True, id="any major"),
    pytest.param("allow c 1:3 rw", "c 1:3", "m", False, id="not to make it"),
    pytest.param("allow c *:* m", "c 1:3", "m", True, id="to make it"),
    pytest.param("allow c *:* m", "c 1:3", "r", False, id="made, not opened"),
    pytest.param("allow a; deny c 1:3 w", "c 1:3", "r", True, id="denied to write: read"),
    pytest.param("allow a; deny c 1:3 w", "c 1:3", "rw", False, id="denied to write: both"),
    pytest.param("allow a; deny c 1:3", "c 1:5", "rw", True, id="denied: another"),
    pytest.param("deny c 1:3; allow c 1:3 r", "c 1:3", "r", True, id="the last decides"),
    pytest.param("allow c 1:3; deny c 1:3", "c 1:3", "r", False, id="the last denies"),
    pytest.param("allow c 1:3; deny a", "c 1:3", "r", False, id="the last denies all"),
    pytest.param("deny c 1:3; allow a 5:5 r", "c 1:3", "w", True, id="a is all, as in v1"),
    pytest.param(f"deny c {HUGE + 1}:3; allow c 1:3", "c 1:3", "r", True, id="no such major"),
    pytest.param("allow c 4294967295:3; allow x 1:3", "c 1:3", "r", False,
        id="largest, and no such type"),
    pytest.param("; ".join(f"deny c 1:{minor}" for minor in range(100, 1100)) + "; allow c 1:3",
                 "c 1:3", "r", True, id="1,000 rules"),
])  # fmt: skip
def test_in_the_kernel(
    tmp_path: Path, rules: str, device: str, access: str, allowed: bool  # noqa: FBT001
) -> None:  # fmt: skip
    def body(groups: Path) -> None:
        group = groups / f"pyshimtest{os.getpid()}"
        group.mkdir()
        home = (groups / "cgroup.procs").open("w")
        fd = os.open(group, os.O_RDONLY)
        try:
            bpf.restrict_devices(fd, devicerules.program(rules_of(rules)))
            (group / "cgroup.procs").write_text("0")
            found = may(device, access)
        finally:
            home.write("0")
            home.close()
            group.rmdir()
        assert found is allowed

    in_a_group(tmp_path, body)


SPEC: dict[str, Any] = {"linux": {"resources": {"devices": [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 195, "access": "rw"},
]}}}  # fmt: skip


def test_what_every_container_may() -> None:
    found = [(rule.allow, rule.text()) for rule in devicerules.parse(SPEC)]
    assert found[:4] == [
        (False, "a *:* rwm"), (True, "c 195:* rw"), (True, "b *:* m"), (True, "c *:* m"),
    ]  # fmt: skip
    assert (True, "c 136:* rwm") in found[4:]
    assert devicerules.parse({}) == []


@pytest.mark.root
def test_the_hooks_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cgroup v2 it has the container's rules, and is gone afterwards."""

    def body(groups: Path) -> None:
        monkeypatch.setattr(hookgroup, "_ROOT", str(groups))
        (above := groups / f"pyshimtest{os.getpid()}").mkdir()
        SPEC["linux"]["cgroupsPath"] = f"/{above.name}/c"
        home = (groups / "cgroup.procs").open("w")
        group = hookgroup.Group(SPEC)
        try:
            [folder] = [path for path in above.iterdir() if path.is_dir()]
            group.enter()
            inside = (folder / "cgroup.procs").read_text().split() == [str(os.getpid())]
            found = {device: may(device, "r") for device in ("c 1:3", "c 1:11", "b 7:200")}
        finally:
            home.write("0")
            home.close()
            group.remove()
            above.rmdir()  # which a group in it would refuse
        assert inside
        assert found == {"c 1:3": True, "c 1:11": False, "b 7:200": False}

    in_a_group(tmp_path, body)


def test_a_kernel_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such kind of program, or no right to: the other limits and the timeout stay."""
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "above").mkdir()
    monkeypatch.setattr(hookgroup, "_ROOT", str(tmp_path))
    SPEC["linux"]["cgroupsPath"] = "/above/c"
    group = hookgroup.Group(SPEC)  # its folder is on no cgroup file system: EBADF
    assert len(list((tmp_path / "above").iterdir())) == 1
    group.remove()
    assert list((tmp_path / "above").iterdir()) == []
