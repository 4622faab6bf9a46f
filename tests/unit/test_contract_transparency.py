"""Nobody can tell pyshim from the low-level runtime: same call, same process, nothing added.

A probe in the place of the low-level runtime writes down what it was given; each test compares
that with the probe called directly.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(name="box", scope="module")
def _box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    box = Box(tmp_path_factory.mktemp("box"))
    box.bundle(oci())
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}), "device")
    box.add_spec("acme.json", ACME)
    return box


THROUGH = "passes through"
UNSURE = "passes through, a name like a command"
EDITED = "a bundle is read"

CALLS = [
    pytest.param("state c", id=THROUGH),
    pytest.param("--root /r --log /l.json --log-format json kill c 9", id=f"{THROUGH}, globals"),
    pytest.param("delete --force c", id=f"{THROUGH}, flag"),
    pytest.param("exec c create", id=UNSURE),
    pytest.param("delete run", id=f"{UNSURE}, container called run"),
    pytest.param("create --bundle bundle c", id=EDITED),
    pytest.param("run -b device c", id=f"{EDITED} and edited"),
    pytest.param("restore --bundle=device c", id=f"{EDITED} at restore"),
    pytest.param("create --help", id="help for create"),
]


def same(box: Box, line: str, **how: object) -> None:
    """The probe sees the same through pyshim as when called directly, in the same process."""
    args = line.split()
    through, direct = box.call(*args, **how), box.bare(*args, **how)
    assert direct.seen is not None
    assert through.seen is not None, through
    assert through.seen.argv == direct.seen.argv
    assert through.seen.environ == direct.seen.environ
    assert through.seen.facts == direct.seen.facts
    assert through.seen.stdin == direct.seen.stdin
    assert (through.status, through.out, through.err) == (direct.status, direct.out, direct.err)
    assert through.seen.pid == through.pid, "exec, not fork: engines watch this process"


@pytest.mark.parametrize("line", CALLS)
def test_same_call(box: Box, line: str) -> None:
    same(box, line)


@pytest.mark.parametrize("line", ["features", "--version", "-v", "--help", "", "spec", "list"])
def test_silent_without_a_configuration(box: Box, line: str) -> None:
    """One byte on stderr breaks CRI-O's and containerd's parsing of `features`."""
    env = {"PATH": str(box.runtime.parent) + ":" + os.environ["PATH"], "PYSHIM_CONFIG": "/nowhere"}
    same(box, line, env=env)


@pytest.mark.parametrize("line", CALLS)
def test_status_and_output_are_the_runtimes(box: Box, line: str) -> None:
    same(box, line + " fail")


@pytest.mark.parametrize("line", CALLS)
def test_stdin_is_untouched(box: Box, line: str) -> None:
    same(box, line + " eat", stdin=b"for the container\n" * 1000)
    done = box.call(*line.split(), "eat", stdin=b"line 1\nline 2\n")
    assert done.seen is not None
    assert done.seen.stdin == b"line 1\nline 2\n"


@pytest.mark.parametrize("config", [
    pytest.param('runtimes = ["{0}"]\n', id="in the form that is read early"),
    pytest.param("runtimes = ['{0}']\n", id="other quotes"),
    pytest.param('log.level = "info"\nruntimes = ["{0}"]\n', id="another setting first"),
    pytest.param("runtimes = [\n  '{0}',\n]\n", id="over several lines"),
])  # fmt: skip
def test_stdin_is_untouched_by_reading_the_configuration(box: Box, config: str) -> None:
    box.config.write_text(config.format(box.runtime))
    try:
        same(box, "state c eat", stdin=b"line 1\nline 2\n")
    finally:
        box.settings()


def _ignore(*numbers: signal.Signals) -> Callable[[], None]:
    def before() -> None:
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN if number in numbers else signal.SIG_DFL)

    return before


def _block() -> None:
    _ignore()()
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE})


SIGNALS = [
    pytest.param(_ignore(), id="none ignored"),
    pytest.param(_ignore(signal.SIGPIPE), id="SIGPIPE ignored", marks=pytest.mark.binary),
    pytest.param(_ignore(signal.SIGXFSZ), id="SIGXFSZ ignored", marks=pytest.mark.binary),
    pytest.param(_ignore(signal.SIGINT), id="SIGINT ignored"),
    pytest.param(
        _ignore(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT),
        id="all ignored",
        marks=pytest.mark.binary,
    ),
    pytest.param(_block, id="some blocked"),
]


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
@pytest.mark.parametrize("before", SIGNALS)
def test_signals(box: Box, line: str, before: Callable[[], None]) -> None:
    """CPython ignores SIGPIPE and SIGXFSZ at its start; the container must not inherit that."""
    same(box, line, before=before)


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_umask(box: Box, line: str, umask: int) -> None:
    if umask == 0o777 and os.geteuid() != 0:
        pytest.skip("the probe cannot write with this umask and without root")
    same(box, line, before=lambda: os.umask(umask))


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
def test_limits(box: Box, line: str) -> None:
    def before() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    same(box, line, before=before)


def test_a_limit_on_the_size_of_files(box: Box) -> None:
    """A config.json that may not be written is an error in words, no silent end by SIGXFSZ."""
    large = oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0", "pad": "x" * 9000})
    file = box.bundle(large, "large") / "config.json"
    before = file.read_bytes()

    def limited() -> None:
        _ignore()()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = box.call("create", "-b", "large", "c", before=limited)
    assert (done.status, done.out, done.seen) == (1, "", None)
    assert done.err == (
        f"pyshim: {file}: cannot be replaced: file too large "
        "(the bundle is as it was; its folder must be writable and not full)\n"
    )
    assert file.read_bytes() == before
    assert sorted(os.listdir(file.parent)) == ["config.json", "rootfs"]


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
def test_descriptors(box: Box, line: str) -> None:
    """Inherited ones stay open (LISTEN_FDS, --preserve-fds), none is added."""
    with open("/dev/null", "rb") as one, open("/dev/zero", "rb") as two:
        high = os.dup2(two.fileno(), 200)
        try:
            same(box, line, pass_fds=(one.fileno(), two.fileno(), high))
        finally:
            os.close(high)


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
@pytest.mark.parametrize("closed", [(0,), (0, 1, 2)], ids=str)
def test_closed_descriptors(box: Box, line: str, closed: tuple[int, ...]) -> None:
    """Nothing of ours may end up where the caller had nothing."""

    def before() -> None:
        for descriptor in closed:
            os.close(descriptor)

    same(box, line, before=before)


@pytest.mark.parametrize("line", ["state c", "exec c create", "create c"])
def test_working_directory(box: Box, line: str) -> None:
    same(box, line, cwd=box.folder / "device")
    assert box.call(*line.split(), cwd=box.folder / "device").seen is not None


@pytest.mark.parametrize("line", ["state c", "exec c create"])
def test_working_directory_that_is_gone(box: Box, line: str) -> None:
    seen = []
    for call in (box.call, box.bare):
        gone = box.folder / "gone"
        gone.mkdir()
        seen.append(call(*line.split(), cwd=gone, before=gone.rmdir).seen)
    assert seen[0] == seen[1]
    assert seen[0] is not None


ENVIRONMENTS = [
    pytest.param({}, id="nothing more"),
    pytest.param({"LC_CTYPE": "C.UTF-8"}, id="LC_CTYPE as CPython would set it"),
    pytest.param({"LC_CTYPE": ""}, id="LC_CTYPE empty"),
    pytest.param({"LC_CTYPE": "C"}, id="LC_CTYPE"),
    pytest.param({"LC_ALL": "C"}, id="LC_ALL"),
    pytest.param({"LC_ALL": ""}, id="LC_ALL empty"),
    pytest.param({"LC_ALL": "xx_YY.ISO-8859-1", "LC_CTYPE": "C"}, id="LC_ALL not there"),
    pytest.param({"LC_ALL": "\udcff\udcfe"}, id="LC_ALL of bytes"),
    pytest.param({"LD_LIBRARY_PATH": "", "LD_PRELOAD": " "}, id="the loader's, empty"),
    pytest.param({"LD_LIBRARY_PATH": "/no where:$X'\"`", "LOCPATH": "\n\udcff"}, id="odd values"),
    pytest.param({"GLIBC_TUNABLES": "glibc.malloc.check=0", "LC_ALL": "C"}, id="the C library's"),
    pytest.param({"LANG": "POSIX"}, id="LANG"),
    pytest.param(
        {"PYTHONHOME": "/x", "PYTHONPATH": "/y", "PYTHONMALLOC": "bad"}, id="Python's own"
    ),
    pytest.param({"PYTHONWARNINGS": "error", "PYTHONVERBOSE": "1"}, id="Python's talk"),
    pytest.param({"LISTEN_FDS": "1", "LISTEN_PID": "1", "NOTIFY_SOCKET": "/n"}, id="systemd"),
    pytest.param(
        {"GOMAXPROCS": "4", "TTRPC_ADDRESS": "/t", "LD_LIBRARY_PATH": "/opt/containerd/lib:"},
        id="containerd",
    ),
    pytest.param({"_OCI_SYNCPIPE": "3", "_OCI_STARTPIPE": "4", "CRI_O_EXTERNAL": "1"}, id="conmon"),
    pytest.param({"PS1": "p", "ENV": "/e", "MAIL": "m"}, id="shells' variables"),
    pytest.param({"CDPATH": "/", "HOME": "/h", "TERM": "dumb", "OLDPWD": "/o"}, id="more of them"),
    pytest.param(
        {"EMPTY": "", "SPACES": " a  b ", "NL": "a\nb", "EQ": "a=b=c", "STAR": "*"}, id="values"
    ),
    pytest.param({"BYTES": "\udcff\udc80", "UTF8": "ü"}, id="values that are not ASCII"),
    pytest.param({"PATH": "", "LONG": "x" * 100_000}, id="PATH empty, a long value"),
]


@pytest.mark.parametrize("line", ["state c", "exec c create", "create -b device c"])
@pytest.mark.parametrize("more", ENVIRONMENTS)
def test_environment(box: Box, line: str, more: dict[str, str]) -> None:
    same(box, line, env={**box.environment(), **more})


def test_no_environment_at_all(box: Box) -> None:
    """Not even PATH: the runtime is found in the usual folders, here by its path."""
    env = {"PYSHIM_CONFIG": str(box.config), "PYSHIM_CACHE_DIR": str(box.folder / "cache")}
    same(box, "state c", env=env)
    same(box, "exec c create", env=env)


@pytest.mark.parametrize("line", ["state c", "create -b device c"])
@pytest.mark.parametrize("entry", [
    pytest.param(b"not-a-name=1", id="a dash in the name"),
    pytest.param(b"1ST=1", id="a digit first"),
    pytest.param(b"no equals sign", id="no equals sign"),
    pytest.param(b"=1", id="no name"),
    pytest.param(b"PWD=/somewhere", id="PWD"),
    pytest.param(b"IFS=x", id="IFS"),
    pytest.param(b"OPTIND=3", id="OPTIND"),
])  # fmt: skip
def test_what_a_shell_cannot_carry(box: Box, line: str, entry: bytes) -> None:
    """Entries that are no variables of a shell arrive like all others."""
    environment = [os.fsencode(f"{k}={v}") for k, v in box.environment().items()]
    through = _execute(box, box.pyshim, line, [*environment, entry])
    direct = _execute(box, box.runtime, line, [*environment, entry])
    assert entry in direct
    assert through == direct


def _execute(box: Box, program: Path, line: str, environment: list[bytes]) -> list[bytes]:
    """Start `program` by execve(2) itself: Python's own refuses entries without a name."""
    argv = [os.fsencode(arg) for arg in (str(program), *line.split())]

    def before() -> None:
        vectors = [(ctypes.c_char_p * (len(v) + 1))(*v, None) for v in (argv, environment)]
        ctypes.CDLL(None).execve(argv[0], *vectors)
        os._exit(99)

    done = box.start(sys.executable, before=before)
    assert done.status == 0, done
    assert done.seen is not None
    return done.seen.environ


def test_a_persons_shell_keeps_pwd(box: Box) -> None:
    env = {**box.environment(), "PWD": str(box.folder), "SHLVL": "1"}
    same(box, "state c", env=env)


ARGUMENTS = [
    ["state", ""], ["state", "a b"], ["state", "a\nb"], ["state", "*"], ["state", "$(id)"], ["state", "'\"`\\"],
    ["state", "\udcff"], ["exec", "c", "sh", "-c", "echo $1 *", "create"], ["exec", "c", "", "create", ""],
    ["exec", "-e", "A=b c", "c", "run", "-n"], ["delete", "--", "create"], ["state", "x" * 100_000],
]  # fmt: skip


@pytest.mark.parametrize("args", ARGUMENTS, ids=lambda args: ascii(args)[:40])
def test_arguments(box: Box, args: list[str]) -> None:
    through, direct = box.call(*args), box.bare(*args)
    assert through.seen == direct.seen
    assert through.seen is not None


BROKEN = [
    pytest.param("x", id="not TOML"),
    pytest.param('runtimes = ["{0}"]\nno_such = 1\n', id="unknown setting"),
    pytest.param('runtimes = ["{0}"]\n[cdi\n', id="broken table"),
    pytest.param('[hooks]\ntimeout = "long"\n', id="wrong type"),
    pytest.param("runtimes = 3\n", id="runtimes of the wrong type"),
    pytest.param("runtimes = [", id="ends too early"),
    pytest.param("", id="empty"),
    pytest.param("\0" * 100, id="zeroes"),
    pytest.param("\udcff", id="not UTF-8"),
    pytest.param("#" * 1_100_000, id="large"),
]


@pytest.mark.parametrize("line", ["kill c 9", "delete --force create", "exec c run"])
@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_configuration_blocks_nothing(box: Box, text: str, line: str) -> None:
    box.config.write_bytes(text.replace("{0}", str(box.runtime)).encode(errors="surrogateescape"))
    env = {**box.environment(), "PATH": f"{box.runtime.parent}:{os.environ['PATH']}"}
    try:
        same(box, line, env=env)
    finally:
        box.settings()


@pytest.mark.parametrize("line", ["kill c 9", "delete --force create"])
@pytest.mark.parametrize("kind", ["folder", "FIFO", "dangling link", "loop", "below a file"])
def test_a_configuration_that_is_no_file_blocks_nothing(box: Box, kind: str, line: str) -> None:
    path = box.folder / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to("odd")
    named = box.config / "x" if kind == "below a file" else path
    env = {"PATH": f"{box.runtime.parent}:{os.environ['PATH']}", "PYSHIM_CONFIG": str(named)}
    try:
        same(box, line, env=env)
    finally:
        if kind == "folder":
            path.rmdir()
        elif kind != "below a file":
            path.unlink()


def test_nothing_is_written(box: Box) -> None:
    """A command that passes through leaves no file of ours: no cache, no log."""
    before = sorted(box.folder.rglob("*"))
    box.call("state", "c")
    after = [path for path in sorted(box.folder.rglob("*")) if path not in before]
    assert [path for path in after if ".d" not in path.parent.suffix] == []
