"""What main in C decides, held against the Python that decides the same.

Compiled from binary/command.c with the sanitizers, so that a read beyond the end is a failure.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim.admin.config import settings
from ocishim.create import argv
from ocishim.lowlevel import lowlevel
from ocishim.settings import brokenfile
from tests.conftest import need

ROOT = Path(__file__).parents[2]
WARNINGS = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Werror",
]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(name="decide", scope="module")
def _decide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of decide.c."""
    folder = tmp_path_factory.mktemp("decide")
    words = subprocess.run(
        [sys.executable, ROOT / "binary/tables.py"], env={"PYTHONPATH": str(ROOT)},
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    (folder / "tables.c").write_bytes(words)
    sources = [ROOT / "tests/unit/decide.c", ROOT / "binary/command.c", folder / "tables.c"]
    program = folder / "decide"
    subprocess.run(
        [need("gcc"), *WARNINGS, *SANITIZERS, f"-I{ROOT}/binary", "-o", program, *sources],
        check=True,
    )
    return program


def ask(decide: Path, *words: str | Path, stdin: str = "") -> list[str]:
    done = subprocess.run(
        [decide, *words], input=stdin, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


WORDS = [
    *("create", "run", "restore", "state", "delete", "exec", "c", "x=y", "", "-", "--", "---"),
    *("--root", "--root=/r", "-root", "--log", "-l", "--debug", "-v", "--help", "--what"),
    *("--what=create", "-b", "--bundle", "--systemd-cgroup", "--log-format", "json", "-platform"),
]


def test_the_command_is_the_one_python_finds(decide: Path) -> None:
    """Every line of up to three words, and some longer ones."""
    chosen = random.Random(1)
    lines = [list(line) for n in range(4) for line in itertools.product(WORDS, repeat=n)]
    lines += [chosen.choices(WORDS, k=chosen.randint(4, 9)) for _ in range(5000)]
    lines = [line for line in lines if line and line != [""]]
    answers = ask(decide, "edits", stdin="".join("\t".join(line) + "\n" for line in lines))
    expected = ["yes" if argv.parse(line).command in argv.EDITED else "no" for line in lines]
    assert len(answers) == len(lines)
    assert [x for x in zip(lines, answers, expected, strict=True) if x[1] != x[2]] == []
    assert {"yes", "no"} == set(answers)


CONFIGS = [
    pytest.param(b'runtimes = ["one"]\n', "one", id="a name"),
    pytest.param(b'runtimes = ["one"]', "one", id="no newline"),
    pytest.param(b'# words\n\n#\nruntimes = ["none", "two"]\n[cdi]\n', "two", id="the second"),
    pytest.param(b'runtimes = [ "none" , "one" , ] \n', "one", id="blanks and a comma"),
    pytest.param(b'runtimes = ["none#x", "one"]\n', "one", id="a hash in the name"),
    pytest.param(b'runtimes = ["one"]\n[[[broken', "one", id="broken after it"),
    pytest.param(b'runtimes = ["folder", "one"]\n', "one", id="a folder is passed over"),
    pytest.param(b'runtimes = ["plain", "one"]\n', "one", id="no mode x"),
    pytest.param(b'runtimes = ["link"]\n', "link", id="a link"),
    pytest.param(b'runtimes = ["%s/two"]\n', "two", id="a path"),
    pytest.param(b'runtimes = ["%s/none", "two"]\n', "two", id="a path that is not there"),
    pytest.param(b'runtimes = ["%s/od d"]\n', "od d", id="a blank"),
    pytest.param(b'runtimes = ["' + b"x" * 5000 + b'", "one"]\n', "one", id="no path is so long"),
    # What Python has to find out, or to say:
    pytest.param(b'runtimes = ["self", "one"]\n', "", id="itself"),
    pytest.param(b'runtimes = ["none"]\n', "", id="nothing found"),
    pytest.param(b'runtimes = ["one"] # words\n', "", id="a comment behind it"),
    pytest.param(b"runtimes = ['one']\n", "", id="other quotes"),
    pytest.param(b'runtimes = ["o\\u006ee"]\n', "", id="an escape"),
    pytest.param('runtimes = ["öne"]\n'.encode(), "", id="not ASCII"),
    pytest.param(b'runtimes = ["one"]\r\n', "", id="CRLF"),
    pytest.param(b'runtimes = ["one\n', "", id="not closed"),
    pytest.param(b'runtimes = ["one"\n', "", id="bracket missing"),
    pytest.param(b'runtimes = ["one" "two"]\n', "", id="comma missing"),
    pytest.param(b'runtimes = [,"one"]\n', "", id="comma first"),
    pytest.param(b'runtimes = ["one"]]\n', "", id="two brackets"),
    pytest.param(b"runtimes = []\n", "", id="empty"),
    pytest.param(b'runtimes = [""]\n', "", id="empty name"),
    pytest.param(b'runtimes=["one"]\n', "", id="no blanks"),
    pytest.param(b' runtimes = ["one"]\n', "", id="indented"),
    pytest.param(b'runtimes = ["on\0e"]\n', "", id="NUL"),
    pytest.param(b'# \0\nruntimes = ["one"]\n', "", id="NUL before it"),
    pytest.param(b'log.level = "info"\nruntimes = ["one"]\n', "", id="another setting first"),
    pytest.param(b'runtimes = ["' + b'x", "' * 16 + b'one"]\n', "", id="too many"),
    pytest.param(b"#" * 16384 + b'\nruntimes = ["one"]\n', "", id="behind too many words"),
]  # fmt: skip


@pytest.fixture(name="node")
def _node(tmp_path: Path) -> Path:
    for name in ("one", "two", "od d", "plain", "self"):
        (tmp_path / name).touch(0o644 if name == "plain" else 0o755)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("one")
    return tmp_path


@pytest.mark.parametrize(("text", "expected"), CONFIGS)
def test_the_runtime(decide: Path, node: Path, text: bytes, expected: str) -> None:
    config = node / "config.toml"
    config.write_bytes(text.replace(b"%s", os.fsencode(node)))
    search_path = f"relative::{node}/none:{node}"
    found = ask(decide, "runtime", config, search_path, node / "self")
    assert found == [f"{node}/{expected}" if expected else "unsure"]
    if expected:
        runtimes = brokenfile.runtimes_of_broken(str(config))
        own = str(node / "self")
        assert lowlevel.find(runtimes, search_path, own, str(config)) == found[0]


def test_no_configuration(decide: Path, node: Path) -> None:
    (node / "crun").touch(0o755)
    found = ask(decide, "runtime", node / "none", str(node), node / "self")
    assert found[0].endswith(("/runc", "/crun"))
    assert found == [lowlevel.find(["runc", "crun"], str(node), str(node / "self"), "")]


def test_a_configuration_that_is_no_file(decide: Path, node: Path) -> None:
    os.mkfifo(node / "fifo")
    for name in ("folder", "fifo", "one/below"):
        assert ask(decide, "runtime", node / name, str(node), node / "self") == ["unsure"]


@pytest.mark.parametrize(("called", "file", "name"), [
    pytest.param("pyshim", "/b/pyshim", "pyshim", id="pyshim"),
    pytest.param("/usr/bin/pyshim-hook", "/b/pyshim", "pyshim-hook", id="by argv[0]"),
    pytest.param("nvidia-cdi-hook", "/b/pyshim-hook", "pyshim-hook", id="by the file"),
    pytest.param("pyshimctl", "/b/pyshim-hook", "pyshimctl", id="argv[0] counts first"),
    pytest.param("runc", "/b/anything", "pyshim", id="neither"),
    pytest.param("", "", "pyshim", id="nothing known"),
])  # fmt: skip
def test_the_program(decide: Path, called: str, file: str, name: str) -> None:
    assert ask(decide, "program", called, file) == [name]


@pytest.mark.parametrize("text", [
    'runtimes = ["one"]\n', '# x\n\nruntimes = ["one"]\n', 'runtimes = [ "one", "b" ]',
    'runtimes=["one"]\n', "runtimes = ['one']\n", 'runtimes = [\n"one"]\n',
    'x.y = 1\nruntimes = ["one"]\n', "[cdi]\n", '[log]\nlevel = "info"\n', "",
    'runtimes = ["one"] # why\n', 'runtimes = ["l\\u006fw"]\n', ' runtimes = ["one"]\n',
])  # fmt: skip
def test_pyshimctl_knows_what_is_read_early(decide: Path, node: Path, text: str) -> None:
    (node / "runc").symlink_to("one")
    config = node / "config.toml"
    config.write_text(text)
    early = ask(decide, "runtime", config, str(node), node / "self") != ["unsure"]
    assert settings.read_early(text) == early


def test_the_interpreters_memory(tmp_path: Path) -> None:
    """What is taken while the file is built stays; what is taken later is the C library's.

    Where that has nothing left, what lies in the file serves for a while, and not for ever.
    """
    program = tmp_path / "heap"
    sources = [ROOT / "tests/unit/heap.c", ROOT / "binary/memory.c"]
    wrapped = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc")]
    subprocess.run(
        [
            need("gcc"),
            *WARNINGS,
            *SANITIZERS,
            *wrapped,
            f"-I{ROOT}/binary",
            "-o",
            program,
            *sources,
        ],
        check=True,
    )
    environment = {"ASAN_OPTIONS": "allocator_may_return_null=1"}
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    answers = dict(line.split(": ") for line in done.stdout.splitlines())
    assert len(answers) == 14
    assert set(answers.values()) == {"yes"}
    assert (done.stderr, done.returncode) == ("pyshim: out of memory\n", 1)
