"""What people read is whole on every screen: nothing cut, names in one piece, also without a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.admin.explaining import ASKED, Node

if TYPE_CHECKING:
    from pathlib import Path

UUID = "GPU-8a56a4bc-3184-a9e4-9a5d-6b8ba1f6c7de"
LONG = "/usr/lib/x86_64-linux-gnu/a-folder-with-a-long-name/libacme-with-a-long-name.so.550.54.15"
SPEC = f"""cdiVersion: 0.6.0
kind: acme.com/demo
devices:
- name: "{UUID}"
  containerEdits:
    deviceNodes: [{{path: /dev/acme0, hostPath: /dev/null, type: c, major: 1, minor: 3}}]
    mounts: [{{hostPath: /bin/sh, containerPath: {LONG}}}]
    env: [ACME={UUID}]
"""
COMMANDS = [
    pytest.param("cdi list", [f"acme.com/demo={UUID}", "@/cdi/acme.yaml", "1 env, 1 node, 1 mount"],
        id="list"),
    pytest.param("cdi list --wide", [f"acme.com/demo={UUID}", LONG, "/dev/acme0"], id="list wide"),
    pytest.param(f"cdi show acme.com/demo={UUID}", [f"ACME={UUID}", LONG], id="show"),
    pytest.param("cdi validate", ["@/cdi/acme.yaml: valid"], id="validate"),
    pytest.param("explain @/bundle", [f"asks for acme.com/demo={UUID}", LONG], id="explain"),
    pytest.param(f"what-if acme.com/demo={UUID}", [f"asks for acme.com/demo={UUID}", LONG],
        id="what-if"),
    pytest.param("doctor --host-root @", ["next:"], id="doctor"),
]  # fmt: skip


@pytest.fixture(name="node")
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path, monkeypatch)
    (tmp_path / "cdi/acme.yaml").write_text(SPEC)
    (tmp_path / "pyshim").write_text("#!/bin/sh\n")
    (tmp_path / "pyshim").chmod(0o755)
    node.asking(annotations=dict.fromkeys(ASKED, f"acme.com/demo={UUID}"))
    return node


def on_terminal(node: Node, words: list[str], columns: int) -> str:
    """What `pyshimctl` writes to a terminal that is that wide, colours taken out."""
    leader, follower = pty.openpty()
    subprocess.run(["stty", "cols", str(columns)], stdin=follower, check=True)
    environment = {
        **os.environ,
        "PATH": f"{node.root}:{os.environ['PATH']}",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }
    environment.pop("COLUMNS", None)
    with open(follower, "wb") as screen:
        child = subprocess.Popen([sys.executable, "-m", "ocishim.admin", *words], stdin=screen, stdout=screen,
                                 stderr=screen, env=environment)  # fmt: skip
    text = b""
    while True:
        try:
            text += os.read(leader, 65536)
        except OSError:  # nobody has the terminal open any more
            break
    child.wait()
    os.close(leader)
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize(("line", "names"), COMMANDS)
def test_a_terminal(node: Node, line: str, names: list[str], columns: int) -> None:
    """A terminal folds a long line by itself; whoever copies a name gets it whole."""
    text = on_terminal(node, line.replace("@", str(node.root)).split(), columns)
    for name in names:
        assert name.replace("@", str(node.root)) in text, text
    assert "\u2026" not in text


@pytest.mark.parametrize(("line", "names"), COMMANDS)
def test_no_terminal(node: Node, line: str, names: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocishim.admin", *line.replace("@", str(node.root)).split()],
        env={**os.environ, "PATH": f"{node.root}:{os.environ['PATH']}", "COLUMNS": "20"},
        capture_output=True, check=False,
    )  # fmt: skip
    text = done.stdout.decode("ascii") + done.stderr.decode("ascii")
    for name in names:
        assert name.replace("@", str(node.root)) in text, text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_screen_without_the_letters(node: Node, encoding: str) -> None:
    """As where the locale is not UTF-8: what it cannot show is escaped."""
    edits = 'containerEdits: {env: ["ACME=\u65e5"]}'
    (node.root / "cdi/acme.yaml").write_text(
        f'cdiVersion: 0.6.0\nkind: acme.com/demo\ndevices: [{{name: "0", {edits}}}]\n'
    )
    path = f"{node.root}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "ocishim.admin", "explain", node.asking("b", annotations=ASKED)],
        env={**os.environ, "PATH": path, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
    )  # fmt: skip
    assert rb"environment ACME=\u65e5" in done.stdout, done
