"""`pyshimctl configure podman`: the drop-in in containers.conf.d."""

from __future__ import annotations

import pytest

from tests.unit.admin.configuring import PROGRAM, Machine

CONFIG = "/etc/containers/containers.conf"
DROP_IN = "/etc/containers/containers.conf.d/99-pyshim.conf"
JSON = ["crun", "runc", "kata", "runsc", "youki", "krun"]


def test_runtime_and_its_errors_as_json(machine: Machine) -> None:
    machine.configure("podman")
    assert machine.toml(DROP_IN) == {
        "engine": {
            "runtime_supports_json": [*JSON, "pyshim"],
            "runtimes": {"pyshim": [PROGRAM]},
        }
    }


def test_every_option(machine: Machine) -> None:
    machine.configure("podman", "--set-as-default", "--enable-cdi", "--runtime-name", "gpu")
    assert machine.toml(DROP_IN)["engine"] == {
        "runtime": "gpu",
        "cdi_spec_dirs": ["/etc/cdi", "/var/run/cdi"],
        "runtime_supports_json": [*JSON, "pyshim"],
        "runtimes": {"gpu": [PROGRAM]},
    }


@pytest.mark.parametrize(
    ("there", "runtimes", "known"),
    [
        pytest.param(["runc", "crun"], '["runc", "crun"]', None, id="runc first"),
        pytest.param(["crun"], '["runc", "crun"]', ["crun", "krun", "pyshim"], id="crun alone"),
        pytest.param(["runc", "crun"], '["/usr/bin/crun"]', ["crun", "krun", "pyshim"], id="path"),
        pytest.param([], '["runc", "crun"]', None, id="nothing"),
    ],
)
def test_no_cgroups_before_crun_alone(
    machine: Machine, there: list[str], runtimes: str, known: list[str] | None
) -> None:
    """As without pyshim: Podman's --cgroups=disabled is for crun."""
    for name in there:
        machine.write(f"/usr/bin/{name}", "").chmod(0o755)
    machine.write("/etc/pyshim/config.toml", f"runtimes = {runtimes}\n")
    machine.configure("podman")
    engine = machine.toml(DROP_IN)["engine"]
    keys = ("runtime_supports_nocgroup", "runtime_supports_nocgroups")
    assert [engine.get(key) for key in keys] == [known, known]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        pytest.param("/usr/share/containers/containers.conf", ["a"], id="vendor's file"),
        pytest.param(CONFIG, ["a", "b"], id="main file"),
        pytest.param("/etc/containers/containers.conf.d/10-x.conf", ["c"], id="another drop-in"),
    ],
)
def test_the_list_in_force_is_kept(machine: Machine, path: str, known: list[str]) -> None:
    machine.write(path, f"[engine]\nruntime_supports_json = {known}\n")
    machine.configure("podman")
    assert machine.toml(DROP_IN)["engine"]["runtime_supports_json"] == [*known, "pyshim"]


@pytest.mark.parametrize(
    ("main", "other", "known"),
    [
        ('["a", {append = true}]', "", ["crun", "runc", "kata", "runsc", "youki", "krun", "a"]),
        ('["a"]', '["b", {append = true}]', ["a", "b"]),
        ('["a", {append = true}]', '["b", {append = false}]', ["b"]),
        ("[{append = true}]", '["b"]', ["crun", "runc", "kata", "runsc", "youki", "krun", "b"]),
    ],
)  # fmt: skip
def test_a_list_that_is_appended(machine: Machine, main: str, other: str, known: list[str]) -> None:
    """What {append = true} says holds for the files that follow, too."""
    machine.write(CONFIG, f"[engine]\nruntime_supports_json = {main}\n")
    if other:
        path = "/etc/containers/containers.conf.d/10-x.conf"
        machine.write(path, f"[engine]\nruntime_supports_json = {other}\n")
    machine.configure("podman")
    assert machine.toml(DROP_IN)["engine"]["runtime_supports_json"] == [*known, "pyshim"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("zz.conf", 'runtime = "runc"', "sets 'engine.runtime'"),
        ("99-q.conf", 'runtime = "runc"\nruntimes = {pyshim = ["/x"]}',
            "sets 'engine.runtime', 'engine.runtimes.pyshim'"),
        ("zz.conf", 'runtime_supports_json = ["a"]', "sets 'engine.runtime_supports_json'"),
        ("zz.conf", 'runtime_supports_json = ["a", {append = true}]', ""),
        ("zz.conf", 'runtime = "pyshim"', ""),
        ("zz.conf", 'runtimes = {other = ["/x"]}', ""),
        ("zz.toml", 'runtime = "runc"', ""),
        ("10-x.conf", 'runtime = "runc"', ""),
    ],
)  # fmt: skip
def test_a_file_that_is_read_later_is_told(
    machine: Machine, name: str, text: str, said: str
) -> None:
    path = f"/etc/containers/containers.conf.d/{name}"
    machine.write(path, f"[engine]\n{text}\n")
    result = machine.configure("podman", "--set-as-default")
    after = "/etc/containers/containers.conf.d/zzz-pyshim.conf"
    note = f"note: {path} is read later, and {said}; --drop-in {after} comes after it\n"
    assert result.stderr == (note if said else "")
    assert machine.configure("podman", "--set-as-default", "--drop-in", after).stderr == ""


@pytest.mark.parametrize("value", ["7", '"crun"', "[1]"])
def test_a_list_that_is_none_is_named(machine: Machine, value: str) -> None:
    machine.write(CONFIG, f"[engine]\nruntime_supports_json = {value}\n")
    result = machine.call("configure", "podman")
    assert (result.exit_code, result.output) == (
        1,
        (
            f"pyshimctl: {CONFIG}: expected array of strings in 'engine.runtime_supports_json'\n"
            f"hint: correct {CONFIG}\n"
        ),
    )


def test_podman_knows_a_program_by_its_name(machine: Machine) -> None:
    machine.write("/opt/p/gpu-runtime", "").chmod(0o755)
    machine.configure("podman", "--runtime-path", "/opt/p/gpu-runtime")
    assert machine.toml(DROP_IN)["engine"]["runtime_supports_json"] == [*JSON, "gpu-runtime"]


def test_twice_changes_nothing_and_remove_leaves_nothing(machine: Machine) -> None:
    before = machine.files()
    machine.configure("podman")
    once = machine.files()
    assert machine.configure("podman").stdout == f"{DROP_IN} is as wanted\n"
    assert machine.files() == once
    machine.configure("podman", "--remove")
    assert machine.configure("podman", "--remove").stdout == f"{DROP_IN} is not there\n"
    assert machine.files() == before
