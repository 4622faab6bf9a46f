"""The tables by machine against data of the kernel's headers: tests/data/arch.json names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocishim.hooks import arch, seccomp
from ocishim.linux import privileges, process, syscalls

_DATA = json.loads((Path(__file__).parents[2] / "data/arch.json").read_bytes())
_SYSCALLS = (
    *("mount", "umount2", "pivot_root", "unshare", "setns", "renameat2", "execveat", "statx"),
    *("prctl", "capget", "capset", "fstatfs"),
)
_PROCESS = ("prctl", "prlimit64", "seccomp", "setfsuid", "setfsgid")
_LIMITS = ("timer_create", "timer_settime", "prlimit64")
_EVERYWHERE = {
    "clone3": process._CLONE3,
    "close_range": process._CLOSE_RANGE,
    "open_tree": syscalls._OPEN_TREE,
    "move_mount": syscalls._MOVE_MOUNT,
    "fsopen": syscalls._FSOPEN,
    "fsconfig": syscalls._FSCONFIG,
    "fsmount": syscalls._FSMOUNT,
    "openat2": syscalls._OPENAT2,
    "mount_setattr": syscalls._MOUNT_SETATTR,
    "fchmodat2": syscalls._FCHMODAT2,
}
_DENIED = {**seccomp.DENIED, **seccomp.WITHOUT_EFFECT}


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _calls(machine: str) -> dict[str, Any]:
    found: dict[str, Any] = _DATA["machines"][machine]["calls"]
    return found


def test_every_machine_is_in_every_table(machine: str) -> None:
    assert set(_DATA["machines"]) == set(arch.ARCHES) == set(seccomp._AUDIT_ARCH)
    assert machine in syscalls._NUMBERS
    assert machine in process._NUMBERS


def test_system_calls(machine: str) -> None:
    calls = _calls(machine)
    assert syscalls._NUMBERS[machine] == tuple(calls[name] for name in _SYSCALLS)
    assert process._NUMBERS[machine] == tuple(calls[name] for name in _PROCESS)
    assert privileges._NUMBERS[machine] == tuple(calls[name] for name in _LIMITS)
    assert {name: calls[name] for name in _EVERYWHERE} == _EVERYWHERE


def test_what_the_filter_denies(machine: str) -> None:
    column = list(seccomp._AUDIT_ARCH).index(machine)
    ours = {name: row[column] for name, row in _DENIED.items()}
    assert ours == {name: _calls(machine).get(name, -1) for name in _DENIED}


def test_elf_machine_and_audit_arch(machine: str) -> None:
    """linux/audit.h: the ELF machine, __AUDIT_ARCH_64BIT and __AUDIT_ARCH_LE."""
    elf: int = _DATA["machines"][machine]["elf"]
    assert arch.ARCHES[machine].elf_machine == elf
    assert seccomp._AUDIT_ARCH[machine] == elf | _DATA["64bit"] | _DATA["le"]


def test_loaders_and_folders(machine: str) -> None:
    row = arch.ARCHES[machine]
    assert row.triplet == f"{machine}-linux-gnu"
    assert row.musl_loader == f"/lib/ld-musl-{machine}.so.1"
    assert row.system_folders(debian=True)[0] == f"/lib/{machine}-linux-gnu"
