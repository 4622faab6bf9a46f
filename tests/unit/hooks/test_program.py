"""pyshim-hook as runtimes start it: command lines, states, what it prints, how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocishim import __version__
from ocishim.errors import UsageError
from ocishim.hooks import program
from tests.hostiletext import EVIL, SEEN
from tests.trees import make_tree, names

LIBRARY = Path(__file__).parents[3]
START = f"import sys; sys.path[:0] = [{str(LIBRARY)!r}]; from ocishim.hooks.program import start; start(sys.argv[1:])"


class Hook:
    """The program with a bundle whose rootfs is `root`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = make_tree(folder / "bundle/rootfs")
        self.state = json.dumps({"id": "c1", "bundle": str(folder / "bundle")})
        (folder / "bundle/config.json").write_text('{"root": {"path": "rootfs"}}')

    def run(self, *words: str, state: str | None = None, **more: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, *words],
            input=self.state if state is None else state,
            capture_output=True, text=True, check=False, timeout=300, env={}, **more,
        )  # type: ignore[call-overload]  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def links(self) -> list[str]:
        return names(self.root)


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


LINK = ("create-symlinks", "--link", "t::/l")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(LINK, id="nvidia-cdi-hook"),
        pytest.param(("hook", *LINK), id="nvidia-ctk hook"),
        pytest.param(("--quiet", "hook", "--quiet", *LINK), id="switches"),
        pytest.param(("chain", *LINK), id="chain"),
    ],
)
def test_a_hook_is_done_in_silence(hook: Hook, words: tuple[str, ...]) -> None:
    assert hook.run(*words) == (0, "", "")
    assert hook.links() == ["l"]


@pytest.mark.parametrize("switch", ["--debug", "-d", "-debug"])
def test_debug_tells_what_was_done(hook: Hook, switch: str) -> None:
    assert hook.run(switch, *LINK) == (
        0,
        "",
        "pyshim-hook: debug: create-symlinks: /l -> t: linked\n",
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(("future-hook", "--x", "1"), "hook 'future-hook' is not known and is left out",
                     id="unknown"),
        pytest.param((), "no hook named, nothing done", id="none"),
        pytest.param(("hook",), "no hook named, nothing done", id="only hook"),
        pytest.param(("chain", "--log-level", "info"), "no hook named, nothing done", id="chain"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", ["", None], ids=["no state", "state"])
def test_what_is_not_known_is_a_warning(
    hook: Hook, words: tuple[str, ...], text: str, state: str | None
) -> None:
    assert hook.run(*words, state=state) == (0, "", f"pyshim-hook: warning: {text}\n")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(("future-hook",), 0, id="unknown"),
        pytest.param((), 0, id="none"),
        pytest.param(LINK, 0, id="known"),
        pytest.param(("chain", "--rootfs", "{root}", *LINK), 0, id="not needed"),
        pytest.param(("chain", "--rootfs", "{root}", *LINK[:2], "t::/l/x"), 1, id="failed"),
    ],
)
def test_a_state_larger_than_a_pipe_is_taken(
    hook: Hook, words: tuple[str, ...], status: int
) -> None:
    """The runtime writes it before it waits: crun 1.8 fails with `Broken pipe` otherwise."""
    words = tuple(word.format(root=hook.root) for word in words)
    if status:
        (hook.root / "l").touch()
    state = json.dumps({"bundle": str(hook.folder / "bundle"), "annotations": {"a": "b" * 500_000}})
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, *words],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert started.stdin is not None
    rest = state.encode()
    while rest:  # a broken pipe is an error only of the write after the one it cut
        rest = rest[os.write(started.stdin.fileno(), rest) :]
    started.stdin.close()
    assert started.wait(30) == status


def test_the_work_does_not_wait_for_a_state_it_does_not_need(hook: Hook) -> None:
    """The runtime writes it when it comes to that, after it has started the hook."""
    words = ["chain", "--rootfs", str(hook.root), *LINK]
    command = [sys.executable, "-I", "-S", "-c", START, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as started:
        assert started.stdin is not None
        deadline = time.monotonic() + 30
        while not (hook.root / "l").is_symlink() and time.monotonic() < deadline:
            time.sleep(0.01)
        done = (hook.root / "l").is_symlink()
        with contextlib.suppress(BrokenPipeError):
            started.stdin.write(hook.state.encode())
            started.stdin.close()
    assert done
    assert started.returncode == 0


def test_warnings_blame_no_command_of_the_containers(hook: Hook) -> None:
    """Runc puts all that a failed hook said into its error, and Podman sorts that by its words."""
    status, _, said = hook.run("chmod: Permission denied, no such file or directory")
    assert status == 0
    assert "hook 'chmod: access denied, does not exist' is not known" in said


def test_quiet_keeps_warnings_back(hook: Hook) -> None:
    assert hook.run("--quiet", "future-hook") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("create-symlinks", "--x", "1"),
            "createContainer hook create-symlinks failed: unknown flag '--x'"),
        (("create-symlinks", "--link", "a"),
            "createContainer hook create-symlinks failed: --link 'a' is not TARGET::LINK"),
        (("--bogus", *LINK), "unknown option '--bogus'"),
        ((*LINK, "--container-spec"), "flag '--container-spec' needs a value"),
        (("chain", "--rootfs"), "option --rootfs needs a value"),
        (("chain", "--rootfs-id", "x", *LINK), "rootfs identity 'x' is not DEV:INO"),
        (("chain", "--timeout", "x", *LINK), "option --timeout 'x' is not a number of seconds"),
        (("chain", "--timeout", "0", *LINK), "option --timeout '0' is not a number of seconds"),
        (("chain", "--rootfs", "/no/such", *LINK), "no rootfs found: /no/such: does not exist"),
        (("chain", "--rootfs", "/", *LINK), "rootfs '/' is the host's root directory"),
        ((*LINK, "--container-spec", "/no/such"), "/no/such: does not exist"),
    ],
)  # fmt: skip
def test_an_error_is_one_line(hook: Hook, words: tuple[str, ...], text: str) -> None:
    assert hook.run(*words) == (1, "", f"pyshim-hook: {text}\n")
    assert hook.links() == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--debug", "create-symlinks", "--link", f"t::/{EVIL}"), id="a link"),
        pytest.param(("chmod", "--mode", EVIL, "--path", "/x"), id="a mode"),
        pytest.param(("chain", "--rootfs", f"/{EVIL}", *LINK), id="the rootfs"),
        pytest.param((*LINK, "--container-spec", f"/{EVIL}"), id="a file"),
        pytest.param((EVIL,), id="the hook's name"),
        pytest.param(("create-symlinks", f"--{EVIL}", "1"), id="a flag"),
    ],
)
def test_what_attacks_a_terminal_is_escaped(hook: Hook, words: tuple[str, ...]) -> None:
    """Runtimes hand a hook's stderr on to engines, and those to people."""
    _, _, told = hook.run(*words)
    assert told.removesuffix("\n").isprintable()
    assert SEEN in told
    assert "\\u202e" in told


def test_bytes_that_are_no_text_are_escaped(hook: Hook) -> None:
    words = ("chain", "--rootfs", "/x\udcff", *LINK)
    assert hook.run(*words)[2].startswith("pyshim-hook: no rootfs found: /x\\xff: ")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("", "state on stdin: not valid JSON: the document is empty"),
        ("[]", "state on stdin: expected an object, found array"),
        ("{}", "state: bundle '' is not an absolute path"),
        ('{"bundle": "/no/such"}', "/no/such/config.json: does not exist"),
        ('{"bundle": "/", "root": "."}', "rootfs '/.' is the host's root directory"),
    ],
)
def test_a_state_that_leads_nowhere(hook: Hook, state: str, text: str) -> None:
    assert hook.run(*LINK, state=state) == (1, "", f"pyshim-hook: {text}\n")


@pytest.mark.parametrize(
    "spelling", ["--container-spec={}", "-container-spec={}", "--container-spec {}"]
)
def test_the_state_from_a_file(hook: Hook, spelling: str) -> None:
    (hook.folder / "state").write_text(hook.state)
    words = [word.format(hook.folder / "state") for word in spelling.split(" ")]
    assert hook.run(*LINK, *words, state="") == (0, "", "")
    assert hook.run(LINK[0], *words, *LINK[1:], state="") == (0, "", "")
    assert hook.links() == ["l"]


def test_crun_tells_the_root_itself(hook: Hook) -> None:
    (hook.folder / "bundle/config.json").unlink()
    state = json.dumps({"id": "c", "pid": 0, "status": "created", "root": "rootfs",
                        "bundle": str(hook.folder / "bundle"), "ociVersion": "1.0"})  # fmt: skip
    assert hook.run(*LINK, state=state) == (0, "", "")
    assert hook.links() == ["l"]


def test_a_chain_needs_no_state_of_meaning(hook: Hook) -> None:
    assert hook.run("chain", "--rootfs", str(hook.root), *LINK, state="not json") == (0, "", "")
    assert hook.links() == ["l"]


def test_a_chain_in_the_rootfs_when_its_path_is_closed(hook: Hook) -> None:
    status = hook.root.stat()
    identity = f"{status.st_dev}:{status.st_ino}"
    words = ("chain", "--rootfs", "/no/such", "--rootfs-id", identity, *LINK)
    assert hook.run(*words, cwd=hook.root) == (0, "", "")
    assert hook.links() == ["l"]


def test_the_chains_log_gets_warnings_with_the_container(hook: Hook) -> None:
    log = hook.folder / "log"
    words = ("chain", "--log", str(log), "--log-level", "debug", "future", "--next", *LINK)
    code, _, stderr = hook.run(*words)
    assert code == 0
    assert stderr == "pyshim-hook: warning: hook 'future' is not known and is left out\n"
    lines = [line.split(" ", 2)[1:] for line in log.read_text().splitlines()]
    assert lines == [
        ["warning", "hook 'future' is not known and is left out"],
        ["debug", "container c1: create-symlinks: /l -> t: linked"],
    ]


UNKNOWN_FLAG = "createContainer hook chmod failed: unknown flag '--x'"


@pytest.mark.parametrize(
    ("words", "logged"),
    [
        pytest.param(("chmod", "--x"), f"container c1: {UNKNOWN_FLAG}", id="flags"),
        pytest.param(("--log-level", "error", "chmod", "--x"), f"container c1: {UNKNOWN_FLAG}",
            id="errors alone"),
        pytest.param(("create-symlinks", "--link", "t::/f/l"),
            "container c1: createContainer hook create-symlinks failed: '/f' is a regular file, "
            "not a directory", id="work"),
        pytest.param(("--timeout", "x", *LINK),
            "container c1: option --timeout 'x' is not a number of seconds", id="options"),
        pytest.param(("--errors", "log", "chmod", "--x"), f"container c1: {UNKNOWN_FLAG}",
            id="by word"),
        pytest.param(("--errors", "caller", "chmod", "--x"), "", id="the caller logs it"),
    ],
)  # fmt: skip
def test_a_failure_is_in_the_log_once(hook: Hook, words: tuple[str, ...], logged: str) -> None:
    """Crun shows a hook's stderr to nobody."""
    log = hook.folder / "log"
    (hook.root / "f").touch()
    code, _, stderr = hook.run("chain", "--log", str(log), *words)
    lines = [line.split(" ", 1)[1] for line in log.read_text().splitlines()] if log.exists() else []
    assert (code, lines) == (1, [f"error {logged}"] if logged else [])
    assert not logged or stderr == f"pyshim-hook: {logged.removeprefix('container c1: ')}\n"


@pytest.mark.parametrize(
    ("level", "logged"), [("error", []), ("warning", ["warning"]), ("nonsense", ["warning"])]
)
def test_the_logs_level(hook: Hook, level: str, logged: list[str]) -> None:
    log = hook.folder / "log"
    hook.run("chain", "--log", str(log), "--log-level", level, "future", "--next", *LINK)
    lines = log.read_text().splitlines() if log.exists() else []
    assert [line.split(" ", 2)[1] for line in lines] == logged


def test_a_log_that_cannot_be_written_is_no_failure(hook: Hook) -> None:
    code, _, stderr = hook.run("chain", "--log", "/no/such/log", "future", "--next", *LINK)
    assert (code, hook.links()) == (0, ["l"])
    assert stderr == "pyshim-hook: warning: hook 'future' is not known and is left out\n"


def test_closed_stderr_and_stdout_do_no_harm(hook: Hook) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-I", "-S", "-c", START,
         "-d", *LINK],
        input=hook.state, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0
    assert hook.links() == ["l"]


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param("", "/dev/null", id="a node"),
        pytest.param(
            "from ocishim.linux import const, syscalls\n"
            "syscalls.unshare(const.CLONE_NEWNS)\n"
            "syscalls.mount(None, '/', None, const.MS_PRIVATE | const.MS_REC)\n"
            "syscalls.mount('none', '/dev', 'tmpfs', 0)\n",
            "/",
            id="no /dev/null",
            marks=pytest.mark.root,
        ),
    ],
)
def test_what_is_closed_is_not_taken_for_a_file(
    hook: Hook, closed: str, before: str, expected: str
) -> None:
    """Descriptor 2 must never be a file of the image: a warning would be written into it."""
    script = f"""
import os, sys
sys.path[:0] = [{str(LIBRARY)!r}]
from ocishim.hooks import program
{before}
for fd in {closed.split()!r}:
    os.close(int(fd))
def main(words):
    found = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in {closed.split()!r}]
    return 0 if found == [{expected!r}] * len(found) else 9
program.main = main
program.start([])
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], check=False)
    assert done.returncode == 0


def test_no_descriptor_is_left(hook: Hook) -> None:
    script = f"""
import resource, sys
sys.path[:0] = [{str(LIBRARY)!r}]
from ocishim.hooks import program
program.main = lambda words: 0
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
program.start([])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_and_version(hook: Hook) -> None:
    code, out, err = hook.run("--help", state="")
    assert (code, err) == (0, "")
    assert "create-symlinks" in out
    assert hook.run("create-symlinks", "--help", state="")[:2] == (0, out)
    assert hook.run("--version", state="") == (0, f"pyshim-hook {__version__}\n", "")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Path]:
    """A fifo nobody writes to, with a reader's lock: reading the state from it takes for ever."""
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    yield tmp_path / "fifo"
    os.close(fd)


def test_our_own_deadline_comes_before_the_runtimes(hook: Hook, slow: Path) -> None:
    """The runtimes kill a hook at its timeout, without a message: 1 second here, 0.9 ours."""
    start = time.monotonic()
    with open(slow, encoding="utf-8") as stdin:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, "chain", "--timeout", "1", *LINK],
            stdin=stdin, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "pyshim-hook: not done after 0.9 seconds\n")
    assert time.monotonic() - start > 0.8


def test_what_is_done_is_done(hook: Hook, slow: Path) -> None:
    """A state that nobody needs and that never ends: our deadline ends the waiting for it."""
    words = ["chain", "--timeout", "1", "--rootfs", str(hook.root), *LINK]
    with open(slow, encoding="utf-8") as stdin:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, *words],
            stdin=stdin, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (hook.root / "l").is_symlink()


def test_a_failure_is_told_before_a_state_is_waited_for(hook: Hook, slow: Path) -> None:
    """The runtime's SIGKILL would leave no message."""
    (hook.root / "l").touch()
    words = ["chain", "--rootfs", str(hook.root), *LINK[:2], "t::/l/x"]
    command = [sys.executable, "-I", "-S", "-c", START, *words]
    with (
        open(slow, encoding="utf-8") as stdin,
        subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE, text=True) as started,
    ):
        assert started.stderr is not None
        line = started.stderr.readline()
        started.kill()
    assert line.startswith("pyshim-hook: createContainer hook create-symlinks failed: ")


def test_a_stdin_that_cannot_be_read_and_need_not(hook: Hook) -> None:
    with open(os.devnull, "wb") as stdin:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, "chain", "--rootfs", hook.root, *LINK],
            stdin=stdin, capture_output=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_hosts_environment_means_nothing(hook: Hook) -> None:
    (hook.root / "sitecustomize.py").write_text("raise SystemExit(7)")
    (hook.root / "json.py").write_text("raise SystemExit(8)")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", START, *LINK],
        input=hook.state, capture_output=True, text=True, check=False, cwd=hook.root,
        env={"PYTHONPATH": str(hook.root), "PYTHONHOME": str(hook.root), "PYTHONSTARTUP": "x"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


ALLOWED = {
    "__future__", "_ctypes", "_stat", "_struct", "errno", "struct",
    "ocishim", "ocishim.errors", "ocishim.posixos",
    "ocishim.hooks", "ocishim.hooks.chain", "ocishim.hooks.outcome", "ocishim.hooks.create_symlinks",
    "ocishim.hooks.flags", "ocishim.hooks.privileges", "ocishim.hooks.program",
    "ocishim.linux", "ocishim.linux.const", "ocishim.linux.ffi", "ocishim.linux.privileges",
    "ocishim.linux.syscalls", "ocishim.oci", "ocishim.oci.container", "ocishim.oci.hooktable",
    "ocishim.oci.state",
    "ocishim.rootfs", "ocishim.rootfs.dirent", "ocishim.rootfs.handle", "ocishim.rootfs.locate",
    "ocishim.rootfs.ownmounts", "ocishim.rootfs.rootfs", "ocishim.rootfs.tree",
}  # fmt: skip
"""What one create-symlinks loads beyond the bare interpreter; measured: 4.6 ms, 1 of them ctypes."""


def test_what_a_chain_loads(hook: Hook) -> None:
    script = """
import sys
bare = set(sys.modules)
sys.path[:0] = [{!r}]
from ocishim.hooks.program import main
status = main(sys.argv[1:])
print(*sorted(set(sys.modules) - bare))
""".format(str(LIBRARY))  # noqa: UP032 - braces of the script
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, "chain", "--rootfs", str(hook.root), *LINK],
        input=hook.state, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) - ALLOWED == set()
    assert hook.links() == ["l"]


@pytest.mark.parametrize(
    ("words", "parts", "debug", "quiet"),
    [
        ([], [], False, False),
        (["-d", "chmod", "-d"], [["chmod", "-d"]], True, False),
        (["-q", "hook", "-d", "chmod"], [["chmod"]], True, True),
        (["chain", "--log", "f", "a", "--log", "g"], [["a", "--log", "g"]], False, False),
        (["chain", "a", "--next", "b", "c"], [["a"], ["b", "c"]], False, False),
        (["chmod", "chain"], [["chmod", "chain"]], False, False),
    ],
)
def test_parse(words: list[str], parts: list[list[str]], *, debug: bool, quiet: bool) -> None:
    call = program.parse(words)
    assert (call.parts, call.debug, call.quiet) == (parts, debug, quiet)


def test_parse_refuses_options_it_does_not_know() -> None:
    with pytest.raises(UsageError, match="unknown option '--rootfs'"):
        program.parse(["--rootfs", "/x", "chmod"])


def test_a_fault_of_ours_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_words: list[str]) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(program, "parse", fail)
    assert program.main(["chmod"]) == 1
    assert capfd.readouterr().err == "pyshim-hook: internal error: ZeroDivisionError: a b\n"
