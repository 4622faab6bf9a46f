"""What the doctor says is next can be done, and leads out: each finding is provoked, each step taken."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from ocishim.admin import doctor
from ocishim.admin.cli import main
from ocishim.admin.install import ownfiles
from tests.probe import ACME, Box, oci
from tests.unit.admin.faults import ELSEWHERE, FAULTS, RUNC
from tests.unit.admin.nodes import SPEC
from tests.unit.admin.test_doctor_page import made

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ocishim.admin.checks.finding import Finding
    from ocishim.admin.checks.node import Node
    from tests.unit.admin.nodes import Tree

# Programs of the host: of the kernel's, the distribution's and the vendor's packages.
HOST = (
    "apt-get",
    "chmod",
    "df",
    "ip",
    "ldconfig",
    "nvidia-modprobe",
    "mkdir",
    "modprobe",
    "mv",
    "rm",
    "rmmod",
    "sysctl",
    "systemctl",
    "umount",
)
_COMMAND = re.compile(r"(?<![\w/.'-])'?((?:pyshimctl|" + "|".join(HOST) + r") [^;,(]*)")
# Steps that take a person or the vendor: a command is only a part of them, or there is none.
BY_HAND = {
    "kernel": "install the distribution's kernel of 5.6 or newer; then reboot",
    "memfd-noexec": "nothing; sysctl vm.memfd_noexec=1 is as strict for programs that do not ask",
    "runtime-unknown": "pyshimctl config set hooks.executor=shim, if it does not",
    "runtime-environment": "use pyshim for all containers with CDI hooks, or runc 1.3 and newer",
    "runtime-readonly": "nothing to do, or crun 1.26 and newer",
    "ldconfig-none": "nothing to do",
}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")


def provoked(tree: Tree, name: str) -> Finding:
    found = [one for one in doctor.examine(FAULTS[name](tree)) if one.name == name]
    assert len(found) == 1, f"{name}: one finding for one cause"
    return found[0]


def commands(step: str) -> list[list[str]]:
    """The command lines in a sentence."""
    found = []
    for text in _COMMAND.findall(step):
        line = re.split(r"'| (?:or|then|and run|and|in the clone|to be|twice)\b", text)[0]
        found += [shlex.split(one) for one in line.split("&&")]
    return found


def test_every_finding_is_provoked() -> None:
    assert set(FAULTS) | ELSEWHERE == set(made())


@pytest.mark.parametrize("name", FAULTS)
def test_its_commands_exist(tree: Tree, name: str) -> None:
    """Each command of ours with options of ours, and nothing of a program that nobody has."""
    step = provoked(tree, name).next_step
    assert step
    assert not step.startswith("pyshimctl doctor") or "--fix" in step, "that is where we come from"
    for words in commands(step):
        assert words[0] in ("pyshimctl", *HOST)
        if words[0] == "pyshimctl":
            parse(words[1:])


ODD = "/etc/cdi/a b;touch $(id)"


def odd(tree: Tree, name: str, text: str = SPEC, mode: int = 0o644) -> Node:
    tree.write(name, text)
    (tree.root / name[1:]).chmod(mode)
    return tree.node()


@pytest.mark.parametrize(("name", "made", "step"), [
    pytest.param(
        "spec-conflict", lambda tree: odd(tree, "/etc/cdi/zz top.yaml"),
        ["rm", "/etc/cdi/zz top.yaml"], id="one of two",
    ),
    pytest.param(
        "spec-ignored", lambda tree: odd(tree, f"{ODD}.yml"), ["mv", f"{ODD}.yml", f"{ODD}.yaml"],
        id="a name that is not read",
    ),
    pytest.param(
        "spec-rejected", lambda tree: odd(tree, f"{ODD}.yaml", "cdiVersion: 9.9.9\n"),
        ["pyshimctl", "cdi", "validate", f"{ODD}.yaml"], id="a broken spec",
    ),
    pytest.param(
        "spec-writable",
        lambda tree: odd(tree, f"{ODD}.yaml", SPEC.replace("acme", "b"), 0o666),
        ["chmod", "o-w", f"{ODD}.yaml"], id="everybody's spec",
    ),
    pytest.param(
        "metrics",
        lambda tree: tree.node(config=f"{RUNC}[log]\nmetrics = '/var/a b;id/x.prom'\n"),
        ["mkdir", "-p", "/var/a b;id"], id="a folder that is missing",
    ),
])  # fmt: skip
def test_a_shell_takes_a_path_for_one_word(
    tree: Tree, name: str, made: Callable[[Tree], Node], step: list[str]
) -> None:
    """Who copies the step runs nothing that a file is called."""
    found = next(one for one in doctor.examine(made(tree)) if one.name == name)
    assert f" {shlex.join(step)}" in f" {found.next_step}"


def parse(words: list[str]) -> None:
    """Have click parse the command line; nothing is run."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    command.make_context(command.name, words)


def mend(tree: Tree, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do on the tree what a command line does on a node."""
    root = str(tree.root)
    if words[0] == "pyshimctl":
        monkeypatch.setenv("PYSHIM_CONFIG", f"{root}/etc/pyshim/config.toml")
        has = any(name in words for name in ("doctor", "configure", "install"))
        more = ["--host-root", root] if has else []
        if words[1] == "configure":
            tree.tells("/usr/local/bin/pyshim", "pyshim")
            more += ["--force"]
        result = CliRunner().invoke(main, [*words[1:], *more])
        assert (result.exit_code in (0, 3, 4) and result.exception is None) or words[
            1
        ] == "doctor", result.output
        return
    there = [f"{root}{word}" if word.startswith("/") else word for word in words]
    subprocess.run(there, check=True)


# What leads out by the step alone; of the others the driver, the engine or a package has to come.
MENDED = [
    "configuration-writable", "metrics", "cache", "spec-dir", "spec-dir-writable", "spec-writable", "spec-ignored",
    "spec-conflict", "char-links", "engine-unregistered", "containerd-annotations", "containerd-imports",
    "containerd-cdi", "podman-annotations", "hooks-executor", "runtime-itself",
]  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("name", MENDED)
def test_it_leads_out(tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    step = provoked(tree, name).next_step
    lines = commands(step)
    assert lines, step
    for words in lines[:1] if " or " in step else lines:
        mend(tree, words, monkeypatch)
    config = tree.root / "etc/pyshim/config.toml"
    node = tree.node(config=config.read_text())
    assert name not in {one.name for one in doctor.examine(node)}


@pytest.mark.parametrize("name", sorted(set(FAULTS) - set(MENDED)))
def test_the_others_say_who_mends_it(tree: Tree, name: str) -> None:
    """A command, a file to correct, or that nothing is to be done."""
    step = provoked(tree, name).next_step
    if name in BY_HAND:
        assert step == BY_HAND[name]
    else:
        assert commands(step) or re.search(
            r"(edit|correct|set|take it out|remove|write|install|in) .*/?\w", step
        ), step


@pytest.mark.parametrize("count", [2, 8, 40])
def test_one_cause_is_one_finding(tree: Tree, count: int) -> None:
    """A spec of eight GPUs that is there twice; nodes, hooks and mounts of all of them gone."""
    names = "".join(
        f'- name: "{number}"\n  containerEdits:\n    deviceNodes: [{{path: /dev/gone{number}}}]\n'
        f"    mounts: [{{hostPath: /gone{number}, containerPath: /x, options: [bind]}}]\n"
        f"    hooks: [{{hookName: createContainer, path: /opt/gone{number}}}]\n"
        for number in range(count)
    )
    spec = f"cdiVersion: 0.6.0\nkind: acme.com/gpu\ndevices:\n{names}"
    tree.write("/etc/cdi/acme.yaml", spec)
    found = sorted(one.name for one in doctor.examine(tree.node()))
    assert found == ["spec-device-gone", "spec-hook-gone", "spec-stale"]
    tree.write("/etc/cdi/twin.yaml", spec)
    assert sorted(one.name for one in doctor.examine(tree.node())) == ["spec-conflict", "spec-none"]


REFUSED = [
    pytest.param("deviceNodes: [{path: /dev/gone}]", {}, "/dev/gone", id="no node"),
    pytest.param("deviceNodes: [{path: /etc/passwd}]", {}, "/etc/passwd", id="no device"),
    pytest.param("netDevices: [{hostInterfaceName: gone0, name: eth7}]", {}, "gone0",
        id="no interface"),
    pytest.param("hooks: [{hookName: createContainer, path: /opt/gone}]", {}, "/opt/gone",
        id="no program"),
    pytest.param("hooks: [{hookName: prestart, path: /etc/passwd}]", {}, "/etc/passwd",
        id="not executable"),
    pytest.param("hooks: [{hookName: createRuntime, path: /etc}]", {}, "/etc", id="a folder"),
    pytest.param("hooks: [{hookName: createContainer, path: opt/x}]", {}, "opt/x", id="relative"),
    pytest.param("mounts: [{hostPath: /gone.so, containerPath: /a}]", {"cdi.stale": "error"},
        "/gone.so", id="stale"),
    pytest.param("mounts: [{hostPath: lib/x.so, containerPath: /a, options: [bind]}]", {},
        "lib/x.so", id="a relative source"),
    pytest.param("mounts: [{hostPath: LOOP/x.so, containerPath: /a, options: [rbind]}]", {},
        "/loop/x.so is a loop of links", id="a source behind a loop of links"),
    pytest.param("mounts: [{hostPath: LOOP, containerPath: /a, options: [rbind]}]", {},
        "/loop is a loop of links", id="a loop of links"),
    pytest.param(f"mounts: [{{hostPath: /{'x' * 300}, containerPath: /a, options: [bind]}}]", {},
        "file name too long", id="a name too long"),
    pytest.param("deviceNodes: [{path: /dev/a, hostPath: dev/null}]", {}, "dev/null",
        id="a relative node"),
    pytest.param("deviceNodes: [{path: /dev/a, hostPath: LOOP/a}]", {}, "/loop/a",
        id="a node behind a loop of links"),
    pytest.param("hooks: [{hookName: createContainer, path: LOOP/a}]", {}, "/loop/a",
        id="a program behind a loop of links"),
    pytest.param("env: [A=b]", {"runtimes": ["/nowhere/runc"]}, "runc", id="no runtime"),
    pytest.param("env: [A=b]", {"cdi.x": 1}, "cdi.x", id="configuration"),
    pytest.param("env: [b]", {}, "env", id="a spec that is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("edits", "settings", "named"), REFUSED)
def test_what_create_refuses_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edits: str, settings: dict[str, object], named: str
) -> None:  # fmt: skip
    """On this machine itself: the same bundle fails, and the doctor names the same thing."""
    box = Box(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    edits = edits.replace("LOOP", f"{tmp_path}/loop")
    spec = f"cdiVersion: 1.1.0\nkind: acme.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    {edits}\n"
    box.add_spec("acme.yaml", spec)
    box.settings(settings)
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}))
    failed = box.call("create", "--bundle", "bundle", "c")
    assert failed.status == 1, failed
    assert named in failed.err
    found = [one for one in on_this_machine(box, monkeypatch) if one["severity"] == "error"]
    telling = [one for one in found if named in one["evidence"] or named in one["what"]]
    assert len(telling) == 1, found
    assert telling[0]["next_step"]


def test_what_create_takes_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path)
    box.add_spec("acme.json", ACME)
    names = {one["name"] for one in on_this_machine(box, monkeypatch)}
    assert not {name for name in names if name.startswith("spec-")}


def on_this_machine(box: Box, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    found = (str(box.pyshim), str(box.bin / "pyshim-hook"))
    monkeypatch.setattr(ownfiles, "programs", lambda: found)
    for name, value in box.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        doctor, "CHECKS", tuple(c for c in doctor.CHECKS if c.startswith(("base:", "specs:")))
    )
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    return list(told["findings"])
