"""`pyshimctl configure crio`: the drop-in, in the grammar of crio.conf.d(5) and crio.conf(5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.admin.configuring import PROGRAM, Machine

CONFIG = "/etc/crio/crio.conf"
DROP_IN = "/etc/crio/crio.conf.d/99-pyshim.conf"
RUNTIMES = """\
[crio.runtime]
default_runtime = "crun"
[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = ["io.containers.trace-syscall"]
container_create_timeout = 300
"""
# crio.conf(5), the table crio.runtime.runtimes, with its types.
GRAMMAR = {
    "runtime_path": str,
    "runtime_root": str,
    "runtime_type": str,
    "monitor_path": str,
    "monitor_cgroup": str,
    "monitor_env": list,
    "allowed_annotations": list,
    "privileged_without_host_devices": bool,
    "container_create_timeout": int,
    "default_annotations": dict,
    "no_sync_log": bool,
}


def runtime(machine: Machine) -> dict[str, Any]:
    table: dict[str, Any] = machine.toml(DROP_IN)["crio"]["runtime"]
    return table


def test_treated_as_the_default_runtime(machine: Machine) -> None:
    machine.write(CONFIG, RUNTIMES)
    result = machine.configure("crio")
    assert runtime(machine) == {
        "runtimes": {
            "pyshim": {
                "runtime_path": PROGRAM,
                "runtime_type": "oci",
                "runtime_root": "/run/crun",
                "monitor_path": "/usr/libexec/crio/conmon",
                "allowed_annotations": ["io.containers.trace-syscall"],
                "container_create_timeout": 300,
            }
        }
    }
    assert "next: systemctl restart crio" in result.output
    assert machine.read(CONFIG) == RUNTIMES


def test_a_drop_in_wins_over_the_main_file(machine: Machine) -> None:
    machine.write(CONFIG, RUNTIMES)
    machine.write(
        "/etc/crio/crio.conf.d/10-crio.conf",
        '[crio.runtime.runtimes.crun]\nmonitor_path = "/usr/bin/conmon"\n',
    )
    machine.configure("crio")
    assert runtime(machine)["runtimes"]["pyshim"]["monitor_path"] == "/usr/bin/conmon"


def test_without_any_configuration_there_is_a_root(machine: Machine) -> None:
    machine.configure("crio", "--set-as-default")
    assert runtime(machine) == {
        "default_runtime": "pyshim",
        "runtimes": {
            "pyshim": {
                "runtime_path": PROGRAM,
                "runtime_type": "oci",
                "runtime_root": "/run/runc",
            }
        },
    }


def test_every_key_is_in_the_grammar(machine: Machine) -> None:
    machine.write(
        CONFIG,
        RUNTIMES + 'monitor_env = ["PATH=/usr/bin"]\nno_sync_log = true\n'
        "[crio.runtime.runtimes.crun.platform_runtime_paths]\n"
        '"linux/arm64" = "/usr/bin/crun-arm64"\n',
    )
    machine.configure("crio")
    for key, value in runtime(machine)["runtimes"]["pyshim"].items():
        assert isinstance(value, GRAMMAR[key]), key


def test_a_vm_runtime_is_no_model(machine: Machine) -> None:
    machine.write(
        CONFIG,
        '[crio.runtime]\ndefault_runtime = "kata"\n[crio.runtime.runtimes.kata]\n'
        'runtime_type = "vm"\nprivileged_without_host_devices = true\n',
    )
    machine.configure("crio")
    assert "privileged_without_host_devices" not in runtime(machine)["runtimes"]["pyshim"]


@pytest.mark.parametrize("options", [[], ["--set-as-default", "--enable-cdi"]])
def test_twice_changes_nothing_and_remove_leaves_nothing(
    machine: Machine, options: list[str]
) -> None:
    machine.write(CONFIG, RUNTIMES)
    before = machine.files()
    machine.configure("crio", *options)
    once = machine.files()
    assert machine.configure("crio", *options).stdout == f"{DROP_IN} is as wanted\n"
    assert machine.files() == once
    machine.configure("crio", "--remove")
    assert machine.files() == before


def test_a_file_that_is_read_later_is_told(machine: Machine) -> None:
    path = "/etc/crio/crio.conf.d/zz-default"
    machine.write(path, '[crio.runtime]\ndefault_runtime = "crun"\n')
    assert machine.configure("crio").stderr == ""
    assert machine.configure("crio", "--set-as-default").stderr == (
        f"note: {path} is read later, and sets 'crio.runtime.default_runtime';"
        " --drop-in /etc/crio/crio.conf.d/zzz-pyshim.conf comes after it\n"
    )


@pytest.mark.parametrize("value", ["7", "[]", "{crun = 1}", "{crun = {runtime_type = 3}}"])
def test_odd_values_are_crios_business(machine: Machine, value: str) -> None:
    machine.write(CONFIG, f"crio.runtime.runtimes = {value}\n")
    machine.configure("crio")
    assert runtime(machine)["runtimes"]["pyshim"]["runtime_root"] == "/run/runc"


def test_a_runtime_pyshim_might_not_find_is_told(machine: Machine) -> None:
    machine.write(CONFIG, RUNTIMES.replace("/usr/libexec/crio/crun", "/opt/crun"))
    assert machine.configure("crio").stderr == (
        "note: CRI-O's own runtime is /opt/crun: if it is not in PATH, make it the first of"
        " 'runtimes' in /etc/pyshim/config.toml\n"
    )


def test_cdi_needs_no_switch(machine: Machine) -> None:
    result = machine.configure("crio", "--enable-cdi")
    assert "note: CRI-O applies CDI annotations itself, always" in result.output
    assert "cdi" not in machine.read(DROP_IN)


def test_a_broken_drop_in_is_named(machine: Machine) -> None:
    machine.write("/etc/crio/crio.conf.d/10-crio.conf", "x")
    result = machine.call("configure", "crio")
    assert result.exit_code == 1
    assert result.output.startswith(
        "pyshimctl: /etc/crio/crio.conf.d/10-crio.conf: not valid TOML: "
    )
