"""Each --json output is what its JSON Schema says, and says which that is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from ocishim.admin.cli import COMMANDS, main
from ocishim.admin.schema import command as schemas
from tests.unit.admin.explaining import ASKED, SPEC, Node
from tests.unit.admin.test_explain_container import FAILED, ID, containerd, docker, keep

if TYPE_CHECKING:
    from collections.abc import Callable

BROKEN = "cdiVersion: 0.6.0\nkind: acme.com/x\ndevices: 7\n"


@pytest.fixture(name="node")
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path, monkeypatch)
    keep(node, namespace="ns", pod="web-0", container="web", error=FAILED)
    node.asking(annotations=ASKED)
    (node.root / "root/etc/containerd").mkdir(parents=True)
    (node.root / "root/usr/bin").mkdir(parents=True)
    for name in ("containerd", "runc", "pyshim", "pyshim-hook"):
        program = node.root / "root/usr/bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return node


def broken_spec(node: Node) -> None:
    (node.root / "cdi/broken.yaml").write_text(BROKEN)


def two_specs(node: Node) -> None:
    (node.root / "cdi/again.yaml").write_text(SPEC)


def broken_settings(node: Node) -> None:
    (node.root / "config.toml").write_text("runtimes = 7\n")


def no_runtime(node: Node) -> None:
    (node.root / "runc.sh").unlink()


def ran_elsewhere(node: Node) -> None:
    docker(node)
    containerd(node, systemd_cgroup=True)


def no_settings(node: Node) -> None:
    (node.root / "config.toml").unlink()


CASES: list[tuple[str, str, Callable[[Node], None] | None]] = [
    ("explain @/bundle", "explain", None),
    ("explain @/none", "explain", None),
    ("explain @/bundle", "explain", broken_settings),
    ("explain --last-failure", "explain", None),
    ("explain --container web", "explain", None),
    (f"explain --container {ID}", "explain", ran_elsewhere),
    ("explain --container c1", "explain", None),
    ("explain --pod web-0", "explain-pod", None),
    ("explain --pod ns/web-0", "explain-pod", ran_elsewhere),
    ("what-if acme.com/demo=0", "explain", None),
    ("what-if acme.com/demo=9", "explain", None),
    ("doctor", "doctor", None),
    ("doctor --fix --dry-run --quiet", "doctor", broken_spec),
    ("doctor --host-root @/root", "doctor", broken_settings),
    ("config show", "config", None),
    ("config show", "config", no_settings),
    ("config check", "config-check", None),
    ("config check", "config-check", broken_settings),
    ("config check", "config-check", no_settings),
    ("config check @/nowhere", "config-check", None),
    ("cdi list", "cdi-list", None),
    ("cdi list", "cdi-list", broken_spec),
    ("cdi list", "cdi-list", two_specs),
    ("cdi list --wide", "cdi-list", None),
    ("cdi show acme.com/demo=0", "cdi-show", None),
    ("cdi generate --vendor acme.com --class x --device 0=/dev/null", "cdi-generate", None),
    ("cdi validate", "cdi-validate", None),
    ("cdi validate", "cdi-validate", broken_spec),
    ("cdi validate", "cdi-validate", two_specs),
    ("cdi validate --schema-only", "cdi-validate", broken_spec),
    ("install --check --host-root @/root", "install-check", None),
    ("install --dry-run --host-root @/root", "install", None),
    ("install --host-root @/root", "install", None),
    ("uninstall --force --host-root @/root", "install", None),
    ("uninstall --dry-run --force --host-root @/root", "install", None),
    ("configure containerd --force --dry-run --host-root @/root --runtime-path /usr/bin/pyshim",
        "configure", None),
    ("configure docker --force --remove --host-root @/root", "configure", None),
    ("version", "version", None),
    ("version", "version", no_runtime),
    ("version", "version", broken_settings),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "schema", "before"), CASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_output(
    node: Node, monkeypatch: pytest.MonkeyPatch, line: str, schema: str, before: Callable[[Node], None] | None
) -> None:  # fmt: skip
    from ocishim.admin.install import ownfiles  # noqa: PLC0415 - patched by the node

    static = node.root / "static"
    static.write_text("static")
    monkeypatch.setattr(ownfiles, "static_file", lambda: str(static))
    if before:
        before(node)
    words = line.replace("@", str(node.root)).split()
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.stdout, result.output
    told = json.loads(result.stdout)
    assert told["schema"] == f"pyshim/{schema}"
    jsonschema.validate(told, json.loads(schemas.text(schema)))


def options(command: click.Command, words: str) -> list[str]:
    """The commands that have --json."""
    if isinstance(command, click.Group):
        return [
            one for name, sub in command.commands.items() for one in options(sub, f"{words} {name}")
        ]
    return [words] if any("--json" in parameter.opts for parameter in command.params) else []


def test_every_command_with_json_is_a_case() -> None:
    having = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        having += options(command, name)
    assert [
        words
        for words in having
        if not any(f"{line} ".startswith(f"{words} ") for line, _, _ in CASES)
    ] == []
    assert {schema for _, schema, _ in CASES} == set(schemas.names())


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema(name: str) -> None:
    document: dict[str, Any] = json.loads(schemas.text(name))
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["properties"]["schema"] == {"const": f"pyshim/{name}"}
    printed = CliRunner().invoke(main, ["schema", name]).stdout
    assert json.loads(printed) == document


def test_the_names() -> None:
    assert CliRunner().invoke(main, ["schema"]).stdout.split() == schemas.names()
    result = CliRunner().invoke(main, ["schema", "docter"])
    assert result.exit_code == 2
    assert result.stderr.startswith("pyshimctl: no schema 'docter'\nhint: there are cdi-generate, ")


def test_they_are_shipped() -> None:
    folder = Path(schemas.__file__).parent
    files = [name for name in os.listdir(folder) if name.endswith(".json")]
    assert sorted(files) == sorted(f"{name}.json" for name in schemas.names())
