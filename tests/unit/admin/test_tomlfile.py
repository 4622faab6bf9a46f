"""Editing TOML whose tables stand in any order: what is wanted, nothing else, and back again."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import TomlFile
from ocishim.admin.editing.tomllines import Lines
from ocishim.admin.editing.tomltree import Tree
from ocishim.errors import ConfigError

CRI = ("plugins", "io.containerd.grpc.v1.cri")
RUNTIME = (*CRI, "containerd", "runtimes", "pyshim")
DEFAULT = (*CRI, "containerd", "default_runtime_name")
SWITCH = (*CRI, "enable_cdi")
TABLE = {"runtime_type": "x", "options": {"BinaryName": "/p"}, "container_annotations": ["a/*"]}
BLOCKS = [
    '[plugins."io.containerd.grpc.v1.cri"]\nenable_cdi = false # no\n',
    '[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "runc"\n',
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\nruntime_type = "y"\n',
    '  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n    Root = "/r"\n',
    '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/c"\n\n# about grpc\n',
    "[grpc]\nuid = 0\n",
    '[plugins."io.containerd.internal.v1.opt"]\npath = "/opt"\n',
    '[[plugins."io.example".list]]\nname = "one"\n[[plugins."io.example".list]]\nname = "two"\n',
]


def put_in(text: str) -> str:
    file = TomlFile("x", text)
    file.set(RUNTIME, TABLE)
    file.replace(DEFAULT, "pyshim")
    file.replace(SWITCH, value=True)
    return file.text()


def take_out(text: str) -> str:
    file = TomlFile("x", text)
    file.remove(RUNTIME)
    file.restore(DEFAULT)
    file.restore(SWITCH)
    return file.text()


@settings(max_examples=80, deadline=None)
@given(st.permutations(BLOCKS), st.integers(0, len(BLOCKS)))
def test_tables_in_any_order(blocks: list[str], count: int) -> None:
    text = "version = 2\n" + "".join(blocks[:count])
    edited = put_in(text)
    restored = take_out(edited)
    assert put_in(edited) == edited
    tree = tomlfile.plain(edited, "x")
    assert tomlfile.find(tree, *RUNTIME) == TABLE
    assert (tomlfile.find(tree, *DEFAULT), tomlfile.find(tree, *SWITCH)) == ("pyshim", True)
    assert tomlfile.plain(restored, "x") == tomlfile.plain(text, "x")
    assert "pyshim" not in restored
    lines = [line.strip() for line in restored.splitlines()]
    for line in text.splitlines():
        assert line.strip() in lines


@settings(max_examples=40, deadline=None)
@given(st.permutations(BLOCKS))
def test_line_by_line_alone(blocks: list[str]) -> None:
    """The second way is as good as the first, whether or not the first would do."""
    text = "".join(blocks)
    lines = Lines(text)
    lines.set(RUNTIME, TABLE)
    lines.single(DEFAULT, '"pyshim"', "# why")
    tree = tomlfile.plain(lines.text(), "x")
    wanted = tomlfile.plain(text, "x")
    wanted["plugins"][CRI[1]]["containerd"]["default_runtime_name"] = "pyshim"
    wanted["plugins"][CRI[1]]["containerd"]["runtimes"]["pyshim"] = TABLE
    assert tree == wanted
    assert lines.entry(DEFAULT) == ('"pyshim"', "# why")
    lines.remove(RUNTIME)
    lines.single(DEFAULT, '"runc"', "")
    assert [line for line in lines.text().splitlines() if line] == [
        line for line in text.splitlines() if line
    ]


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        pytest.param('a = "b # c" # d', ('"b # c"', "# d"), id="hash in a string"),
        pytest.param("a=1", ("1", ""), id="no blanks"),
        pytest.param('"a" = true#x', ("true", "#x"), id="quoted key"),
        pytest.param("a.b = 1", ("", ""), id="another key"),
        pytest.param("a = {b = 1}", ("{b = 1}", ""), id="inline table"),
        pytest.param("[a]", ("", ""), id="table"),
        pytest.param("# a = 1", ("", ""), id="comment"),
    ],
)
def test_what_stands_on_a_line(line: str, entry: tuple[str, str]) -> None:
    assert Lines(f"{line}\n").entry(("a",)) == entry


@pytest.mark.parametrize("old", ['"runc"', "'runc'", "true", "17", '"a#b"', "['[x]*.toml']"])
@pytest.mark.parametrize("comment", ["", " # mine", "   # was: x"])
def test_a_value_comes_back_as_it_was_written(old: str, comment: str) -> None:
    text = f"a = {old}{comment}\n"
    file = TomlFile("x", text)
    file.replace(("a",), "new")
    again = TomlFile("x", file.text())
    again.restore(("a",))
    assert again.text() == text


PLUGIN = '"io.containerd.grpc.v1.cri"'
CONTAINERD = '{ default_runtime_name = "kata", runtimes = { kata = { runtime_type = "x" } } }'


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("".join(BLOCKS), id="tables"),
        pytest.param("".join(BLOCKS).rstrip(), id="no end of the last line"),
        pytest.param("# only", id="a comment without one"),
        pytest.param(f"[plugins.{PLUGIN}.containerd.runtimes]\n", id="an empty table"),
        pytest.param(f"[plugins]\n[plugins.{PLUGIN}]\n\n[grpc]\n", id="empty tables"),
        pytest.param("version = 2 # a\u2028b\x85c\n[grpc]\nuid = 0\n", id="other ends of lines"),
        pytest.param(f"plugins = {{ {PLUGIN} = {{ containerd = {CONTAINERD} }} }}\n", id="inline"),
        pytest.param(
            f"[plugins]\n{PLUGIN} = {{ enable_cdi = false, containerd = {CONTAINERD} }} # c",
            id="inline in a table",
        ),
    ],
)
def test_what_was_there_comes_back_to_the_byte(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    file = TomlFile("x", text, traceless=True)
    file.set(RUNTIME, TABLE)
    file.replace(DEFAULT, "pyshim")
    file.replace(SWITCH, value=True)
    edited = file.text()
    assert newline not in text or edited.count(newline) == edited.count("\n")
    again = TomlFile("x", edited, traceless=True)
    again.replace(DEFAULT, "pyshim")
    assert again.text() == edited
    for keys in (DEFAULT, SWITCH):
        again.restore(keys)
    again.remove(RUNTIME)
    assert again.text() == text


def test_replacing_twice_keeps_the_first_value() -> None:
    file = TomlFile("x", 'a = "runc"\n')
    file.replace(("a",), "one")
    file = TomlFile("x", file.text())
    file.replace(("a",), "two")
    assert file.text() == 'a = "two" # pyshim: was "runc"\n'


def test_an_edit_that_would_change_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours or a library's must not reach a node's engine."""
    file = TomlFile("x", "[a]\nb = 1\n")
    file.set(("a", "c"), 2)
    for writer in (Tree, Lines):
        monkeypatch.setattr(writer, "text", lambda _self: "[a]\nc = 2\n")
    with pytest.raises(
        ConfigError, match=r"^x: cannot be edited without changing what else it says"
    ):
        file.text()


def test_plain_tables_are_written_with_their_tables_last() -> None:
    tree = {"z": {"y": {"t": {"b": 1}, "a": [1]}}, "version": 2}
    assert tomlfile.plain(tomlfile.dumps(tree), "x") == tree
    assert list(
        itertools.dropwhile(lambda line: line != "[z.y]", tomlfile.dumps(tree).splitlines())
    )
    assert "[z]" not in tomlfile.dumps(tree)


def test_a_byte_order_mark_is_told_with_what_takes_it_away(tmp_path: Path) -> None:
    """Containerd 1.6 starts with it: nothing is said of the engine."""
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbfversion = 2\n")
    with pytest.raises(ConfigError) as caught:
        TomlFile(str(file), file.read_text())
    assert caught.value.message == f"{file}: begins with a byte order mark"
    subprocess.run(["sh", "-c", caught.value.hint], check=True)
    assert file.read_bytes() == b"version = 2\n"
