"""The last net: whatever goes wrong is one line, one record and exit status 1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ocishim import posixos
from ocishim.create import entry, plan
from ocishim.errors import ConfigError
from tests.probe import Box, oci
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="box")
def _box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box(tmp_path)
    box.bundle(oci())
    for name, value in box.environment().items():
        monkeypatch.setenv(name, value)
    return box


FAULTS = [
    pytest.param(OSError(28, "No space left on device", "/run/x"),
        "create: /run/x: no space left on device", id="the kernel's, with a file"),
    pytest.param(OSError(24, "Too many open files"), "create: too many open files",
        id="the kernel's"),
    pytest.param(PermissionError(13, "Permission denied", "/x"), "create: /x: access denied",
        id="a refusal, in our words"),
    pytest.param(MemoryError(), "create: out of memory", id="no memory"),
    pytest.param(RecursionError("deep"), "create: internal error: RecursionError: deep",
        id="recursion"),
    pytest.param(KeyError("x"), "create: internal error: KeyError: 'x'", id="a bug"),
    pytest.param(ValueError("a\nb"), "create: internal error: ValueError: a b",
        id="a bug of two lines"),
    pytest.param(ConfigError("wrong", hint="do that"), "wrong (do that)", id="ours, with a hint"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_one_line(
    box: Box, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: Exception, message: str
) -> None:  # fmt: skip
    def create(*_: object) -> None:
        raise fault

    monkeypatch.setattr(plan, "create", create)
    log = box.folder / "log.json"
    line = [
        "--log",
        str(log),
        "--log-format",
        "json",
        "create",
        "-b",
        str(box.folder / "bundle"),
        "c",
    ]
    assert entry.main(str(box.pyshim), line) == 1
    assert capfd.readouterr() == ("", f"pyshim: {message}\n")
    assert json.loads(log.read_text())["msg"] == f"pyshim: {message}"


def test_the_first_fault_is_told(box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    """A broken configuration before a missing bundle: nothing of the bundle is touched."""
    box.config.write_text("nope = 1")
    assert entry.main(str(box.pyshim), ["create", "-b", "/nowhere", "c"]) == 1
    assert capfd.readouterr().err.startswith(f"pyshim: {box.config}:1: unknown setting 'nope'")


def test_the_hook_program_lies_beside_pyshim(box: Box) -> None:
    (box.folder / "link").symlink_to(box.pyshim)
    for program in (box.pyshim, box.folder / "link"):
        assert entry.hook_program(str(program)) == str(box.bin / "pyshim-hook")


def test_the_static_file_alone_is_its_hook_program(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody copied `pyshim` and made no links."""
    (box.bin / "pyshim-hook").unlink()
    assert entry.hook_program(str(box.pyshim)) == str(box.bin / "pyshim-hook")
    monkeypatch.setattr(posixos, "IS_STATIC", True)
    assert entry.hook_program(str(box.pyshim)) == str(box.pyshim)


def test_become_restores_the_defaults() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ocishim.lowlevel import lowlevel;"
        "lowlevel.become('/bin/grep', ['SigIgn', '/proc/self/status'])"
    )
    command = [sys.executable, "-I", "-c", code, str(REPOSITORY)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mask = int(out.split()[1], 16)
    assert not mask >> (signal.SIGPIPE - 1) & 1
    assert not mask >> (signal.SIGXFSZ - 1) & 1


def test_interrupted(box: Box) -> None:
    """Ctrl-C while Python works: ended by the signal as runc would be, without a traceback."""
    slow = box.folder / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    box.settings({"runtimes": [str(slow)]})
    box.bundle(oci(hooks={"poststop": [{"path": "/x"}]}))  # so that the version is asked
    with (box.folder / "err").open("wb") as err:
        process = subprocess.Popen([str(box.pyshim), "create", "-b", "bundle", "c"], cwd=box.folder,
                                   env=box.environment(), stderr=err, start_new_session=True)  # fmt: skip
        deadline = time.monotonic() + 20
        while b"sleep" not in _commands(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    assert (box.folder / "err").read_bytes() == b""


def _commands(group: int) -> bytes:
    """The command lines of the processes in a process group."""
    found = b""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline", "rb") as line:
                if stat.read().rpartition(")")[2].split()[2] == str(group):
                    found += line.read() + b"\n"
        except OSError:
            pass
    return found


@pytest.mark.parametrize("program", ["/dev/fd/99", "/memfd:pyshim (deleted)"])
def test_the_hook_program_of_a_file_that_was_called_by_a_descriptor(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(posixos, "IS_STATIC", True)
    assert entry.hook_program(program) == os.path.realpath("/proc/self/exe")
