"""`pyshimctl config`: the default file, what is in force, and what is wrong."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocishim.admin.cli import main
from ocishim.admin.config.settings import EXPLAINED, default_text, lines_of, read_early
from ocishim.settings import configfile
from ocishim.settings.defaults import DEFAULTS


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


def test_the_default_file_begins_with_what_is_read_early() -> None:
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
    assert "\nhint: 'pyshimctl config default' has every setting as " in result.stderr


def test_a_byte_order_mark_is_told_with_what_takes_it_away(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbfruntimes = ['runc']\n")
    result = call("check", str(file))
    fault, hint = result.stderr.splitlines()
    assert fault.endswith(f"{file}: begins with a byte order mark")
    subprocess.run(["sh", "-c", hint.removeprefix("hint: ")], check=True)
    assert call("check", str(file)).exit_code == 0


def test_check_of_what_is_right_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_text())
    assert call("check", file=file).output == f"{file}: right\n"
    assert call("check").output == "/nowhere: not there; every setting has its default\n"
    missing = call("check", "/nowhere")
    assert (missing.exit_code, missing.output) == (1, "pyshimctl: /nowhere: no such file\n")


@pytest.mark.parametrize("text", ["runtimes=['runc']\n", 'runtimes = ["runc"]\r\n'])
def test_check_tells_what_makes_every_command_slow(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode())
    result = call("check", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file}: right\n")
    assert "note: write runtimes = [" in result.stderr


def values(file: Path) -> dict[str, object]:
    """What the file says beside the defaults."""
    found = configfile.read(str(file))
    return {key: value for key, value in found.items() if value != DEFAULTS[key]}


REQUEST = {"name": "X", "kind": "a.com/b", "unprivileged": False}


@pytest.mark.parametrize(
    ("assignments", "wanted"),
    [
        (["hooks.readonly_rootfs=overlay"], {"hooks.readonly_rootfs": "overlay"}),
        (["hooks.readonly_rootfs = 'overlay'"], {"hooks.readonly_rootfs": "overlay"}),
        (["hooks.timeout=20", "log.level=debug"], {"hooks.timeout": 20, "log.level": "debug"}),
        (["hooks.native=false"], {"hooks.native": False}),
        (["runtimes=runsc, /opt/x y"], {"runtimes": ["runsc", "/opt/x y"]}),
        (['runtimes=["runsc"]'], {"runtimes": ["runsc"]}),
        (['runtimes="runsc", "/opt/a,b"'], {"runtimes": ["runsc", "/opt/a,b"]}),
        (["log.file=/var/log/=x"], {"log.file": "/var/log/=x"}),
        (["cdi.spec_dirs="], {"cdi.spec_dirs": []}),
        (['requests.env=[{name="X", kind="a.com/b"}]'], {"requests.env": [REQUEST]}),
        (["log.level=debug", "log.level=info"], {}),
    ],
)
def test_set(tmp_path: Path, assignments: list[str], wanted: dict[str, object]) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_text())
    assert call("set", *assignments, file=file).exit_code == 0
    assert values(file) == wanted
    added = set(file.read_text().splitlines()) - set(default_text().splitlines())
    assert len(added) <= max(len(assignments), 3)  # a table of requests has three lines
    assert read_early(file.read_text())


REQUESTS = """\
# before the first
[[requests.env]]
# NVIDIA's
name = "A"  # as images have it
kind = "a.com/gpu"

# between
[[requests.env]]
name = "B"
kind = "b.com/gpu"
# the end of B

# the log
[log]
level = "info"
"""
A, B = '{name = "A", kind = "a.com/gpu"}', '{name = "B", kind = "b.com/gpu"}'
C = '{name = "C", kind = "c.com/gpu"}'


@pytest.mark.parametrize(
    ("tables", "lost", "new"),
    [
        pytest.param([A, B], [], [], id="the same"),
        pytest.param([A, B, C], [], ["[[requests.env]]", 'name = "C"', 'kind = "c.com/gpu"', ""],
                     id="one more"),
        pytest.param([A.replace("}", ", unprivileged = true}"), B], [], ["unprivileged = true"],
                     id="one more key"),
        pytest.param([A, B.replace("b.com", "c.com")], ['kind = "b.com/gpu"'],
                     ['kind = "c.com/gpu"'], id="another kind"),
        pytest.param([A], ["[[requests.env]]", 'name = "B"', 'kind = "b.com/gpu"', "# the end of B"],
                     [], id="one less"),
    ],
)  # fmt: skip
def test_the_comments_around_tables_stay(
    tmp_path: Path, tables: list[str], lost: list[str], new: list[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(REQUESTS)
    result = call("set", f"requests.env=[{', '.join(tables)}]", file=file)
    assert result.exit_code == 0, result.output
    before, after = (Counter(text.splitlines()) for text in (REQUESTS, file.read_text()))
    assert (before - after, after - before) == (Counter(lost), Counter(new))
    assert file.read_text().endswith('# the log\n[log]\nlevel = "info"\n')


@pytest.mark.parametrize(
    ("text", "assignment", "after"),
    [
        pytest.param(
            "[hooks]\n# why\ntimeout = 3 # seconds\n",
            "hooks.timeout=4",
            "[hooks]\n# why\ntimeout = 4 # seconds\n",
            id="comments stay",
        ),
        pytest.param(
            "[log]\nlevel = 'info'\n",
            "runtimes=runsc",
            "runtimes = [\"runsc\"]\n[log]\nlevel = 'info'\n",
            id="runtimes come first",
        ),
        pytest.param(
            "[hooks]\n# timeout = 10\n\n[log]\n",
            "hooks.timeout=4",
            "[hooks]\n# timeout = 10\ntimeout = 4\n\n[log]\n",
            id="behind the line that shows it",
        ),
        pytest.param("hooks.timeout = 3\n", "hooks.timeout=4", "hooks.timeout = 4\n", id="dotted"),
        pytest.param("hooks = {timeout = 3}\n", "hooks.timeout=4", "hooks = {timeout = 4}\n",
            id="inline"),
        pytest.param("", "log.level=debug", '[log]\nlevel = "debug"\n', id="empty file"),
        pytest.param(
            'cdi.stale = "warn"\n[[requests.env]]\nname = "X"\nkind = "a.com/b"\n',
            "requests.volume_mounts=true",
            'cdi.stale = "warn"\n[requests]\nvolume_mounts = true\n[[requests.env]]\nname = "X"\nkind = "a.com/b"\n',
            id="beside an array of tables",
        ),
    ],
)  # fmt: skip
def test_set_keeps_what_people_wrote(
    tmp_path: Path, text: str, assignment: str, after: str
) -> None:
    file = tmp_path / "config.toml"
    for ends in ("\n", "\r\n") if text else ("\n",):
        file.write_bytes(text.replace("\n", ends).encode())
        done = call("set", assignment, file=file)
        assert (done.stdout, done.stderr) == (f"change {file}\n", "")
        assert file.read_bytes() == after.replace("\n", ends).encode()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["set", "hooks.timout=3"],
            "unknown setting 'hooks.timout'\nhint: did you mean 'hooks.timeout'?", id="key"),
        pytest.param(["set", "hooks=3"],
            "unknown setting 'hooks'\nhint: 'hooks' is a table: set hooks.executor, hooks.native, "
            "hooks.readonly_rootfs, hooks.timeout", id="table"),
        pytest.param(["set", "what=3"],
            "unknown setting 'what'\nhint: see 'pyshimctl config default'", id="nothing near"),
        pytest.param(["set", "hooks.timeout"],
            "'hooks.timeout' sets nothing\nhint: write KEY=VALUE", id="no value"),
        pytest.param(["set", "hooks.timeout=x"],
            "'x' is no value of 'hooks.timeout'\nhint: its default is 10", id="integer"),
        pytest.param(["set", "hooks.timeout=0"],
            "FILE: 0 is not a timeout for 'hooks.timeout'\nhint: 1 to 3600 seconds", id="range"),
        pytest.param(["set", "hooks.native=yes"],
            "'yes' is no value of 'hooks.native'\nhint: its default is true", id="boolean"),
        pytest.param(["set", "log.level=loud"],
            "FILE: 'loud' is not a value of 'log.level'\nhint: choose 'error', 'warning', 'info', "
            "'debug'", id="choice"),
        pytest.param(["set", "log.file='/x"],
            "''/x' is no value of 'log.file'\nhint: its default is \"\"", id="half a quote"),
        pytest.param(["set", "runtimes="], "FILE: 'runtimes' names no runtime", id="no runtime"),
        pytest.param(["set", "log.file=/a\udcffb"],
            r"'log.file=/a\xffb' is not UTF-8, and no configuration can have it", id="no text"),
        pytest.param(["set", "cdi.spec_dirs=a"],
            "FILE: 'a' is not an absolute path in 'cdi.spec_dirs[0]'\nhint: a spec dir is an "
            "absolute path", id="path"),
        pytest.param(["set", "requests.env=X"],
            "'X' is no list of tables for 'requests.env'\nhint: requests.env='[{name = "
            "\"NVIDIA_VISIBLE_DEVICES\", kind = \"nvidia.com/gpu\"}]'", id="no tables"),
        pytest.param(["set", 'requests.env=[{name="X"}]'],
            "FILE: 'requests.env[0].kind' is missing", id="half a table"),
        pytest.param(["unset", "hooks.timout"],
            "unknown setting 'hooks.timout'\nhint: did you mean 'hooks.timeout'?", id="unset"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(tmp_path: Path, args: list[str], message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_text())
    before = file.stat()
    result = call(*args, file=file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"pyshimctl: {message}\n".replace("FILE", str(file))
    assert (file.read_text(), file.stat().st_ino) == (default_text(), before.st_ino)


def test_a_file_with_a_fault_is_refused_by_its_line_and_mended_by_unset(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('runtimes = ["a"]\n[hooks]\ntimout = 3\n')
    result = call("set", "log.level=debug", file=file)
    assert result.stderr.startswith(f"pyshimctl: {file}:3: unknown setting 'hooks.timout'\n")
    assert call("unset", "hooks.timout", file=file).exit_code == 0
    assert file.read_text() == 'runtimes = ["a"]\n[hooks]\n'


@pytest.mark.parametrize(
    ("text", "key", "left"),
    [
        pytest.param('runtimes = ["crun"]\n', "runtimes", "", id="setting"),
        pytest.param("misspelt = 5\n", "misspelt", "", id="misspelt"),
        pytest.param("[requests]\n", "requests", "", id="empty table"),
        pytest.param("[hooks]\ntimeout = 5\n", "hooks", "", id="table"),
        pytest.param("hooks.timeout = 5\n", "hooks.timeout", "", id="dotted"),
        pytest.param("# mine\nhooks.timeout = 5\n", "hooks.timeout", "# mine\n", id="comment"),
        pytest.param("hooks = {timeout = 5}\n", "hooks.timeout", "hooks = {}\n", id="inline"),
        pytest.param('[[requests.env]]\nname = "X"\nkind = "a.com/b"\n', "requests.env", "",
            id="array of tables"),
    ],
)  # fmt: skip
def test_unset_takes_out_the_last_thing_there_is(
    tmp_path: Path, text: str, key: str, left: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert call("unset", key, file=file).output == f"change {file}\n"
    assert file.read_text() == left
    assert call("check", file=file).exit_code == 0


def test_set_keeps_mode_and_owner_and_the_link(tmp_path: Path) -> None:
    file, link = tmp_path / "real.toml", tmp_path / "config.toml"
    file.write_text(default_text())
    file.chmod(0o640)
    link.symlink_to(file)
    call("set", "hooks.timeout=3", file=link)
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)
    assert values(file) == {"hooks.timeout": 3}


def test_set_twice_and_unset_twice(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_text())
    assert call("set", "hooks.timeout=3", file=file).output == f"change {file}\n"
    assert call("set", "hooks.timeout=3", file=file).output == f"{file} is as wanted\n"
    assert call("unset", "hooks.timeout", file=file).output == f"change {file}\n"
    assert call("unset", "hooks.timeout", file=file).output == f"{file} is as wanted\n"
    assert file.read_text() == default_text()


def test_without_a_file(tmp_path: Path) -> None:
    file = tmp_path / "etc/config.toml"
    assert call("unset", "hooks.timeout", file=file).output == f"{file} is not there\n"
    assert call("set", "hooks.timeout=3", file=file).output == f"create {file}\n"
    assert values(file) == {"hooks.timeout": 3}
    assert "# readonly_rootfs" in file.read_text()


def test_dry_run_is_a_diff(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[hooks]\ntimeout = 3\n")
    result = call("set", "hooks.timeout=4", "--dry-run", file=file)
    assert result.output == (
        f"--- {file}\n+++ {file}\n@@ -1,2 +1,2 @@\n [hooks]\n-timeout = 3\n+timeout = 4\n"
    )
    assert file.read_text() == "[hooks]\ntimeout = 3\n"
