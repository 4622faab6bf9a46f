"""Every command of pyshimctl on names and texts that attack a terminal: they are shown escaped.

Each command is a process of its own, on pipes, and what it must show is looked for in its output:
a command that says nothing would pass otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim.admin import printer
from ocishim.admin.config import settings
from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.errors import shown
from tests.hostiletext import CONTROLS, EVIL, PLAIN, SEEN
from tests.unit.admin.noderoot import NodeRoot

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = f"#!/bin/sh\ncat <<'E'\nrunc version 1{SEEN}\x1b[31m\u202e{EVIL}\nE\n"
REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(("text", "escaped"), CONTROLS.values(), ids=CONTROLS)
def test_what_is_escaped(text: str, escaped: str) -> None:
    assert shown(f"a{text}b") == f"a{escaped}b"


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_what_stays(text: str) -> None:
    assert shown(text) == text


def test_every_character_there_is() -> None:
    for number in range(sys.maxunicode + 1):
        told = shown(chr(number))
        assert told.isprintable()
        assert told == chr(number) or told.isascii()


@pytest.mark.parametrize("text", [*(text for text, _ in CONTROLS.values()), *PLAIN.values()])
def test_settings_are_still_toml(text: str) -> None:
    line = f"x = {settings.toml(text)}"
    assert line.isprintable()
    assert tomllib.loads(line) == {"x": text}


def test_json_is_ascii() -> None:
    told = printer.json_text({EVIL: EVIL})
    assert told.replace("\n", "").isascii()
    assert told.replace("\n", "").isprintable()
    assert json.loads(told) == {EVIL: EVIL}


@pytest.mark.parametrize("character", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_diff_has_the_files_own_lines(tmp_path: Path, character: str) -> None:
    """Python's splitlines ends lines there, too: the rest would look like a line of the diff."""
    edit = files.Edit(Host(str(tmp_path)), "/f", f"a{character}+b = 1\n", "c\n")
    assert edit.diff().split("\n")[2:] == ["@@ -1 +1 @@", f"-a{character}+b = 1", "+c", ""]


def as_json(value: object) -> str:
    """Return JSON that is YAML, too: goyaml does not take the escapes of surrogates."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() or ord(c) > 0xFFFF else f"\\u{ord(c):04x}" for c in text)


class Node(NodeRoot):
    """A node whose specs, bundle, runtime and engines are called and say what nobody should see."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write(f"cdi/{EVIL}.json", self.spec("acme.com/gpu"))
        self.write(f"bad/{EVIL}.json", self.spec(f"acme.com/{EVIL}"))
        self.write("unnamed/a.yaml", '{"cdiVersion": "0.6.0", "kind": "a.com/b", "devices": [')
        runc = self.write("runc", VERSION)
        runc.chmod(0o755)
        self.settings(f'runtimes = ["{runc}"]', spec_dirs=[f"{root}/cdi"])
        self.write("wrong.toml", f"{settings.toml(EVIL)} = 1\n")
        self.write("strange.toml", f"[log]\nfile = {settings.toml('/' + EVIL)}\n")
        self.asking("bundle", "cdi.k8s.io/x", "acme.com/gpu=0")
        self.asking("greedy", f"cdi.k8s.io/{EVIL}", f"acme.com/{EVIL}=0")
        self.write(f"host/etc/docker/{EVIL}.json", json.dumps({EVIL: 1}, ensure_ascii=False))
        self.write(f"host/etc/cdi/{EVIL}.json", self.spec(f"acme.com/{EVIL}"))
        for program in ("host/usr/local/bin/pyshim", "bin/pyshim", "bin/pyshim-hook"):
            self.program(program)

    def spec(self, kind: str) -> str:
        hook = {"hookName": "createContainer", "path": "/bin/x", "args": ["x", EVIL]}
        edits = {"env": [f"ACME={EVIL}"], "hooks": [hook]}
        device = {"name": "0", "containerEdits": edits}
        return as_json({"cdiVersion": "0.6.0", "kind": kind, "devices": [device]})

    def asking(self, name: str, annotation: str, wanted: str) -> None:
        config = {
            "ociVersion": "1.0.2", "root": {"path": EVIL}, "process": {"env": [f"X={EVIL}"]},
            "annotations": {annotation: wanted},
        }  # fmt: skip
        self.bundle(config, name, rootfs=EVIL)

    def called(self, line: str, config: str) -> tuple[str, str]:
        """Run a command line; return what it says on stdout and stderr."""
        words = [word.replace("@", str(self.root)).replace("EVIL", EVIL) for word in line.split()]
        done = subprocess.run(
            [sys.executable, "-m", "ocishim.admin", *words],
            cwd=REPOSITORY, capture_output=True, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": f"{self.root}/bin:{os.defpath}", "PYSHIM_CONFIG": str(self.root / config), "PYTHONUTF8": "1",
                 "PYSHIM_CACHE_DIR": str(self.root / "cache")},
        )  # fmt: skip
        return done.stdout.decode(), done.stderr.decode()


@pytest.fixture(name="node", scope="module")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("node"))


OUT, ERR = 0, 1
COMMANDS = [
    # command line, the stream that shows the text; @ is the node's folder
    pytest.param("cdi list", OUT, "config.toml", id="cdi list"),
    pytest.param("cdi list --spec-dir @/bad", ERR, "config.toml", id="cdi list, a bad file"),
    pytest.param("cdi show acme.com/gpu=0", OUT, "config.toml", id="cdi show"),
    pytest.param("cdi show EVIL", ERR, "config.toml", id="cdi show, no such device"),
    pytest.param("cdi inject @/bundle acme.com/gpu=0", OUT, "config.toml",
        id="cdi inject, the diff"),
    pytest.param("cdi inject @/bundle EVIL", ERR, "config.toml", id="cdi inject, no such device"),
    pytest.param("cdi inject @/EVIL a", ERR, "config.toml", id="cdi inject, a bundle's name"),
    pytest.param("cdi validate @/bad/EVIL.json", OUT, "config.toml", id="cdi validate"),
    pytest.param("cdi validate @/EVIL", OUT, "config.toml", id="cdi validate, a file's name"),
    pytest.param("cdi generate --vendor a.com --class b --device x=/dev/EVIL", ERR, "config.toml",
        id="cdi generate, a node"),
    pytest.param("cdi generate --vendor EVIL --class b --device x=/dev/null", ERR, "config.toml",
        id="cdi generate, a vendor"),
    pytest.param("cdi generate --output @/EVIL --vendor a.com --class b --device x=/dev/null", ERR,
        "config.toml", id="cdi generate, a file"),
    pytest.param("explain @/bundle", OUT, "config.toml", id="explain"),
    pytest.param("explain @/greedy", OUT, "config.toml", id="explain, create fails"),
    pytest.param("explain --container EVIL", ERR, "config.toml", id="explain, a container's id"),
    pytest.param("config show", OUT, "strange.toml", id="config show"),
    pytest.param("config check @/wrong.toml", ERR, "config.toml", id="config check"),
    pytest.param("config check @/EVIL", ERR, "config.toml", id="config check, a file's name"),
    pytest.param(
        "configure docker --host-root @/host --config /etc/docker/EVIL.json --dry-run --force", OUT,
        "config.toml", id="configure, the diff"),
    pytest.param("configure docker --host-root @/host --runtime-name EVIL --dry-run --force", ERR,
        "config.toml", id="configure, a name"),
    pytest.param("configure EVIL", ERR, "config.toml", id="configure, no such engine"),
    pytest.param("doctor --host-root @/host", OUT, "config.toml", id="doctor"),
    pytest.param("uninstall --host-root @/EVIL", ERR, "config.toml", id="uninstall"),
    pytest.param("install --host-root @/EVIL", ERR, "config.toml", id="install"),
    pytest.param("manifest --image EVIL", OUT, "config.toml", id="manifest"),
    pytest.param("manifest EVIL", ERR, "config.toml", id="manifest, no such object"),
    pytest.param("version", OUT, "config.toml", id="version"),
    pytest.param("completion EVIL", ERR, "config.toml", id="completion"),
    pytest.param("EVIL", ERR, "config.toml", id="no such command"),
    pytest.param("--EVIL", ERR, "config.toml", id="no such option"),
    pytest.param("cdi list --EVIL", ERR, "config.toml", id="no such option of a command"),
    pytest.param("cdi EVIL", ERR, "config.toml", id="no such command of cdi"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "stream", "config"), COMMANDS)
def test_a_command_shows_it_escaped(node: Node, line: str, stream: int, config: str) -> None:
    told = node.called(line, config)
    for text in told:
        hidden = {c for c in text if not c.isprintable()} - {"\n"}
        assert not hidden, text
    assert SEEN in told[stream]
    assert "\\u202e" in told[stream]
