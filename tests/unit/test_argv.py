"""The command line as engines write it and as runc, crun, youki and runsc read it."""

from __future__ import annotations

import pytest

from ocishim.create import argv

# What runc 1.1.5 and crun 1.8.1 take for the bundle was asked of them: `create ... id` with a
# folder that is not there, whose name both put into their message.
BUNDLES = [
    pytest.param("create --bundle /b id", "/b", id="two tokens"),
    pytest.param("create --bundle=/b id", "/b", id="one token"),
    pytest.param("create -b /b id", "/b", id="short"),
    pytest.param("create -b/b id", "/b", id="short, joined (crun, youki)"),
    pytest.param("create -b=/b id", "/b", id="short, equals sign (runc, youki)"),
    pytest.param("create -bundle /b id", "/b", id="one dash (Go)"),
    pytest.param("create -bundle=/b id", "/b", id="one dash, equals sign (Go)"),
    pytest.param("create --b /b id", "/b", id="two dashes, short (Go)"),
    pytest.param("create --bund /b id", "/b", id="abbreviated (crun)"),
    pytest.param("create --bun=/b id", "/b", id="abbreviated, equals sign (crun)"),
    pytest.param("create -b/a=b id", "/a=b", id="short, joined, path with an equals sign"),
    pytest.param("create -bu id", "u", id="short, joined, a folder called u"),
    pytest.param("create --bundle=/a=b id", "/a=b", id="path with an equals sign"),
    pytest.param("create --bundle /a --bundle /b id", "/b", id="the last wins"),
    pytest.param("create -b /a --bundle=/b id", "/b", id="the last wins, other spelling"),
    pytest.param("create id --bundle /b", "/b", id="after the container (runc)"),
    pytest.param("create --bundle --log id", "--log", id="a folder called --log"),
    pytest.param("create --bundle create create", "create", id="all called create"),
    pytest.param("create --bundle= id", "", id="empty: the working directory"),
    pytest.param("create id", "", id="none: the working directory"),
    pytest.param("create --pid-file --bundle id", "", id="another flag's value"),
    pytest.param("create -p -b -c --bundle=/x id", "", id="short flags' values (youki)"),
    pytest.param("create --console-socket=/s --bundle /b id", "/b", id="after a joined flag"),
    pytest.param("create --no-pivot --bundle /b id", "/b", id="after a switch"),
    pytest.param("create --preserve-fds 3 --bundle /b id", "/b", id="after a number"),
    pytest.param("create -- --bundle /b", "", id="after the end of flags"),
    pytest.param(
        "--root /r --bundle /x create --bundle /b id", "/b", id="global flag of that name"
    ),
    pytest.param("run -d --bundle /b id", "/b", id="run"),
    pytest.param("restore --image-path /i --bundle /b id", "/b", id="restore"),
]


@pytest.mark.parametrize(("line", "bundle"), BUNDLES)
def test_bundle(line: str, bundle: str) -> None:
    found = argv.parse(line.split())
    assert (found.bundle, found.edits, found.fault) == (bundle, True, "")


COMMANDS = [
    pytest.param("create id", "create", id="plain"),
    pytest.param("exec c create", "exec", id="exec runs create"),
    pytest.param("exec --cwd / c run -- create", "exec", id="exec runs run"),
    pytest.param("delete create", "delete", id="container called create"),
    pytest.param("delete --force run", "delete", id="container called run"),
    pytest.param("state restore", "state", id="container called restore"),
    pytest.param("kill create KILL", "kill", id="killed container called create"),
    pytest.param("--root create state id", "state", id="root called create"),
    pytest.param("--root=create state id", "state", id="root called create, one token"),
    pytest.param("--log run --log-format json delete id", "delete", id="log called run"),
    pytest.param("-log run delete id", "delete", id="log called run, one dash"),
    pytest.param("-l run delete id", "delete", id="log called run, short (youki)"),
    pytest.param("-r create delete id", "delete", id="root called create, short (youki)"),
    pytest.param("--criu create start id", "start", id="criu called create"),
    pytest.param("--cgroup-manager disabled create id", "create", id="crun's cgroup manager"),
    pytest.param("--debug create id", "create", id="switch"),
    pytest.param("-debug create id", "create", id="switch, one dash"),
    pytest.param("--systemd-cgroup create id", "create", id="systemd"),
    pytest.param("-s create id", "create", id="systemd, short (youki)"),
    pytest.param("--rootless true create id", "create", id="flag with a word that is no command"),
    pytest.param("--rootless state create id", "create", id="rootless called state"),
    pytest.param("--rootless=true create id", "create", id="flag with an equals sign"),
    pytest.param("-nvproxy create id", "create", id="runsc's switch, unknown here"),
    pytest.param("-nvproxy=true -platform ptrace create id", "create", id="runsc's flags"),
    pytest.param("--debug-log /d/ -strace create id", "create", id="runsc's value, unknown here"),
    pytest.param("--net-raw --overlay2 none create id", "create", id="runsc's switch and value"),
    pytest.param("--made-up start start id", "start", id="in doubt the first command"),
    pytest.param("-- create id", "create", id="end of flags before the command"),
    pytest.param("features", "features", id="features"),
    pytest.param("Create id", "Create", id="letters count"),
    pytest.param("", "", id="nothing"),
    pytest.param("--debug", "", id="flags only"),
    pytest.param("--root", "", id="a value is missing"),
    pytest.param("-", "-", id="a dash is no flag"),
]


@pytest.mark.parametrize(("line", "command"), COMMANDS)
def test_command(line: str, command: str) -> None:
    found = argv.parse(line.split())
    assert found.command == command
    assert found.edits == (command in ("create", "run", "restore"))


@pytest.mark.parametrize(
    "line",
    [
        "--version create id",
        "-v create id",
        "-V create id",
        "--help create id",
        "-h create id",
        "create --help",
        "create --bundle /b -h",
        "run -help",
        "--version=true create id",
        "--help=false --version create id",
        "--help=false --help create id",
        "create --help=1 id",
        "--help create --help=false id",
        "create id --help",
    ],
)
def test_nothing_is_edited_for_help(line: str) -> None:
    assert not argv.parse(line.split()).edits


@pytest.mark.parametrize(
    "line",
    [
        *(f"--help={value} create id" for value in ("0", "f", "F", "false", "FALSE", "False")),
        "--version=false create id",
        "-v=false create id",
        "-help=false -version=false create id",
        "--help --help=false create id",
        "create --help=false id",
        "create id -h=f",
        "run --help --help=0 id",
        "restore --help=false id",
    ],
)
def test_what_asks_for_no_help_creates(line: str) -> None:
    """Go's boolean flags take a value, and runc creates after `--help=false`."""
    found = argv.parse(line.split())
    assert (found.edits, found.container_id) == (True, "id")


@pytest.mark.parametrize(("line", "log", "log_format"), [
    pytest.param("--log /l --log-format json create id", "/l", "json", id="two tokens"),
    pytest.param("--log=/l --log-format=json create id", "/l", "json", id="one token"),
    pytest.param("-log /l -log-format json create id", "/l", "json", id="one dash"),
    pytest.param("--log-format=json --log /l create id", "/l", "json", id="other order"),
    pytest.param("-l /l create id", "/l", "", id="short (youki)"),
    pytest.param("--log /a --log /b create id", "/b", "", id="the last wins"),
    pytest.param("--log= create id", "", "", id="empty"),
    pytest.param("create --log /l id", "", "", id="not the command's"),
    pytest.param("exec c prog --log /l", "", "", id="not the container's program's"),
    pytest.param("--log create create id", "create", "", id="called like a command"),
    pytest.param("--log /l --root /r --systemd-cgroup create id", "/l", "", id="with others"),
])  # fmt: skip
def test_log(line: str, log: str, log_format: str) -> None:
    found = argv.parse(line.split())
    assert (found.log, found.log_format) == (log, log_format)


@pytest.mark.parametrize(("line", "fault"), [
    pytest.param("create --bundle", "flag needs an argument: --bundle", id="long"),
    pytest.param("run id -b", "flag needs an argument: -b", id="short"),
    pytest.param("create -bundle", "flag needs an argument: -bundle", id="one dash"),
    pytest.param("create --bun", "flag needs an argument: --bun", id="abbreviated"),
    pytest.param("create --pid-file", "", id="the low-level runtime's to say"),
    pytest.param("create --bundle -- id", "runtimes disagree on '--' as the value of --bundle",
        id="two dashes"),
    pytest.param("restore --image-path - id -b", "flag needs an argument: -b", id="two faults"),
    pytest.param("run --pid-file - -b /b id", "runtimes disagree on '-' as the value of --pid-file",
        id="a dash"),
    pytest.param("create --bundle=-- id", "", id="joined, no runtime moves it"),
    pytest.param("create - id", "", id="a dash alone is no value"),
    pytest.param("state --bundle", "", id="another command's flag"),
    pytest.param("exec c -b", "", id="the container's program's flag"),
])  # fmt: skip
def test_fault(line: str, fault: str) -> None:
    assert argv.parse(line.split()).fault == fault


def test_fault_keeps_the_log() -> None:
    """The message must reach the log although the line is wrong."""
    found = argv.parse(["--log", "/l", "--log-format", "json", "create", "--bundle"])
    assert (found.log, found.log_format, found.edits) == ("/l", "json", True)


@pytest.mark.parametrize(("line", "config_file"), [
    ("create --config /c.json id", "/c.json"), ("create --config=c.json id", "c.json"),
    ("run -f c.json id", "c.json"), ("create --bundle --config id", ""),
    ("create --conf /c.json id", "/c.json"), ("create --confi=/c.json id", "/c.json"),
    ("create -f/c.json id", "/c.json"), ("run -df/c.json id", "/c.json"),
    ("run -ddf /c.json id", "/c.json"), ("create --con /c.json id", ""),
    ("create --console-socket /c id", ""), ("create -fs-restore-image-path=/c id", ""),
    ("create --config-x /c id", ""),
])  # fmt: skip
def test_config_file(line: str, config_file: str) -> None:
    """With --config crun reads another file; editing the bundle's helps nobody."""
    assert argv.parse(line.split()).config_file == config_file


@pytest.mark.parametrize("line", ["-db /b", "-ddb/b", "-d -b/b", "-d -bundle /b", "-detach -b /b"])
def test_short_flags_in_one_word(line: str) -> None:
    found = argv.parse(["run", *line.split(), "id"])
    assert (found.bundle, found.container_id, found.fault) == ("/b", "id", "")


@pytest.mark.parametrize("line", ["create c1", "create --bundle /b --pid-file /p c1", "run -d c1"])
def test_container_id(line: str) -> None:
    assert argv.parse(line.split()).container_id == "c1"


@pytest.mark.parametrize("arg", ["", "--=", "--", "-", "=", "---", "--bundle", "\udcff", "-b="])
def test_odd_arguments_are_the_runtimes_business(arg: str) -> None:
    """Whatever an engine writes: an answer, never an exception."""
    for before in ([], ["create"], ["--log"], ["create", "--bundle"]):
        argv.parse([*before, arg])
        argv.parse([*before, arg, "id"])
