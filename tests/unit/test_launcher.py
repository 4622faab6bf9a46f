"""The launcher and Python choose the same low-level runtime, and the launcher writes what it should.

The look-up exists twice, in shell for commands that pass through and in Python for the others.
This table holds the two together: each row runs both.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim import config, log
from ocishim.admin import boot, launchers, preloading
from tests.probe import Box, oci

RUNTIME = "#!/bin/sh\necho 'ran {}'\n"


@pytest.fixture(name="node", scope="module")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """Pyshim and folders with runtimes that can be executed and such that cannot."""
    box = Box(tmp_path_factory.mktemp("node"))
    box.bundle(oci())
    for name in ("a/runc", "a/crun", "b/runc", "b/crun", "b/od d", "c/plain", "b/*"):
        path = box.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(RUNTIME.format(name))
        path.chmod(0o755)
    (box.folder / "c/plain").chmod(0o644)
    (box.folder / "c/runc").mkdir()
    (box.folder / "c/crun").symlink_to("../nowhere")
    (box.folder / "c/link").symlink_to("../a/runc")
    (box.folder / "c/loop").symlink_to("loop")
    os.mkfifo(box.folder / "c/fifo")
    (box.folder / "self").mkdir()
    (box.folder / "self/runc").symlink_to(box.pyshim)
    (box.folder / "self/crun").symlink_to("runc")
    os.link(box.pyshim, box.folder / "self/hard")
    return box


TABLE = [
    # configuration, PATH, what runs; {} is the node's folder
    pytest.param('runtimes = ["runc"]', "{}/a", "a/runc", id="a name"),
    pytest.param('runtimes = ["crun"]', "{}/a", "a/crun", id="another name"),
    pytest.param('runtimes = ["runc"]', "{}/b:{}/a", "b/runc", id="the first folder"),
    pytest.param('runtimes = ["runc"]', "{}/none:{}/a", "a/runc", id="a folder that is not there"),
    pytest.param('runtimes = ["runc"]', ":{}/a:", "a/runc", id="empty entries are not the working directory"),
    pytest.param('runtimes = ["runc"]', "b:./b:{}/a", "a/runc", id="relative entries do not count"),
    pytest.param('runtimes = ["runc"]', "{}/c:{}/a", "a/runc", id="a folder called runc is passed over"),
    pytest.param('runtimes = ["plain", "crun"]', "{}/c:{}/b", "b/crun", id="no mode x, a dangling link"),
    pytest.param('runtimes = ["nope", "crun"]', "{}/a", "a/crun", id="the second entry"),
    pytest.param('runtimes = ["{}/b/runc"]', "{}/a", "b/runc", id="a path"),
    pytest.param('runtimes = ["{}/none/runc", "{}/b/crun"]', "", "b/crun", id="a path that is not there"),
    pytest.param('runtimes = ["{}/c/plain", "{}/b/crun"]', "", "b/crun", id="a path without mode x"),
    pytest.param('runtimes = ["{}/c/runc", "{}/b/crun"]', "", "b/crun", id="a path of a folder"),
    pytest.param('runtimes = ["{}/c/crun", "{}/b/crun"]', "", "b/crun", id="a dangling link"),
    pytest.param('runtimes = ["{}/c/loop", "{}/b/crun"]', "", "b/crun", id="a link to itself"),
    pytest.param('runtimes = ["{}/c/fifo", "{}/b/crun"]', "", "b/crun", id="a FIFO"),
    pytest.param('runtimes = ["{}/c/link"]', "", "a/runc", id="a link"),
    pytest.param('runtimes = ["{}/b/od d"]', "", "b/od d", id="a blank in the path"),
    pytest.param('runtimes = ["od d"]', "{}/b", "b/od d", id="a blank in the name"),
    pytest.param('runtimes = ["*"]', "{}/a:{}/b", "b/*", id="no globbing"),
    pytest.param("runtimes = ['{}/b/runc']", "", "b/runc", id="single quotes"),
    pytest.param('runtimes = ["{}/b/\\u0072unc"]', "", "b/runc", id="an escape"),
    pytest.param('runtimes=["{}/b/runc"]', "", "b/runc", id="no blanks"),
    pytest.param('  runtimes  =  [ "{}/b/runc" , ]  ', "", "b/runc", id="many blanks"),
    pytest.param('runtimes = [ "{}/b/runc", ]', "", "b/runc", id="a comma at the end"),
    pytest.param('runtimes = ["{}/b/runc"] # or "{}/a/crun"', "", "b/runc", id="a comment"),
    pytest.param('runtimes = ["{}/none"] # or ["{}/a/crun"]', "{}/a", "error", id="a comment in brackets"),
    pytest.param('runtimes = ["{}/none#x"]', "", "error", id="a hash in the name"),
    pytest.param('runtimes = [\n "{}/none",\n "{}/b/runc",\n]', "", "b/runc", id="several lines"),
    pytest.param('runtimes = ["{}/b/runc"]\r\n', "", "b/runc", id="CRLF"),
    pytest.param('# runtimes = ["{}/a/runc"]\n\nruntimes = ["{}/b/runc"]', "", "b/runc", id="comments before"),
    pytest.param(' # one\nruntimes = ["{}/b/runc"]', "", "b/runc", id="an indented comment"),
    pytest.param('"runtimes" = ["{}/b/runc"]', "", "b/runc", id="a quoted key"),
    pytest.param('hooks.native = true\nruntimes = ["{}/b/runc"]', "", "b/runc", id="another setting first"),
    pytest.param('[cdi]\nspec_dirs = ["/x"]\n', "{}/a", "a/runc", id="no setting, a table"),
    pytest.param("", "{}/a", "a/runc", id="an empty file"),
    pytest.param("# nothing", "{}/a", "a/runc", id="a comment without a newline"),
    pytest.param(None, "{}/a", "a/runc", id="no file"),
    pytest.param(None, "{}/none:{}/b", "b/runc", id="no file, the second folder"),
    pytest.param('runtimes = ["nope"]', "{}/a", "error", id="nothing found"),
    pytest.param('runtimes = ["{}/bin/pyshim"]', "", "error", id="itself"),
    pytest.param('runtimes = ["runc"]', "{}/self:{}/a", "error", id="itself, through a link in PATH"),
    pytest.param('runtimes = ["{}/self/crun", "{}/a/runc"]', "", "error", id="itself, through two links"),
    pytest.param('runtimes = ["{}/self/hard", "{}/a/runc"]', "", "error", id="itself, a hard link"),
    pytest.param('runtimes = ["{}/self/../self/runc"]', "", "error", id="itself, a path with dots"),
]  # fmt: skip

BROKEN = [
    # Nothing of these is valid; a command that passes through must find the runtime regardless.
    pytest.param(
        'runtimes = ["{}/b/runc"]\nno_such = 1', "{}/a", "b/runc", id="unknown setting after"
    ),
    pytest.param(
        'no_such = 1\nruntimes = ["{}/b/runc"]', "{}/a", "b/runc", id="unknown setting before"
    ),
    pytest.param('runtimes = ["{}/b/runc"]\n[[[', "{}/a", "b/runc", id="no TOML after"),
    pytest.param('x\nruntimes = ["{}/b/runc"]', "{}/a", "b/runc", id="no TOML before"),
    pytest.param("x\nruntimes = ['{}/b/runc']", "{}/a", "b/runc", id="no TOML, single quotes"),
    pytest.param('runtimes = ["{}/b/runc"', "{}/a", "b/runc", id="bracket missing"),
    pytest.param("runtimes = []", "{}/a", "a/runc", id="names nothing"),
    pytest.param('runtimes = [""]', "{}/a", "a/runc", id="empty name"),
    pytest.param('runtimes = "runc"', "{}/a", "a/runc", id="no array"),
    pytest.param("runtimes = 3", "{}/a", "a/runc", id="a number"),
    pytest.param('[cdi]\nruntimes = ["{}/b/runc"]', "{}/a", "a/runc", id="in a table"),
    pytest.param("[\x01", "{}/a", "a/runc", id="no TOML at all"),
]


def runs(node: Box, line: str, text: str | None, path: str) -> str:
    """What `pyshim line` runs with this configuration and PATH, or "error"."""
    folder = str(node.folder)
    if text is None:
        node.config.unlink(missing_ok=True)
    else:
        node.config.write_bytes(text.replace("{}", folder).encode())
    env = {**node.environment(), "PATH": path.replace("{}", folder)}
    done = node.call(*line.split(), env=env)
    if done.status == 0 and not done.err:
        return done.out.strip().removeprefix("ran ")
    assert done.status == 1, done
    assert done.err.startswith(
        ("pyshim: no low-level runtime found", "pyshim: the low-level runtime")
    ), done
    assert done.out == ""
    return "error"


@pytest.mark.parametrize(("text", "path", "expected"), TABLE)
def test_both_choose_the_same(node: Box, text: str | None, path: str, expected: str) -> None:
    by_shell = runs(node, "state c", text, path)
    by_python = runs(node, "exec c create", text, path)
    at_create = runs(node, "create --bundle bundle c", text, path)
    assert [by_shell, by_python, at_create] == [expected] * 3


@pytest.mark.parametrize("line", ["exec c create", "create --bundle bundle c"])
def test_an_engines_libraries_are_not_the_interpreters(node: Box, line: str) -> None:
    """A snap's or conda's LD_LIBRARY_PATH holds what our interpreter cannot use."""
    unfit = node.folder / "unfit"
    unfit.mkdir(exist_ok=True)
    for name in ("libm.so.6", "libexpat.so.1", "libz.so.1", "libdl.so.2", "libutil.so.1"):
        (unfit / name).write_text("not a library\n")
    runtime = node.folder / "tells"
    runtime.write_text(
        '#!/bin/sh\necho "$LD_LIBRARY_PATH" "$GLIBC_TUNABLES" "${LD_PRELOAD-unset}"\n'
    )
    runtime.chmod(0o755)
    node.config.write_text(f'runtimes = ["{runtime}"]\n')
    env = {**node.environment(), "LD_LIBRARY_PATH": str(unfit), "GLIBC_TUNABLES": "a.b=1"}
    assert subprocess.run([sys.executable, "-c", ""], env=env, check=False).returncode != 0

    done = node.call(*line.split(), env=env)

    assert (done.status, done.out, done.err) == (0, f"{unfit} a.b=1 unset\n", "")


@pytest.mark.parametrize(("text", "path", "expected"), BROKEN)
def test_both_choose_the_same_of_a_broken_file(
    node: Box, text: str, path: str, expected: str
) -> None:
    assert runs(node, "state c", text, path) == expected
    assert runs(node, "exec c create", text, path) == expected
    done = node.call("create", "--bundle", "bundle", "c", env={**node.environment(), "PATH": path})
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"pyshim: {node.config}")


@pytest.mark.parametrize("line", ["state c", "exec c create"])
@pytest.mark.parametrize("how", ["by path", "by name", "relative", "through a link", "two links"])
def test_called_in_any_way(node: Box, line: str, how: str) -> None:
    """However an engine names pyshim: it finds its runtime and never itself."""
    node.config.write_text('runtimes = ["pyshim", "runc"]\n')
    other = node.folder / "other"
    other.mkdir(exist_ok=True)
    for link, target in (("one", node.pyshim), ("two", other / "one")):
        (other / link).unlink(missing_ok=True)
        (other / link).symlink_to(target)
    program = {
        "by path": str(node.pyshim), "by name": "pyshim", "relative": "bin/pyshim",
        "through a link": str(other / "one"), "two links": str(other / "two"),
    }[how]  # fmt: skip
    env = {**node.environment(), "PATH": f"{node.bin}:{node.folder}/a"}
    found = shutil.which(program, path=env["PATH"]) if how == "by name" else program
    done = node.start(program, *line.split(), env=env, executable=found)
    assert (done.status, done.out) == (1, ""), "a loop is an error"
    assert "is pyshim itself" in done.err
    node.config.write_text('runtimes = ["runc"]\n')
    done = node.start(program, *line.split(), env=env, executable=found)
    assert (done.status, done.out, done.err) == (0, "ran a/runc\n", "")


@pytest.mark.clone
def test_missing_interpreter(tmp_path: Path) -> None:
    """After an upgrade of Python: one line says so, and what passes through still works."""
    box = Box(tmp_path)
    text = box.pyshim.read_text()
    gone = launchers.interpreter() + ".gone"
    box.pyshim.write_text(text.replace(launchers.interpreter(), gone))
    link = Path(boot.program(str(box.bin)))
    link.unlink()
    link.symlink_to(gone)
    assert box.call("state", "c").seen is not None
    done = box.call("create", "c")
    assert (done.status, done.err) == (
        1,
        f"pyshim: the interpreter {gone} is gone; install pyshim again\n",
    )


GONE = '/opt/py 3"\\%s é/python'
SAID = f"pyshim: the interpreter {GONE} is gone; install pyshim again"


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("--root /r --log LOG --log-format json create --bundle /b x", "json"),
        ("--log=LOG --log-format=json --systemd-cgroup create x", "json"),
        ("-log LOG -log-format json run x", "json"),
        ("--log-format json --root create --log LOG restore x", "json"),
        ("--log LOG create x", "text"),
        ("-l LOG --debug run x", "text"),
        ("--log LOG --log-format text create x", "text"),
        ("create --log LOG", ""),
        ("--log-format json create x", ""),
        ("--log /nowhere/log create x", ""),
    ],
)
def test_missing_interpreter_is_told_to_the_engine(tmp_path: Path, words: str, form: str) -> None:
    """One record in --log, as log.py writes it, whatever is in the interpreter's path."""
    launcher, file = tmp_path / "pyshim", tmp_path / "log"
    launcher.write_text(launchers.texts(str(tmp_path), GONE, "/x", "/x")["pyshim"])
    arguments = [
        str(file) if word == "LOG" else word.replace("=LOG", f"={file}") for word in words.split()
    ]
    done = subprocess.run(
        ["sh", str(launcher), *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{SAID}\n")
    written = file.read_text() if file.exists() else ""
    if form == "json":
        record = json.loads(written)
        assert (written.count("\n"), list(record)) == (1, ["level", "msg", "time"])
        assert (record["level"], record["msg"]) == ("error", SAID)
        dt.datetime.strptime(record["time"], "%Y-%m-%dT%H:%M:%S%z")
    else:
        now = written.partition('"')[2].partition('"')[0]
        assert written == (log.record(SAID, "text", now).decode() if form else "")


def test_missing_interpreter_of_pyshimctl(tmp_path: Path) -> None:
    program = tmp_path / "pyshimctl"
    program.write_text(launchers.texts(str(tmp_path), GONE, "/x", "/x")["pyshimctl"])
    done = subprocess.run(
        ["sh", str(program), "doctor"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, SAID.replace("pyshim:", "pyshimctl:") + "\n")


def test_files(tmp_path: Path) -> None:
    written = launchers.write(str(tmp_path / "bin"))
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "bin").iterdir() if path.is_file()
    }  # fmt: skip
    programs = {".pyshim-main.py", "pyshim", "pyshim-hook"}
    assert {os.path.basename(path) for path in written} == programs
    assert set(modes) == programs | set(preloading.NAMES.values())
    assert all(mode == (0o755 if name in programs else 0o644) for name, mode in modes.items())
    launcher = (tmp_path / "bin/pyshim").read_text()
    assert "@" not in launcher.replace('"$@"', "")
    assert launcher.startswith("#!/bin/sh\n")
    assert f"${{PYSHIM_CONFIG:-{config.DEFAULT_PATH}}}" in launcher


@pytest.mark.parametrize("name", ["with a blank", "deep" * 60])
@pytest.mark.clone
def test_a_folder_that_no_first_line_can_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "bin"
    launchers.write(str(folder))
    hook = folder / "pyshim-hook"
    assert hook.read_text().startswith(f"#!{launchers.interpreter()} -IS\n")
    done = subprocess.run([hook, "no-such"], capture_output=True, text=True, check=False)
    assert "no-such" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(
        [folder / "pyshim", "create", "--bundle", "/nonexistent", "x"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYSHIM_CACHE_DIR": str(tmp_path)},
        check=False,
    )
    assert "/nonexistent/config.json: does not exist" in done.stderr


@pytest.mark.clone
def test_interpreter_is_a_real_one() -> None:
    """Neither a virtual environment's link nor a version manager's script, and never `env`."""
    path = launchers.interpreter()
    assert not os.path.islink(path)
    with open(path, "rb") as file:
        assert file.read(4) == b"\x7fELF"
    version = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout
    assert version.split()[1] == sys.version.split()[0]


@pytest.mark.clone
def test_writing_again_replaces(tmp_path: Path) -> None:
    """By rename: a program that is being started is the old one or the new one."""
    launchers.write(str(tmp_path))
    link = Path(boot.program(str(tmp_path)))
    paths = [*(path for path in tmp_path.iterdir() if path.is_file()), Path(f"{link}._pth"), link]
    before = {path: path.lstat().st_ino for path in paths}
    kept = [os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in paths]
    assert launchers.main([str(tmp_path)]) == 0
    after = {path: path.lstat().st_ino for path in paths}
    for descriptor in kept:
        os.close(descriptor)
    assert before.keys() == after.keys()
    assert not before.items() & after.items()


@pytest.mark.clone
def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert launchers.main([]) == 2
    assert capsys.readouterr().err == "usage: python -m ocishim.admin.launchers DIRECTORY\n"


@pytest.mark.clone
def test_clean_script() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; make check needs it")
    script = os.path.join(launchers.library(), "ocishim", "launcher.sh")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@pytest.mark.clone
def test_other_shells(node: Box, shell: str) -> None:
    """/bin/sh is bash on Fedora and busybox on Alpine."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    node.config.write_text(f'runtimes = ["{node.folder}/a/runc"]\n')
    words = [path, "sh"] if shell == "busybox" else [path]
    for line, status, out in (("state c", 0, "ran a/runc\n"), ("exec c create", 0, "ran a/runc\n")):
        done = node.start(words[0], *words[1:], str(node.pyshim), *line.split())
        assert (done.status, done.out, done.err) == (status, out, "")
    node.config.write_text(f'runtimes = ["{node.folder}/self/runc"]\n')
    done = node.start(words[0], *words[1:], str(node.pyshim), "state", "c")
    assert (done.status, "is pyshim itself" in done.err) == (1, True)
