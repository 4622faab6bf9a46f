"""pyshimctl as a whole: its commands, exit statuses, output for people and for machines."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ocishim.admin import cli
from ocishim.admin.cli import COMMANDS, main
from ocishim.errors import ConfigError, UsageError

REPOSITORY = Path(__file__).parents[3]


def python(code: str) -> str:
    """Run `code` in a fresh interpreter; its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f" {name} " in result.output


@pytest.mark.parametrize("group", ["", "cdi", "config"])
def test_no_command_shows_the_help(group: str) -> None:
    words = [group] if group else []
    asked = CliRunner().invoke(main, [*words, "--help"])
    assert CliRunner().invoke(main, words).output == asked.output


def test_help_lists_all_and_imports_none() -> None:
    code = (
        "import sys\nfrom ocishim.admin.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(sorted(name for name in sys.modules if name.startswith('ocishim.admin')))\n"
    )
    *text, modules = python(code).splitlines()
    assert modules == "['ocishim.admin', 'ocishim.admin.cli', 'ocishim.admin.printer']"
    assert all(any(line.startswith(f"  {name} ") for line in text) for name in COMMANDS)


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        pytest.param(
            ConfigError("it failed", hint="do this"),
            1,
            "pyshimctl: it failed\nhint: do this\n",
            id="failure",
        ),
        pytest.param(UsageError("not so"), 2, "pyshimctl: not so\n", id="usage"),
        pytest.param(
            OSError(28, "No space left on device", "/etc/cdi/a.yaml"),
            1,
            "pyshimctl: /etc/cdi/a.yaml: No space left on device\n",
            id="the kernel",
        ),
        pytest.param(OSError("not a device"), 1, "pyshimctl: not a device\n", id="no number"),
        pytest.param(
            KeyError("a\nb"),
            70,
            "pyshimctl: internal error: KeyError: 'a\\nb'\n"
            "hint: this is pyshim's fault: report it, with what PYSHIM_TRACEBACK=1 adds\n",
            id="a fault of ours",
        ),
        pytest.param(
            ValueError("a\nb"),
            70,
            "pyshimctl: internal error: ValueError: a b\n"
            "hint: this is pyshim's fault: report it, with what PYSHIM_TRACEBACK=1 adds\n",
            id="in one line",
        ),
        pytest.param(
            ImportError("No module named 'yaml'"),
            1,
            "pyshimctl: a part of pyshim is missing or damaged: No module named 'yaml'\n"
            "hint: install pyshim again from where it came\n",
            id="a library",
        ),
    ],
)
def test_failures_are_worded_once(
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    printed: str,
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(cli.Program, "get_command", lambda *_args: failing)
    result = CliRunner().invoke(main, ["version"])
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", printed)


def test_a_fault_of_ours_has_its_traceback_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise KeyError("x")

    monkeypatch.setattr(cli.Program, "get_command", lambda *_args: failing)
    result = CliRunner().invoke(main, ["version"], env={"PYSHIM_TRACEBACK": "1"})
    assert isinstance(result.exception, KeyError)


def test_a_name_that_is_not_utf8_is_printed(tmp_path: Path) -> None:
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi").joinpath(os.fsdecode(b"a\xff.yaml")).write_text("cdiVersion: 9.9.9\n")
    config = tmp_path / "config.toml"
    config.write_text(f'[cdi]\nspec_dirs = ["{tmp_path}/cdi"]\n')
    own = {"PYSHIM_CONFIG": str(config), "PYSHIM_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "ocishim.admin", "cdi", "validate"],
        env={**own, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(f"{tmp_path}/cdi/a\\xff.yaml: invalid version".encode())


@pytest.mark.parametrize(
    ("number", "user", "hint"),
    [
        pytest.param(errno.EACCES, 1000, "hint: run it as root\n", id="a user"),
        pytest.param(errno.EPERM, 1000, "hint: run it as root\n", id="a user, otherwise"),
        pytest.param(errno.EACCES, 0, "", id="root"),
        pytest.param(errno.EROFS, 1000, "", id="another reason"),
        pytest.param(0, 1000, "", id="no reason of the kernel's"),
    ],
)
def test_what_only_root_may(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    user: int,
    hint: str,
) -> None:
    @click.command()
    def failing() -> None:
        raise ConfigError("Permission denied, it says", source="/usr/local/lib", errno=number)

    monkeypatch.setattr(cli.Program, "get_command", lambda *_args: failing)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert CliRunner().invoke(main, ["version"]).stderr == (
        f"pyshimctl: /usr/local/lib: Permission denied, it says\n{hint}"
    )


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(main, ["docter"])
    assert result.stderr.endswith("Error: No such command 'docter'. Did you mean 'doctor'?\n")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["nothing"],
        ["config", "nothing"],
        ["install", "--nothing"],
        ["configure", "lxc"],
        ["configure"],
    ],
)
def test_a_wrong_command_line_is_status_2(args: list[str]) -> None:
    assert CliRunner().invoke(main, args).exit_code == 2


def test_colours_are_for_terminals() -> None:
    plain = CliRunner().invoke(main, ["config", "show"])
    coloured = CliRunner().invoke(main, ["config", "show"], color=True)
    asked_not = CliRunner().invoke(main, ["config", "show"], color=True, env={"NO_COLOR": "1"})
    assert "\x1b[" not in plain.stdout
    assert "\x1b[" in coloured.stdout
    assert "\x1b[" not in asked_not.stdout


def test_the_reference_page_names_every_command() -> None:
    """And says of each whether it has --json."""
    page = (REPOSITORY / "docs/pyshimctl.md").read_text()
    rows = {
        line.split("|")[1]: line.split("|")[-2].strip()
        for line in page.splitlines()
        if line.startswith("| `")
    }
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {"": command}
        for sub, one in below.items():
            words = f"`{name} {sub}".rstrip()
            [row] = {row for row in rows if f"{words}`" in row or f"{words} " in row}
            has = any("--json" in parameter.opts for parameter in one.params)
            told = set(rows[row].split(", "))
            assert bool(told & {"yes", f"`{sub}`"}) is has, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert "_PYSHIMCTL_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("pyshimctl unin", "uninstall", id="command"),
        pytest.param("pyshimctl configure cont", "containerd", id="engine"),
        pytest.param("pyshimctl configure docker --set", "--set-as-default", id="option"),
    ],
)
def test_completion(words: str, found: str) -> None:
    count = len(words.split()) - 1
    code = (
        "import os\nfrom ocishim.admin.cli import main\n"
        f"os.environ.update(_PYSHIMCTL_COMPLETE='bash_complete', COMP_WORDS={words!r}, COMP_CWORD='{count}')\n"
        "main(prog_name='pyshimctl')\n"
    )
    assert python(code) == f"plain,{found}\n"
