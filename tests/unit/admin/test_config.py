"""`pyshimctl config`: the default file, what is in force, and what is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocishim import configfile
from ocishim.admin.cli import main
from ocishim.admin.settings import EXPLAINED, default_text, lines_of, read_by_launcher
from ocishim.config import DEFAULTS


def call(*args: str, file: Path | str = "/nowhere") -> Result:
    return CliRunner().invoke(main, ["config", *args], env={"PYSHIM_CONFIG": str(file)})


def test_every_setting_is_explained() -> None:
    assert sorted(EXPLAINED) == sorted(DEFAULTS)


def test_the_default_file_says_the_defaults() -> None:
    assert configfile.parse(default_text().encode(), "x") == DEFAULTS


def test_the_default_files_comments_are_settings() -> None:
    """Each commented setting, uncommented, is valid and has the default's value."""
    lines = default_text().splitlines()
    text = "\n".join(
        line[2:] if line.startswith("# ") and line[2:].split(" = ")[0].isidentifier() else line
        for line in lines
    )
    assert configfile.parse(text.encode(), "x") == DEFAULTS
    assert set(lines_of(text)) == set(DEFAULTS)


def test_the_launcher_reads_the_default_file_in_one_line() -> None:
    first = default_text(["/usr/sbin/runc", "runc"]).splitlines()[0]
    assert first == 'runtimes = ["/usr/sbin/runc", "runc"]'
    assert call("default").stdout == default_text()


def test_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'runtimes = ["crun"]\ncdi.stale = "error"\n\n[hooks]\n# timeout = 3\ntimeout = 5\n'
        '[[requests.env]]\nname = "X"\nkind = "a.com/b"\n'
    )
    lines = call("show", file=file).stdout.splitlines()
    assert lines[0] == f"# {file}"
    assert 'runtimes = ["crun"]  # line 1' in lines
    assert 'stale = "error"  # line 2' in lines
    assert "timeout = 5  # line 6" in lines
    assert 'env = [{ name = "X", kind = "a.com/b", unprivileged = false }]  # line 7' in lines or (
        'env = [{ unprivileged = false, name = "X", kind = "a.com/b" }]  # line 7' in lines
    )
    assert 'executor = "auto"  # default' in lines


def test_show_is_toml_with_the_same_meaning(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[log]\nfile = "/var/log/\\u00fc \\"x\\""\n[requests]\n'
        'env = [{name = "X", kind = "a.com/b"}]\n'
    )
    shown = call("show", file=file).stdout
    assert configfile.parse(shown.encode(), "x") == configfile.read(str(file))


def test_show_as_json(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("\nhooks = {timeout = 7}\n")
    report = json.loads(call("show", "--json", file=file).stdout)
    assert (report["file"], report["exists"]) == (str(file), True)
    assert report["settings"]["hooks.timeout"]["value"] == 7
    assert report["settings"]["log.level"] == {"value": "info", "from": "default"}
    nothing = json.loads(call("show", "--json").stdout)
    assert (nothing["file"], nothing["exists"]) == ("/nowhere", False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "runtimes = 3\n", ":1: expected array, found integer in 'runtimes'", id="type"
        ),
        pytest.param(
            '\n[hooks]\nexecuter = "auto"\n', ":3: unknown setting 'hooks.executer'", id="key"
        ),
        pytest.param(
            '[log]\nlevel = "loud"\n', ":2: 'loud' is not a value of 'log.level'", id="choice"
        ),
    ],
)
def test_check_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    for result in (call("check", file=file), call("check", str(file)), call("show", file=file)):
        assert result.exit_code == 1
        assert result.stderr.startswith(f"pyshimctl: {file}{message}")


def test_check_of_what_is_no_toml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[cdi]\nx\n")
    result = call("check", str(file))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"pyshimctl: {file}:2: not valid TOML: ")


def test_check_of_what_is_right_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_text())
    assert call("check", file=file).output == f"{file}: right\n"
    assert call("check").output == "/nowhere: not there; every setting has its default\n"
    missing = call("check", "/nowhere")
    assert (missing.exit_code, missing.output) == (1, "pyshimctl: /nowhere: no such file\n")


def test_check_tells_what_makes_every_command_slow(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("runtimes=['runc']\n")
    result = call("check", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file}: right\n")
    assert "note: write runtimes = [" in result.stderr


TEXTS = [
    'runtimes = ["low"]\n',
    '# x\n\nruntimes = ["low"]\n',
    'runtimes = [ "low", "b" ]',
    'runtimes=["low"]\n',
    "runtimes = ['low']\n",
    'runtimes = [\n"low"]\n',
    'x.y = 1\nruntimes = ["low"]\n',
    "[cdi]\n",
    '[log]\nlevel = "info"\n',
    "",
    'runtimes = ["low"] # why\n',
    'runtimes = ["l\\u006fw"]\n',
    ' runtimes = ["low"]\n',
]


@pytest.mark.parametrize("text", TEXTS)
def test_we_know_what_the_launcher_reads_itself(tmp_path: Path, text: str) -> None:
    """The launcher itself is asked whether a command that passes through starts Python."""
    from ocishim.admin import boot, launchers  # noqa: PLC0415 - only here

    low = tmp_path / "low"
    python = Path(boot.program(str(tmp_path)))
    python.parent.mkdir()
    for program, word in ((low, "shell"), (python, "python")):
        program.write_text(f"#!/bin/sh\necho {word}\n")
        program.chmod(0o755)
    (tmp_path / "runc").symlink_to(low)
    config = tmp_path / "config.toml"
    config.write_text(text.replace('"low"', f'"{low}"'))
    launcher = tmp_path / "pyshim"
    launcher.write_text(launchers.texts(str(tmp_path), "/x", "/x", "/x")["pyshim"])
    environment = {"PYSHIM_CONFIG": str(config), "PATH": str(tmp_path)}
    asked = subprocess.run(
        ["/bin/sh", str(launcher), "state", "x"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (asked.stdout == "shell\n") == read_by_launcher(config.read_text())
