"""posixos.py against `os` and `os.path`, whose names and results it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocishim import posixos

REPOSITORY = Path(__file__).parents[2]
NAMES = st.text(
    st.characters(exclude_characters="\0", max_codepoint=0xFFFF, exclude_categories=["Cs"])
)
STEPS = st.lists(st.sampled_from(["", ".", "..", "a", "b", "...", " ", "ä", "-"]), max_size=6)
PATHS = st.one_of(NAMES, STEPS.map("/".join), STEPS.map(lambda steps: "/" + "/".join(steps)))


@given(PATHS)
def test_one_path(name: str) -> None:
    for function in ("dirname", "normpath", "isabs", "exists", "isdir", "realpath"):
        assert getattr(posixos.path, function)(name) == getattr(os.path, function)(name), function


@given(PATHS, st.lists(PATHS, max_size=3))
def test_joined(first: str, others: list[str]) -> None:
    assert posixos.path.join(first, *others) == os.path.join(first, *others)


@given(st.one_of(st.binary(), st.text()))
def test_encoding(name: str | bytes) -> None:
    assert posixos.fsdecode(name) == os.fsdecode(name)
    if isinstance(name, bytes):
        assert posixos.fsencode(posixos.fsdecode(name)) == name
        return
    try:
        expected = os.fsencode(name)
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        with pytest.raises(UnicodeEncodeError):
            posixos.fsencode(name)
    else:
        assert posixos.fsencode(name) == expected


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Path:
    """Links of every kind: to a file, a folder, nothing, itself, upwards, a chain."""
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/file").touch()
    for name, target in {
        "to-file": "folder/file", "to-folder": "folder", "to-nothing": "nowhere/at/all",
        "loop": "loop", "up": "folder/deep/..", "chain": "to-folder/deep", "root": "/",
        "folder/deep/back": "../../to-folder",
    }.items():  # fmt: skip
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("name", [
    "", "folder", "folder/", "folder/file", "folder/file/", "folder/file/x", "to-file", "to-folder",
    "to-folder/file", "to-nothing", "to-nothing/x", "loop", "loop/x", "up/file", "chain/back/file",
    "root/usr", "folder//file", "folder/./file", "folder/deep/../file", "nowhere", "nowhere/x",
])  # fmt: skip
def test_on_disk(tree: Path, name: str) -> None:
    at = f"{tree}/{name}"
    for function in ("realpath", "exists", "isdir"):
        assert getattr(posixos.path, function)(at) == getattr(os.path, function)(at), function


def test_samestat(tree: Path) -> None:
    one = os.stat(tree / "folder/file")
    assert posixos.path.samestat(one, os.stat(tree / "to-file"))
    assert not posixos.path.samestat(one, os.stat(tree))


def test_a_nul_byte() -> None:
    assert not posixos.path.exists("/a\0b")
    with pytest.raises(ValueError, match=r"null (byte|character)"):
        posixos.path.realpath("/a\0b")


def without_os(script: str, **environment: str) -> str:
    """Run `script`, with `os` standing for posixos, where the real one is not loaded."""
    text = f"import sys\nsys.path[:0] = [{str(REPOSITORY)!r}]\nfrom ocishim import posixos as os\n"
    python = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run(
        [python, "-I", "-S", "-c", text + script], env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_nothing_loads_os() -> None:
    script = (
        "print(os.path.realpath('/bin/sh/x'[:4]), os.getenv('A', '-')); print('os' in sys.modules)"
    )
    assert without_os(script.replace("/bin", "/dev")) == "/dev -\nFalse\n"


def test_the_environment() -> None:
    assert without_os("print(os.getenv('A', '-'))", A="a") == "a\n"


def test_the_environment_where_os_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSHIM_X", "now")
    assert posixos.getenv("PYSHIM_X") == "now"
    monkeypatch.delenv("PYSHIM_X")
    assert posixos.getenv("PYSHIM_X", "none") == "none"


def test_the_system_calls_are_those_of_os() -> None:
    for name in ("open", "read", "execve", "O_CLOEXEC", "strerror", "pidfd_open", "_exit"):
        assert getattr(posixos, name) is getattr(os, name)


LINUX32 = ["setarch", "linux32"]


def test_the_machine_of_a_process_with_a_personality() -> None:
    """An engine under linux32: the kernel calls itself i686, and our system calls are what they are."""
    if subprocess.run([*LINUX32, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel has no such personality")
    code = (
        "from ocishim import posixos; from ocishim.linux import bpf, process, syscalls; "
        "from ocishim.hooks import arch; print(posixos.uname().machine, posixos.machine(), "
        "arch.host().triplet)"
    )
    words = [
        subprocess.check_output([*under, sys.executable, "-c", code], cwd=REPOSITORY, text=True)
        for under in ([], LINUX32)
    ]
    (own, *expected), (other, *found) = (line.split() for line in words)
    assert own != other
    assert found == expected
