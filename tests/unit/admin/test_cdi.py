"""`pyshimctl cdi`: what it prints, what it writes and how it exits."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

from tests.specdirs import SpecDirs, spec
from tests.unit.admin.noderoot import NodeRoot

if TYPE_CHECKING:
    from pathlib import Path

GPU0 = "acme.com/gpu=0"
CONFIG = {"ociVersion": "1.0.2", "process": {"env": ["A=1"]}, "x-unknown": 1.50}


class Node(NodeRoot):
    """A node whose configuration names two spec dirs."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root)
        self.dirs = SpecDirs(root)
        self.settings(spec_dirs=self.dirs.paths)
        self.be_ours(monkeypatch)
        self.bundle(CONFIG)

    def cdi(self, *words: str) -> Result:
        return self.run("cdi", *words)

    def out(self, result: Result) -> str:
        return self.shown(result.stdout)

    def err(self, result: Result) -> str:
        return self.shown(result.stderr)


@pytest.fixture(name="node")
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


@pytest.fixture(name="filled")
def _filled(node: Node) -> Node:
    node.dirs.write("etc/acme.yaml", spec("acme.com/gpu", "0", "1", env="x"))
    node.dirs.write("run/b.yaml", spec("b.c/d", "e"))
    return node


def test_list_is_a_table_of_names_files_and_edits(filled: Node) -> None:
    result = filled.cdi("list")
    rows = [line.split() for line in filled.out(result).splitlines()]
    assert rows == [
        ["DEVICE", "SPEC", "EDITS"],
        ["acme.com/gpu=0", "@/etc/acme.yaml", "2", "env"],
        ["acme.com/gpu=1", "@/etc/acme.yaml", "2", "env"],
        ["b.c/d=e", "@/run/b.yaml", "1", "env"],
    ]
    assert filled.err(result) == "looked in @/etc (1 file), @/run (1 file)\n"
    assert result.exit_code == 0


def on_a_terminal(node: Node, *words: str, columns: int) -> str:
    """What `pyshimctl cdi` prints on a terminal of that width, without its line ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "ocishim.admin", "cdi", *words]
    with os.fdopen(theirs), os.fdopen(ours, "rb", buffering=0) as reader:
        environment = {**os.environ, "COLUMNS": str(columns)}
        subprocess.run(
            command, stdout=theirs, stderr=subprocess.DEVNULL, check=False, env=environment
        )
        return reader.read(1 << 16).decode().replace(str(node.root), "@")


def test_list_cuts_nothing_however_long_the_names_are(node: Node) -> None:
    name = "GPU-" + "1d1d3726" * 30
    node.dirs.write("etc/acme.yaml", spec("acme.com/gpu", name))
    shown = f"acme.com/gpu={name}"
    assert shown in node.out(node.cdi("list"))
    assert shown in on_a_terminal(node, "list", columns=80)


def test_list_names_what_is_rejected_and_what_conflicts(filled: Node) -> None:
    filled.dirs.write("etc/bad.yaml", spec("bad.com/x", "0") + "unknown: 1\n")
    filled.dirs.write("run/c.yaml", spec("b.c/d", "e"))
    result = filled.cdi("list")
    assert filled.err(result).splitlines()[1:] == [
        (
            "@/etc/bad.yaml: unknown field 'unknown': known are cdiVersion, kind, annotations, devices,"
            " containerEdits (cdiVersion 0.6.0)"
        ),
        "@/run/c.yaml: conflicting devices: b.c/d=e in @/run/b.yaml and in @/run/c.yaml",
    ]
    assert "b.c/d=e" not in filled.out(result)
    assert result.exit_code == 1


def test_list_of_a_duplicated_spec_names_it_once(filled: Node) -> None:
    filled.dirs.write("etc/copy.yaml", spec("acme.com/gpu", "0", "1", env="x"))
    result = filled.cdi("list")
    assert filled.err(result).splitlines()[1:] == [
        (
            "@/etc/copy.yaml: conflicting devices: acme.com/gpu=0 and 1 more in @/etc/acme.yaml"
            " and in @/etc/copy.yaml"
        )
    ]


def with_gone_device(node: Node) -> str:
    """A spec of a device that this host has not got; what is said of its file."""
    text = spec("acme.com/gone", "0") + "    deviceNodes: [{path: /dev/acme-gone}]\n"
    node.dirs.write("etc/gone.yaml", text)
    return (
        '@/etc/gone.yaml: create fails: failed to stat CDI host device "/dev/acme-gone": no such'
        " file or directory\n"
    )


def test_list_and_validate_tell_of_a_device_that_cannot_be_created(node: Node) -> None:
    said = with_gone_device(node)
    listed, validated = node.cdi("list"), node.cdi("validate")
    assert node.err(listed).splitlines(keepends=True)[1:] == [said]
    assert node.err(validated) == said
    assert node.out(validated) == "@/etc/gone.yaml: valid, acme.com/gone, 1 device, 0.6.0\n"
    assert (listed.exit_code, validated.exit_code) == (1, 1)


def test_validate_of_a_named_file_asks_the_host_where_it_is_of_the_spec_dirs(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what doctor names as the next step; a file elsewhere may be another machine's."""
    said = with_gone_device(node)
    for name in ("@/etc/gone.yaml", "@/etc/../etc/gone.yaml"):
        result = node.cdi("validate", name)
        assert (node.err(result), result.exit_code) == (said.replace("@/etc/gone.yaml", name), 1)
    (node.root / "else").mkdir()
    (node.root / "etc/gone.yaml").rename(node.root / "else/gone.yaml")
    result = node.cdi("validate", "@/else/gone.yaml")
    assert (node.err(result), result.exit_code) == ("", 0)


def test_validate_of_a_named_file_whatever_the_settings_are(node: Node) -> None:
    with_gone_device(node)
    node.write("config.toml", "runtimes = 5\n")
    result = node.cdi("validate", "@/etc/gone.yaml")
    assert (node.err(result), result.exit_code) == ("", 0)


def test_validate_tells_of_devices_lost_to_a_conflict(filled: Node) -> None:
    filled.dirs.write("run/c.yaml", spec("b.c/d", "e"))
    result = filled.cdi("validate", "--json")
    useless = {one["path"]: one.get("useless") for one in json.loads(filled.out(result))["files"]}
    assert useless == {
        "@/etc/acme.yaml": None,
        "@/run/b.yaml": None,
        "@/run/c.yaml": ["conflicting devices: b.c/d=e in @/run/b.yaml and in @/run/c.yaml"],
    }
    assert result.exit_code == 1


def test_list_as_json(filled: Node) -> None:
    filled.dirs.write("run/b.yaml", spec("b.c/d", "e").replace("0.6.0", "9.9.9"))
    result = filled.cdi("list", "--json")
    device = {"path": "@/etc/acme.yaml", "cdiVersion": "0.6.0", "edits": "2 env"}
    assert json.loads(filled.out(result)) == {
        "schema": "pyshim/cdi-list",
        "schema_version": 1,
        "devices": [{"name": GPU0, **device}, {"name": "acme.com/gpu=1", **device}],
        "errors": [
            {
                "path": "@/run/b.yaml",
                "field": "cdiVersion",
                "reason": "invalid version \"9.9.9\" in 'cdiVersion': known are"
                " 0.3.0, 0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0, 1.1.0",
            }
        ],
    }
    assert result.exit_code == 1


def test_list_of_other_spec_dirs_in_order_of_priority(filled: Node) -> None:
    (filled.root / "more").mkdir()
    filled.dirs.write("more/acme.yaml", spec("acme.com/gpu", "0"))
    result = filled.cdi("list", "--spec-dir", "@/etc", "--spec-dir", "@/more")
    assert [line.split()[:2] for line in filled.out(result).splitlines()[1:]] == [
        ["acme.com/gpu=0", "@/more/acme.yaml"],
        ["acme.com/gpu=1", "@/etc/acme.yaml"],
    ]


def test_every_kind_of_edit_is_counted(node: Node) -> None:
    mounts = {"mounts": [{"hostPath": "/a", "containerPath": "/a"}] * 2}
    edits = {
        "deviceNodes": [{"path": "/dev/null"}],
        "hooks": [{"hookName": "prestart", "path": "/x"}] * 3,
        "env": ["A=1", "B=2"],
        "netDevices": [{"hostInterfaceName": "a", "name": "b"}],
        "additionalGids": [4, 5],
        "intelRdt": {},
    }
    devices = [{"name": "0", "containerEdits": edits}]
    whole = {"cdiVersion": "1.1.0", "kind": "a/b", "containerEdits": mounts, "devices": devices}
    node.dirs.write("etc/a.json", json.dumps(whole))
    words = "2 env, 1 node, 1 net device, 2 mounts, 3 hooks, 2 gids, intelRdt"
    assert node.out(node.cdi("list")).splitlines()[1].endswith(words)


def test_show_tells_what_the_device_does(filled: Node) -> None:
    result = filled.cdi("show", GPU0)
    lines = filled.out(result).splitlines()
    assert lines[:3] == [f"device   {GPU0}", "spec     @/etc/acme.yaml", "version  0.6.0"]
    assert ["C=x" in lines[3], "D=0x" in lines[4], len(lines)] == [True, True, 5]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("mount", "told"),
    [
        pytest.param(
            "{hostPath: /gone/lib.so, containerPath: /x, options: [bind]}",
            "missing  @/etc/acme.yaml is stale: mount source /gone/lib.so is gone",
            id="a source that is gone",
        ),
        pytest.param(
            "{hostPath: /etc, containerPath: /x, options: [ro]}",
            "missing  @/etc/acme.yaml: the mount at /x says neither 'bind' nor 'rbind'",
            id="no bind",
        ),
    ],
)
def test_show_and_list_tell_that_create_fails(node: Node, mount: str, told: str) -> None:
    text = spec("acme.com/gpu", "0").replace("env:", f"mounts: [{mount}]\n    env:")
    node.dirs.write("etc/acme.yaml", text)
    result = node.cdi("show", GPU0)
    assert told in node.out(result)
    assert result.exit_code == 1
    fault = told.removeprefix("missing  @/etc/acme.yaml").removeprefix(": ")
    for command in ("list", "validate"):
        result = node.cdi(command)
        assert "create fails: @/etc/acme.yaml" in node.err(result)
        assert fault in node.err(result)
        assert result.exit_code == 1


def test_show_as_json_has_the_edits_of_the_spec(filled: Node) -> None:
    assert json.loads(filled.out(filled.cdi("show", GPU0, "--json"))) == {
        "schema": "pyshim/cdi-show",
        "schema_version": 1,
        "name": GPU0,
        "path": "@/etc/acme.yaml",
        "cdiVersion": "0.6.0",
        "edits": "2 env",
        "containerEdits": {"env": ["D=0x"]},
        "common": {"env": ["C=x"]},
        "missing": [],
    }


def test_show_lists_all_edits_where_a_device_node_is_missing(node: Node) -> None:
    nodes = "deviceNodes: [{path: /dev/absent0}, {path: /dev/a, hostPath: /dev/null}]\n    env:"
    node.dirs.write("etc/acme.yaml", spec("acme.com/gpu", "0").replace("env:", nodes))
    reason = 'failed to stat CDI host device "/dev/absent0": no such file or directory'
    result = node.cdi("show", GPU0)
    assert node.out(result).splitlines()[3:] == [
        f"missing  {reason}",
        "  environment D=0",
        "  device node /dev/absent0, missing on this host",
        "  device node /dev/a (c 1:3, 0666)",
        "  cgroup rule allow c 1:3 rwm",
    ]
    assert node.err(result) == (
        f"create fails for a container that asks for {GPU0}: load the device's driver, "
        "or generate the spec again\n"
    )
    assert result.exit_code == 1
    injected = node.cdi("inject", "@/bundle", GPU0)
    hint = "hint: load the device's driver, or generate the spec again\n"
    assert node.err(injected) == f"pyshimctl: {reason}\n{hint}"
    as_json = node.cdi("show", GPU0, "--json")
    assert (json.loads(as_json.stdout)["missing"], as_json.exit_code) == ([reason], 1)


@pytest.mark.parametrize(
    "words", [["show", "acme.com/gpu=7"], ["inject", "@/bundle", "acme.com/gpu=7"]]
)
def test_an_unknown_device_is_the_registrys_error(filled: Node, words: list[str]) -> None:
    result = filled.cdi(*words)
    assert filled.err(result) == (
        "pyshimctl: unresolvable CDI devices acme.com/gpu=7: acme.com/gpu has no device 7, "
        "nearest acme.com/gpu=0, acme.com/gpu=1; looked in @/etc (1 file), @/run (1 file)\n"
        "hint: run 'pyshimctl cdi list'\n"
    )
    assert (result.exit_code, result.stdout) == (1, "")


def test_validate_judges_every_file_of_the_spec_dirs(filled: Node) -> None:
    filled.dirs.write("run/bad.yaml", spec("b.c/d", "0").replace("D=0", "D"))
    result = filled.cdi("validate")
    assert filled.out(result) == (
        "@/etc/acme.yaml: valid, acme.com/gpu, 2 devices, 0.6.0\n"
        "@/run/b.yaml: valid, b.c/d, 1 device, 0.6.0\n"
        '@/run/bad.yaml: failed add device "0": invalid device "0": invalid container edits: '
        "invalid environment variable \"D\" in 'devices[0].containerEdits.env[0]': "
        "expected NAME=VALUE (cdiVersion 0.6.0)\n"
    )
    assert result.exit_code == 1


def test_validate_judges_named_files_and_tells_of_names_that_are_not_loaded(filled: Node) -> None:
    filled.dirs.write("etc/a.yml", spec("b.c/d", "e"))
    result = filled.cdi("validate", "@/etc/a.yml")
    assert filled.out(result) == "@/etc/a.yml: valid, b.c/d, 1 device, 0.6.0\n"
    assert filled.err(result) == "@/etc/a.yml: only files named *.json and *.yaml are loaded\n"
    assert result.exit_code == 0


def test_validate_as_json(filled: Node) -> None:
    filled.dirs.write("etc/a.yml", spec("b.c/d", "e"))
    result = filled.cdi("validate", "--json", "@/etc/a.yml", "@/etc/none.yaml")
    found = json.loads(filled.out(result))["files"]
    assert found == [
        {
            "path": "@/etc/a.yml",
            "valid": True,
            "fault": "",
            "notes": ["only files named *.json and *.yaml are loaded"],
        },
        {"path": "@/etc/none.yaml", "valid": False, "fault": "does not exist", "notes": []},
    ]
    assert (filled.err(result), result.exit_code) == ("", 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [("none.yaml", "does not exist"), ("", "is a directory")],
    ids=["missing", "directory"],
)
def test_validate_of_what_cannot_be_read(filled: Node, name: str, why: str) -> None:
    result = filled.cdi("validate", f"@/etc/{name}", "@/etc/acme.yaml")
    assert filled.out(result).splitlines()[0] == f"@/etc/{name}: {why}"
    assert "acme.yaml: valid" in filled.out(result)
    assert result.exit_code == 1


def test_validate_tells_what_is_unusual_for_the_version(node: Node) -> None:
    text = spec("acme.com/gpu", "0").replace("env:", "additionalGids: []\n    env:")
    node.dirs.write("etc/a.yaml", text)
    result = node.cdi("validate")
    assert node.out(result) == "@/etc/a.yaml: valid, acme.com/gpu, 1 device, 0.6.0\n"
    assert node.err(result) == (
        "@/etc/a.yaml: unusual for cdiVersion 0.6.0: additional properties are not allowed "
        "('additionalGids' was unexpected) in 'devices[0].containerEdits'\n"
    )
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        pytest.param(spec("acme.com/gpu", "0"), "valid by the schema", id="valid"),
        pytest.param(
            spec("acme.com/gpu", "0").replace("0.6.0", "9.9.9"),
            "valid by the schema",
            id="no version is wrong to it",
        ),
        pytest.param(
            spec("acme.com/gpu", "0").replace("'0'", "0"),
            "expected string, found integer in 'devices[0].name'",
            id="but a number is no name",
        ),
        pytest.param(
            "a: 1", "missing 'cdiVersion'; missing 'kind'; missing 'devices'", id="several"
        ),
    ],
)
def test_validate_by_the_schema_only(node: Node, text: str, verdict: str) -> None:
    node.dirs.write("etc/a.yaml", text)
    result = node.cdi("validate", "--schema-only")
    assert node.out(result) == f"@/etc/a.yaml: {verdict}\n"
    assert result.exit_code == (0 if verdict.startswith("valid") else 1)


def test_inject_prints_a_diff_and_writes_nothing(filled: Node) -> None:
    before = (filled.root / "bundle/config.json").read_bytes()
    result = filled.cdi("inject", "@/bundle", GPU0, "b.c/d=e")
    assert filled.out(result).splitlines() == [
        "--- @/bundle/config.json",
        "+++ @/bundle/config.json (injected)",
        "@@ -2,7 +2,9 @@",
        '   "ociVersion": "1.0.2",',
        '   "process": {',
        '     "env": [',
        '-      "A=1"',
        '+      "A=1",',
        '+      "C=x",',
        '+      "D=e"',
        "     ]",
        "   },",
        '   "x-unknown": 1.5',
    ]
    assert (filled.root / "bundle/config.json").read_bytes() == before
    assert result.exit_code == 0


def test_inject_writes_when_told_and_only_once(filled: Node) -> None:
    result = filled.cdi("inject", "@/bundle", GPU0, "--write")
    assert filled.out(result) == "@/bundle/config.json is rewritten with 2 edits\n"
    written = (filled.root / "bundle/config.json").read_bytes()
    assert json.loads(written)["process"]["env"] == ["A=1", "C=x", "D=0x"]
    assert b"1.5" in written
    again = filled.cdi("inject", "@/bundle", GPU0, "--write")
    assert filled.out(again) == ""
    assert filled.err(again) == "every edit is already in config.json\n"
    assert (filled.root / "bundle/config.json").read_bytes() == written


@pytest.mark.parametrize("name", ["list", "show", "validate", "inject"])
def test_help_tells_the_exit_status(node: Node, name: str) -> None:
    result = node.cdi(name, "--help")
    assert "Exit status:" in " ".join(result.stdout.split())
    assert result.exit_code == 0


def test_a_broken_configuration_is_named(filled: Node) -> None:
    (filled.root / "config.toml").write_text("[cdi]\nspec_dir = 1\n")
    result = filled.cdi("list")
    assert "unknown setting 'cdi.spec_dir'" in filled.err(result)
    assert result.exit_code == 1
    assert filled.cdi("list", "--spec-dir", "@/etc").exit_code == 0, "it is not needed then"
