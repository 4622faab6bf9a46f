"""Which low-level runtime pyshim becomes, however it was configured and called.

In the static file the look-up exists twice: in C for commands that pass through, and in Python. Each
row runs both; of a clone both are the same Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

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
    pytest.param('runtimes = ["runc"]', ":{}/a:", "a/runc",
        id="empty entries are not the working directory"),
    pytest.param('runtimes = ["runc"]', "b:./b:{}/a", "a/runc", id="relative entries do not count"),
    pytest.param('runtimes = ["runc"]', "{}/c:{}/a", "a/runc",
        id="a folder called runc is passed over"),
    pytest.param('runtimes = ["plain", "crun"]', "{}/c:{}/b", "b/crun",
        id="no mode x, a dangling link"),
    pytest.param('runtimes = ["nope", "crun"]', "{}/a", "a/crun", id="the second entry"),
    pytest.param('runtimes = ["{}/b/runc"]', "{}/a", "b/runc", id="a path"),
    pytest.param('runtimes = ["{}/none/runc", "{}/b/crun"]', "", "b/crun",
        id="a path that is not there"),
    pytest.param('runtimes = ["{}/c/plain", "{}/b/crun"]', "", "b/crun",
        id="a path without mode x"),
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
    pytest.param('runtimes = ["{}/none"] # or ["{}/a/crun"]', "{}/a", "error",
        id="a comment in brackets"),
    pytest.param('runtimes = ["{}/none#x"]', "", "error", id="a hash in the name"),
    pytest.param('runtimes = [\n "{}/none",\n "{}/b/runc",\n]', "", "b/runc", id="several lines"),
    pytest.param('runtimes = ["{}/b/runc"]\r\n', "", "b/runc", id="CRLF"),
    pytest.param('# runtimes = ["{}/a/runc"]\n\nruntimes = ["{}/b/runc"]', "", "b/runc",
        id="comments before"),
    pytest.param(' # one\nruntimes = ["{}/b/runc"]', "", "b/runc", id="an indented comment"),
    pytest.param('"runtimes" = ["{}/b/runc"]', "", "b/runc", id="a quoted key"),
    pytest.param('hooks.native = true\nruntimes = ["{}/b/runc"]', "", "b/runc",
        id="another setting first"),
    pytest.param('[cdi]\nspec_dirs = ["/x"]\n', "{}/a", "a/runc", id="no setting, a table"),
    pytest.param("", "{}/a", "a/runc", id="an empty file"),
    pytest.param("# nothing", "{}/a", "a/runc", id="a comment without a newline"),
    pytest.param(None, "{}/a", "a/runc", id="no file"),
    pytest.param(None, "{}/none:{}/b", "b/runc", id="no file, the second folder"),
    pytest.param('runtimes = ["nope"]', "{}/a", "error", id="nothing found"),
    pytest.param('runtimes = ["{}/bin/pyshim"]', "", "error", id="itself"),
    pytest.param('runtimes = ["runc"]', "{}/self:{}/a", "error",
        id="itself, through a link in PATH"),
    pytest.param('runtimes = ["{}/self/crun", "{}/a/runc"]', "", "error",
        id="itself, through two links"),
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
    passed = runs(node, "state c", text, path)
    not_sure = runs(node, "exec c create", text, path)
    at_create = runs(node, "create --bundle bundle c", text, path)
    assert [passed, not_sure, at_create] == [expected] * 3


@pytest.mark.binary
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
