"""`pyshimctl configure docker`: daemon.json keeps what is not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.admin.configuring import PROGRAM, Machine

CONFIG = "/etc/docker/daemon.json"
USED = """\
{
  "log-opts": {"max-size": "10m"},
  "features": {
    "buildkit": true
  },
  "runtimes": {
    "nvidia": {
      "args": [],
      "path": "nvidia-container-runtime"
    }
  },
  "live-restore": false
}
"""


def test_features_and_runtimes_of_others_stay(machine: Machine) -> None:
    machine.write(CONFIG, USED)
    result = machine.configure("docker", "--set-as-default", "--enable-cdi")
    settings = json.loads(machine.read(CONFIG))
    assert settings == {
        "log-opts": {"max-size": "10m"},
        "features": {"buildkit": True, "cdi": True},
        "runtimes": {
            "nvidia": {"args": [], "path": "nvidia-container-runtime"},
            "pyshim": {"path": PROGRAM},
        },
        "live-restore": False,
        "default-runtime": "pyshim",
    }
    assert list(settings)[:4] == ["log-opts", "features", "runtimes", "live-restore"]
    assert "next: systemctl restart docker" in result.output


@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
def test_indentation_stays(machine: Machine, indent: str) -> None:
    machine.write(CONFIG, json.dumps({"runtimes": {"a": {"path": "/a"}}}, indent=indent))
    machine.configure("docker")
    wanted = {"runtimes": {"a": {"path": "/a"}, "pyshim": {"path": PROGRAM}}}
    assert machine.read(CONFIG) == json.dumps(wanted, indent=indent)


def test_no_file(machine: Machine) -> None:
    result = machine.configure("docker")
    assert machine.read(CONFIG) == (
        '{\n    "runtimes": {\n        "pyshim": {\n'
        f'            "path": "{PROGRAM}"\n        }}\n    }}\n}}\n'
    )
    assert "next: systemctl reload docker" in result.output
    machine.configure("docker", "--remove")
    assert not machine.exists(CONFIG)


def test_twice_changes_nothing_and_remove_keeps_the_rest(machine: Machine) -> None:
    machine.write(CONFIG, USED)
    machine.configure("docker", "--set-as-default")
    once = machine.read(CONFIG)
    assert machine.configure("docker", "--set-as-default").stdout == f"{CONFIG} is as wanted\n"
    assert machine.read(CONFIG) == once
    machine.configure("docker", "--remove")
    assert json.loads(machine.read(CONFIG)) == json.loads(USED)


def test_arguments_of_the_runtime_stay(machine: Machine) -> None:
    runtime = {"path": "/old", "runtimeArgs": ["--debug"]}
    machine.write(CONFIG, json.dumps({"runtimes": {"pyshim": runtime}}))
    machine.configure("docker")
    assert json.loads(machine.read(CONFIG))["runtimes"]["pyshim"] == {**runtime, "path": PROGRAM}


def test_a_shim_of_that_name_is_replaced(machine: Machine) -> None:
    shim = {"runtimeType": "io.containerd.runsc.v1", "options": {}}
    machine.write(CONFIG, json.dumps({"runtimes": {"pyshim": shim}}))
    machine.configure("docker")
    assert json.loads(machine.read(CONFIG))["runtimes"]["pyshim"] == {"path": PROGRAM}


def step(machine: Machine, *args: str) -> str:
    return machine.configure("docker", *args).output.splitlines()[-1].removeprefix("next: ")


def test_a_key_that_goes_wants_a_restart(machine: Machine) -> None:
    """On SIGHUP dockerd keeps the value of a key that is gone (20.10, 26.1 and 28.5)."""
    reload, restart = "systemctl reload docker", "systemctl restart docker"
    assert step(machine) == reload
    assert step(machine, "--set-as-default") == reload
    assert step(machine) == restart
    assert step(machine, "--enable-cdi") == restart
    assert step(machine) == restart
    assert step(machine, "--remove") == restart
    machine.write(CONFIG, '{"default-runtime": "nvidia"}')
    machine.configure("docker", "--set-as-default")
    assert step(machine) == reload  # to another default
    machine.write(CONFIG, '{"runtimes": {"other": {"path": "/other"}}}')
    machine.configure("docker")
    assert step(machine, "--remove") == reload


def test_snaps_docker_has_a_unit_of_its_own(machine: Machine) -> None:
    machine.write("/snap/docker/current/bin/dockerd", "").chmod(0o755)
    assert step(machine, "--enable-cdi") == "systemctl restart snap.docker.dockerd"


BEFORE = f"{CONFIG}.before-pyshim"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no file"),
        pytest.param("{}", id="an empty object"),
        pytest.param("", id="an empty file"),
        pytest.param(" \n\t\n", id="blanks"),
        pytest.param("null\n", id="null"),
        pytest.param('\ufeff{"debug": true}\n', id="a byte order mark"),
        pytest.param(r'{"labels": ["\ud83d", "\u00e9"]}', id="half a character"),
        pytest.param('{"default-runtime": "nvidia"}', id="another default"),
        pytest.param('{"features": {"cdi": false}}\n', id="CDI switched off"),
        pytest.param(USED, id="in a form of its own"),
        pytest.param('{"runtimes": {"a": {"path": "/a"}}, "runtimes": {"b": {"path": "/b"}}}',
                     id="a table twice"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("again", [[], ["--set-as-default"], ["--enable-cdi"]])
def test_remove_brings_everything_back(
    machine: Machine, text: str | None, again: list[str]
) -> None:
    if text is not None:
        machine.write(CONFIG, text)
    before = machine.files()
    machine.configure("docker", "--set-as-default", "--enable-cdi")
    machine.configure("docker", *again)
    machine.configure("docker", "--remove")
    assert machine.files() == before


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param(
            '{"runtimes": {"aa": {"path": "/aa", "runtimeArgs": ["x"]}, "cc": {"path": "/cc"}},'
            ' "runtimes": {"bb": {"path": "/bb"}, "aa": {"path": "/aa2"}}}',
            {"runtimes": {"aa": {"path": "/aa2"}, "cc": {"path": "/cc"}, "bb": {"path": "/bb"}}},
            id="runtimes",
        ),
        pytest.param(
            '{"log-opts": {"max-size": "1m"}, "features": {"x": true}, "log-opts": {"max-file": "2"}}',
            {"log-opts": {"max-size": "1m", "max-file": "2"}, "features": {"x": True}},
            id="others",
        ),
        pytest.param('{"dns": ["1.1.1.1"], "dns": ["9.9.9.9"]}', {"dns": ["9.9.9.9"]}, id="a list"),
        pytest.param(
            '{"runtimes": {"a": {"path": "/a"}}, "runtimes": null}', {"runtimes": {}}, id="null"
        ),
    ],
)
def test_what_is_there_twice_is_kept_as_dockerd_reads_it(
    machine: Machine, text: str, read: dict[str, Any]
) -> None:
    """Dockerd 20.10 has both tables, and of an entry in both the later one (docker info)."""
    machine.write(CONFIG, text)
    machine.configure("docker")
    after = json.loads(machine.read(CONFIG))
    assert after["runtimes"].pop("pyshim")["path"]
    assert after == {"runtimes": {}, **read}


def test_remove_keeps_what_was_added_since(machine: Machine) -> None:
    machine.write(CONFIG, '{"default-runtime": "nvidia"}')
    machine.configure("docker", "--set-as-default", "--enable-cdi")
    added = {**json.loads(machine.read(CONFIG)), "live-restore": True}
    machine.write(CONFIG, json.dumps(added))
    machine.configure("docker", "--remove")
    assert json.loads(machine.read(CONFIG)) == {"default-runtime": "nvidia", "live-restore": True}
    assert not machine.exists(BEFORE)


def test_remove_keeps_what_was_added_before_configure_came_again(machine: Machine) -> None:
    machine.write(CONFIG, '{"default-runtime": "nvidia"}')
    machine.configure("docker", "--set-as-default")
    added = {**json.loads(machine.read(CONFIG)), "live-restore": True}
    machine.write(CONFIG, json.dumps(added))
    machine.configure("docker", "--enable-cdi")
    machine.configure("docker", "--remove")
    assert json.loads(machine.read(CONFIG)) == {"default-runtime": "nvidia", "live-restore": True}


def test_without_the_flag_the_default_comes_back(machine: Machine) -> None:
    machine.write(CONFIG, '{"default-runtime": "nvidia"}')
    machine.configure("docker", "--set-as-default")
    machine.configure("docker")
    assert json.loads(machine.read(CONFIG))["default-runtime"] == "nvidia"


def test_the_text_from_before_is_for_root_alone(machine: Machine) -> None:
    """daemon.json may name a proxy with its password."""
    machine.write(CONFIG, USED).chmod(0o600)
    machine.configure("docker")
    assert json.loads(machine.read(BEFORE))["before"] == USED
    assert (machine.root / BEFORE[1:]).stat().st_mode & 0o777 == 0o600


def test_another_default_survives_remove(machine: Machine) -> None:
    machine.write(CONFIG, '{"default-runtime": "nvidia"}')
    machine.configure("docker")
    machine.configure("docker", "--remove")
    assert json.loads(machine.read(CONFIG)) == {"default-runtime": "nvidia"}


@pytest.mark.parametrize("text", ["{}", '{"features": {"cdi": true}}'])
def test_remove_where_nothing_is_ours(machine: Machine, text: str) -> None:
    machine.write(CONFIG, text)
    assert machine.configure("docker", "--remove").stdout == f"{CONFIG} is as wanted\n"
    assert machine.read(CONFIG) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", f"{CONFIG}: not valid JSON: ", id="not JSON"),
        pytest.param("[]", f"{CONFIG}: expected an object", id="no object"),
        pytest.param('{"features": []}', f"{CONFIG}: expected object in 'features'", id="features"),
        pytest.param('{"runtimes": 1}', f"{CONFIG}: expected object in 'runtimes'", id="runtimes"),
        pytest.param('{"a": NaN}', f"{CONFIG}: not valid JSON: 'NaN' is no JSON\n", id="NaN"),
        pytest.param('{"a": -Infinity}', f"{CONFIG}: not valid JSON: ", id="infinite"),
        pytest.param(
            '{"features": {"cdi": 1}}', f"{CONFIG}: expected boolean in 'features.cdi'", id="cdi"
        ),
        pytest.param(
            '{"default-runtime": ["x"]}',
            f"{CONFIG}: expected string in 'default-runtime'",
            id="default",
        ),
        pytest.param(
            '{"runtimes": ["pyshim"]}', f"{CONFIG}: expected object in 'runtimes'", id="list"
        ),
        pytest.param(
            '{"runtimes": {"a": 3}}', f"{CONFIG}: expected object in 'runtimes.a'", id="runtime"
        ),
        pytest.param(
            '{"runtimes": {"a": {"path": 3}}}',
            f"{CONFIG}: expected string in 'runtimes.a.path'",
            id="path",
        ),
    ],
)
def test_what_cannot_be_edited_is_named(machine: Machine, text: str, message: str) -> None:
    machine.write(CONFIG, text)
    result = machine.call("configure", "docker")
    assert result.exit_code == 1
    assert result.output.startswith(f"pyshimctl: {message}")
    assert machine.read(CONFIG) == text


def test_null_is_nothing(machine: Machine) -> None:
    """As dockerd takes it."""
    machine.write(CONFIG, '{"runtimes": null, "features": null, "default-runtime": null}')
    machine.configure("docker", "--enable-cdi")
    assert json.loads(machine.read(CONFIG))["features"] == {"cdi": True}


def test_docker_has_no_drop_ins(machine: Machine) -> None:
    result = machine.call("configure", "docker", "--drop-in", "/x")
    assert result.exit_code == 2
    assert result.output.startswith("pyshimctl: docker reads no drop-ins\n")


NVIDIA = {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": ["-x"]}


@pytest.mark.parametrize("since", [False, True], ids=["untouched", "changed since"])
@pytest.mark.parametrize("options", [[], ["--set-as-default"]])
def test_somebody_elses_runtime_of_that_name_comes_back(
    machine: Machine, options: list[str], *, since: bool
) -> None:
    before: dict[str, object] = {"default-runtime": "nvidia", "runtimes": {"nvidia": NVIDIA}}
    machine.write(CONFIG, json.dumps(before))
    machine.configure("docker", "--runtime-name", "nvidia", *options)
    settings = json.loads(machine.read(CONFIG))
    assert settings["runtimes"]["nvidia"]["path"] == PROGRAM
    if since:
        machine.write(CONFIG, json.dumps({**settings, "debug": True}))
        before["debug"] = True
    machine.configure("docker", "--runtime-name", "nvidia", "--remove")
    assert json.loads(machine.read(CONFIG)) == before
    assert since or machine.read(CONFIG) == json.dumps(before)
    assert not machine.exists(BEFORE)


def test_somebody_elses_runtime_is_not_taken_out(machine: Machine) -> None:
    machine.write(CONFIG, json.dumps({"default-runtime": "nvidia", "runtimes": {"nvidia": NVIDIA}}))
    before = machine.files()
    result = machine.configure("docker", "--runtime-name", "nvidia", "--remove")
    assert result.stderr == f"note: {CONFIG}: 'nvidia' is not pyshim, and stays\n"
    assert machine.files() == before
