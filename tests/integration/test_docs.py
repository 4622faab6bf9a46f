"""The console transcripts in docs/ are true: their commands run on a node and print the same.

In a ```console block `# ` begins a command and `> ` goes on with it; the other lines are what it
prints, on both outputs. `…` stands for any text, on a line of its own for any lines. Blocks of
other kinds are not run. A comment `<!-- before` holds commands that prepare the node unseen.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.integration.conftest import TOKEN
from tools.lab import cgroups
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.root, pytest.mark.engine, pytest.mark.binary, pytest.mark.xdist_group("docs")
]  # fmt: skip

DOCUMENTS = {
    "README.md": ("runc", "busybox"),
    "docs/gpu.md": ("containerd", "ctr", "dockerd", "docker", "runc", "busybox", "gcc"),
    "docs/quickstart-containerd.md": ("containerd", "ctr", "runc", "busybox"),
    "docs/quickstart-crio.md": ("runc",),
    "docs/quickstart-docker.md": ("dockerd", "docker", "runc", "busybox"),
    "docs/quickstart-podman.md": ("podman", "conmon", "runc", "busybox"),
    "docs/troubleshooting.md": ("runc",),
}
"""The documents whose transcripts are checked, with the programs they need."""

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"^<!-- before\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
_MARK = "\x1e"


class Step:
    """One command and what the document says it prints."""

    def __init__(self, command: str, printed: list[str]) -> None:
        self.command = command
        self.printed = printed

    def matches(self, text: str) -> bool:
        """Whether `text` is what the document says."""
        pattern = "".join(
            "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
            for line in self.printed
        )
        return re.fullmatch(pattern, text) is not None


def steps(document: str) -> list[Step]:
    """Return the commands of all console blocks in order."""
    found: list[Step] = []
    for block in _BLOCK.findall(document):
        for line in block.splitlines():
            if line.startswith("# ") and not _is_output(line, found):
                found.append(Step(line[2:], []))
            elif line.startswith("> ") and not found[-1].printed:
                found[-1].command += f"\n{line[2:]}"
            else:
                found[-1].printed.append(line)
    return found


def _is_output(line: str, before: list[Step]) -> bool:
    """Whether a line that begins like a command is the comment of a file that is shown."""
    return bool(before) and before[-1].command.startswith("cat /") and line[2:3] in "W`"


@pytest.fixture
def group() -> Iterator[str]:
    """A control group for the node, whose engines then make theirs in nobody else's place."""
    name = f"{TOKEN}-docs"
    cgroups.make(name)
    yield name
    cgroups.remove(name)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_transcript(document: str, tmp_path: Path, group: str) -> None:
    for program in DOCUMENTS[document]:
        need(program)
    text = (REPOSITORY / document).read_text()
    before = "".join(_BEFORE.findall(text))
    wanted = steps(text)
    script = tmp_path / "commands"
    mark = f"printf '{_MARK}'\n"
    script.write_text(
        f"{{ set -e\n{before}set +e\n}} >/dev/null\nexec 2>&1\n"
        + mark.join(f"{step.command}\n" for step in wanted)
    )
    (tmp_path / "node").mkdir()
    argv = ["sh", "tests/integration/docnode.sh", str(tmp_path / "node"), str(script), group]
    done = subprocess.run(
        argv,
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    printed = done.stdout.split(_MARK)
    assert len(printed) == len(wanted), done.stdout
    for step, text in zip(wanted, printed, strict=True):
        assert step.matches(text), f"{document}: {step.command}\nprints\n{text}\nnot\n" + "\n".join(
            step.printed
        )
