"""The low-level runtime: found, never pyshim itself, its version known and remembered."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.errors import ConfigError
from ocishim.lowlevel import lowlevel, quirks

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = [
    pytest.param(
        "runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2-dev\n",
        "runc",
        (1, 1, 5),
        id="runc, Debian 12",
    ),
    pytest.param("runc version 1.3.0-rc.1\n", "runc", (1, 3, 0), id="runc, candidate"),
    pytest.param("runc version unknown\n", "runc", (), id="runc, built by hand"),
    pytest.param("crun version 1.8.1\ncommit: f8a\n", "crun", (1, 8, 1), id="crun, Debian 12"),
    pytest.param("crun version 1.26\n", "crun", (1, 26), id="crun, two numbers"),
    pytest.param(
        "crun version 1.29.1.0.0.0.52-ba38\n",
        "crun",
        (1, 29, 1, 0, 0, 0, 52),
        id="crun, a snapshot",
    ),
    pytest.param("youki version 0.5.3\n", "youki", (0, 5, 3), id="youki, plain"),
    pytest.param(
        "youki version: 0.7.0\ncommit: 0.7.0-VERGEN_IDEMPOTENT_OUTPUT\nspec: 1.1.0\n",
        "youki",
        (0, 7, 0),
        id="youki",
    ),
    pytest.param(
        "runsc version release-20260520.0\nspec: 1.1.0\n",
        "runsc",
        (20260520, 0),
        id="runsc, release",
    ),
    pytest.param(
        "runsc version 0.0~20240729.0\nspec: 1.1.0\n", "runsc", (20240729, 0), id="runsc, Debian"
    ),
    pytest.param("runsc version VERSION_MISSING\n", "runsc", (), id="runsc, built by hand"),
    pytest.param("NVIDIA Container Runtime version 1.20.0\n", "", (), id="words of its own"),
    pytest.param("runc 1.1.5\n", "", (), id="without the word"),
    pytest.param("", "", (), id="nothing"),
    pytest.param("version", "", (), id="one word"),
    pytest.param("a version ..", "a", (), id="dots"),
]


@pytest.mark.parametrize(("text", "kind", "number"), VERSIONS)
def test_version(text: str, kind: str, number: tuple[int, ...]) -> None:
    found = lowlevel.parse_version(text)
    assert (found.kind, found.number) == (kind, number)


def make(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_version_is_asked_once(tmp_path: Path) -> None:
    """A process costs 3 ms; another binary in the same place is asked again."""
    cache = Cache(str(tmp_path / "cache"))
    program = make(tmp_path / "runc", f"echo x >>{tmp_path}/asked; echo runc version 1.1.5")
    for _ in range(3):
        assert lowlevel.version(str(program), cache).number == (1, 1, 5)
    assert (tmp_path / "asked").read_text() == "x\n"
    make(tmp_path / "new", "echo runc version 1.3.0").rename(program)
    assert lowlevel.version(str(program), cache).number == (1, 3, 0)


@pytest.mark.parametrize("text", [
    pytest.param("exit 1", id="fails"), pytest.param("echo usage; exit 2", id="usage"),
    pytest.param("echo trouble >&2", id="stderr only"), pytest.param("kill -9 $$", id="killed"),
    pytest.param("printf '\\377\\376 version \\377'", id="not UTF-8"),
    pytest.param("exec /nowhere", id="nothing to run"),
])  # fmt: skip
def test_a_runtime_that_does_not_tell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    """It is run all the same, and what it says on stderr is not the container's."""
    program = make(tmp_path / "runc", text)
    assert lowlevel.version(str(program), Cache(str(tmp_path / "cache"))).number == ()
    assert capfd.readouterr() == ("", "")


def test_a_runtime_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowlevel, "_TIMEOUT", 0.2)
    program = make(tmp_path / "runc", "exec sleep 20")
    started = time.monotonic()
    assert lowlevel.version(str(program), Cache(str(tmp_path / "cache"))).kind == ""
    assert time.monotonic() - started < 10


def test_asking_leaves_stdin_alone(tmp_path: Path) -> None:
    """The container's stdin is open while the version is asked."""
    program = make(tmp_path / "runc", "cat; echo runc version 1.1.5")
    read_end, write_end = os.pipe()
    saved = os.dup(0)
    os.write(write_end, b"for the container")
    os.close(write_end)
    try:
        os.dup2(read_end, 0)
        found = lowlevel.version(str(program), Cache(str(tmp_path / "cache")))
        left = os.read(0, 100)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(read_end)
    assert (found.kind, left) == ("runc", b"for the container")


USUAL = "/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin"


def test_usual_dirs() -> None:
    assert " ".join(lowlevel.USUAL_DIRS) == USUAL


@pytest.mark.parametrize("search_path", ["", "/nowhere", "relative:/nowhere"])
def test_usual_dirs_come_after_path(tmp_path: Path, search_path: str) -> None:
    """Engines start runtimes with a PATH of their own, or none."""
    own = make(tmp_path / "sh", "")
    found = lowlevel.find(["sh"], search_path, "/own", "/c.toml")
    assert os.path.dirname(found) in lowlevel.USUAL_DIRS
    assert lowlevel.find(["sh"], f"{search_path}:{tmp_path}", "/own", "/c.toml") == str(own)


def test_nothing_found(tmp_path: Path) -> None:
    (tmp_path / "runc").mkdir()
    (tmp_path / "crun-x").touch(0o644)
    with pytest.raises(ConfigError) as caught:
        lowlevel.find(
            ["no-such-runc", f"{tmp_path}/runc", "crun-x"], str(tmp_path), "/own", "/c.toml"
        )
    assert str(caught.value) == (
        f"no low-level runtime found: looked for 'no-such-runc', '{tmp_path}/runc', 'crun-x' "
        f"({tmp_path}/runc is not a file; {tmp_path}/crun-x is not executable) "
        "(install one or name its path in 'runtimes' of /c.toml)"
    )


def test_itself(tmp_path: Path) -> None:
    own = make(tmp_path / "pyshim", "")
    (tmp_path / "runc").symlink_to(own)
    with pytest.raises(ConfigError) as caught:
        lowlevel.find(["runc"], str(tmp_path), str(own), "/c.toml")
    assert str(caught.value) == (
        f"the low-level runtime {tmp_path}/runc is pyshim itself "
        "(write the path of the real runc in 'runtimes' of /c.toml)"
    )


@pytest.mark.parametrize(("content", "why"), [
    pytest.param(b"\x7fELF garbage", "exec format error", id="no program"),
    pytest.param(b"#!/no/such/interpreter\n", "its interpreter does not exist",
        id="interpreter missing"),
])  # fmt: skip
def test_cannot_be_executed(tmp_path: Path, content: bytes, why: str) -> None:
    program = tmp_path / "runc"
    program.write_bytes(content)
    program.chmod(0o755)
    with pytest.raises(ConfigError) as caught:
        lowlevel.become(str(program), ["state"])
    assert str(caught.value) == (
        f"the low-level runtime {program} cannot be executed: {why} "
        "(check that it is a program for this machine)"
    )


EXECUTORS = [
    # setting, --version, root.readonly, executor, reason
    pytest.param("auto", "runc version 1.1.5", False, "runtime",
        "runc 1.1.5 runs createContainer hooks", id="runc"),
    pytest.param("auto", "runc version 1.1.5", True, "runtime",
        "runc 1.1.5 runs createContainer hooks", id="runc, read-only"),
    pytest.param("auto", "crun version 1.8.1", False, "runtime",
        "crun 1.8.1 runs createContainer hooks", id="old crun"),
    pytest.param("auto", "crun version 1.8.1", True, "shim",
        "crun 1.8.1 makes the root read-only before it runs them", id="old crun, read-only"),
    pytest.param("auto", "crun version 1.25.1", True, "shim",
        "crun 1.25.1 makes the root read-only before it runs them", id="the last old crun"),
    pytest.param("auto", "crun version 1.26", True, "runtime",
        "crun 1.26 runs createContainer hooks", id="the first new crun"),
    pytest.param("auto", "youki version 0.5.3", True, "runtime",
        "youki 0.5.3 runs createContainer hooks", id="youki"),
    pytest.param("auto", "runsc version 0.0~20240729.0", False, "shim",
        "runsc 0.0~20240729.0 does not run createContainer hooks", id="Debian's runsc"),
    pytest.param("auto", "runsc version release-20260511.0", False, "shim",
        "runsc release-20260511.0 does not run createContainer hooks",
        id="runsc whose features lie"),
    pytest.param("auto", "runsc version release-20260520.0", False, "runtime",
        "runsc release-20260520.0 runs createContainer hooks", id="the first runsc that does"),
    pytest.param("auto", "runsc version x", False, "shim",
        "runsc x does not run createContainer hooks", id="a runsc without a number"),
    pytest.param("auto", "other thing", True, "runtime",
        "the runtime is not one pyshim knows better", id="unknown"),
    pytest.param("runtime", "runsc version 0.0~20240729.0", False, "runtime",
        "hooks.executor is 'runtime'", id="set to runtime"),
    pytest.param("shim", "runc version 1.1.5", False, "shim", "hooks.executor is 'shim'",
        id="set to shim"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("runsc version release-20260817.0", "shim"), ("runc version 1.4.0", "runtime")],
)
def test_executor_of_a_hook_that_looks_for_devices(text: str, chosen: str) -> None:
    version = lowlevel.parse_version(text)
    found, why = quirks.choose("auto", version, root_readonly=False, devices="some-hook")
    assert (found, "no device node, and some-hook looks" in why) == (chosen, chosen == "shim")


@pytest.mark.parametrize(("setting", "text", "readonly", "chosen", "why"), EXECUTORS)
def test_executor(setting: str, text: str, readonly: bool, chosen: str, why: str) -> None:  # noqa: FBT001
    version = lowlevel.parse_version(text)
    assert quirks.choose(setting, version, root_readonly=readonly) == (chosen, why)
