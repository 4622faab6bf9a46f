"""The log contract: one record for the engine, one line on stderr, nothing on success."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from ocishim import log
from ocishim.linux import const, syscalls
from tests import isolated
from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from pathlib import Path

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"  # RFC 3339 in UTC; containerd refuses anything else


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=7"}))
    box.add_spec("acme.json", ACME)
    return box


def failed(box: Box, *flags: str) -> str:
    """Let create fail with these global flags; return the line on stderr."""
    done = box.call(*flags, "create", "--bundle", "bundle", "c")
    assert (done.status, done.out, done.seen) == (1, "", None), done
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert done.err.startswith("pyshim: unresolvable CDI devices acme.com/gpu=7")
    return done.err[:-1]


def test_one_json_record(box: Box) -> None:
    """Containerd takes the last error record, Podman parses the whole file as one object."""
    path = box.folder / "log.json"
    before = time.time()
    line = failed(box, "--log", str(path), "--log-format", "json")
    record = json.loads(path.read_text())
    assert list(record) == ["level", "msg", "time"]
    assert (record["level"], record["msg"]) == ("error", line)
    assert re.fullmatch(TIME, record["time"])
    written = time.strptime(record["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert -60 < before - time.mktime((*written[:8], 0)) + time.timezone < 2
    assert path.read_bytes().endswith(b"}\n")


def test_a_record_is_appended(box: Box) -> None:
    """Runc's own records of earlier commands stay; the last error wins."""
    path = box.folder / "log.json"
    old = '{"level":"error","msg":"old","time":"2026-01-01T00:00:00Z"}\n'
    path.write_text(old)
    line = failed(box, "--log", str(path), "--log-format", "json")
    lines = path.read_text().splitlines(keepends=True)
    assert lines[0] == old
    assert json.loads(lines[1])["msg"] == line
    assert len(lines) == 2


@pytest.mark.parametrize("flags", [["--log-format", "text"], []], ids=["text", "the default"])
def test_one_text_record(box: Box, flags: list[str]) -> None:
    path = box.folder / "log"
    line = failed(box, "--log", str(path), *flags)
    text = line.replace("\\", "\\\\").replace('"', '\\"')
    assert re.fullmatch(rf'time="{TIME}" level=error msg="{re.escape(text)}"\n', path.read_text())


@pytest.mark.parametrize("flags", [["--log=", "--log-format=json"], ["--log-format", "json"], []])
def test_no_log(box: Box, flags: list[str]) -> None:
    before = {path.name for path in box.folder.iterdir()}
    assert "(and --log" not in failed(box, *flags)
    after = {path.name for path in box.folder.iterdir()} - {"out", "err", "in", "cache", "own.log"}
    assert after <= before


def test_a_relative_log(box: Box) -> None:
    failed(box, "--log", "log.json", "--log-format", "json")
    assert (box.folder / "log.json").exists()


def test_success_writes_nothing(box: Box) -> None:
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}))
    path = box.folder / "log.json"
    done = box.call("--log", str(path), "--log-format", "json", "create", "--bundle", "bundle", "c")
    assert (done.status, done.out, done.err) == (0, "probe's output\n", "probe's error\n")
    assert not path.exists()


@pytest.mark.parametrize(("kind", "why"), [
    pytest.param("folder missing", "does not exist", id="folder missing"),
    pytest.param("folder", "is a directory", id="a folder"),
    pytest.param("FIFO", "no such device or address", id="a FIFO nobody reads"),
    pytest.param("full", "no space left on device", id="a full disk"),
    pytest.param("socket", "no such device or address", id="a socket"),
])  # fmt: skip
def test_log_that_cannot_be_written(box: Box, kind: str, why: str) -> None:
    """It must neither hang nor hide the message."""
    path = box.folder / "x"
    if kind == "folder missing":
        path = path / "log.json"
    elif kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "full":
        path.symlink_to("/dev/full")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    line = failed(box, "--log", str(path), "--log-format", "json")
    assert line.endswith(f" (and --log {path}: {why})")


def test_fifo_with_a_reader(box: Box) -> None:
    path = box.folder / "fifo"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    line = failed(box, "--log", str(path), "--log-format", "json")
    reader.join(10)
    assert json.loads(read[0])["msg"] == line


@pytest.mark.parametrize(("value", "shown"), [
    pytest.param("a\nb", "a b", id="newline"),
    pytest.param("a\r\x1b[31mb\x07", r"a\x0d\x1b[31mb\x07", id="a terminal's commands"),
    pytest.param("a\x00\x7f\x85\u2028\u202e", r"a\x00\x7f\x85\u2028\u202e", id="other controls"),
    pytest.param("a\udcffb", r"a\xffb", id="a byte that is not UTF-8"),
    pytest.param("a\ud800b", r"a\ud800b", id="half a character"),
    pytest.param('"quoted" \\ ü😀', '"quoted" \\ ü😀', id="what needs no change"),
])  # fmt: skip
def test_one_printable_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], value: str, shown: str
) -> None:
    """Names come from pods and spec files: no record of their own, no terminal commands."""
    log.fail(f"bad {value}", str(tmp_path / "l"), "json")
    assert capfd.readouterr().err == f"pyshim: bad {shown}\n"
    assert json.loads((tmp_path / "l").read_bytes())["msg"] == f"pyshim: bad {shown}"
    own = log.OwnLog(str(tmp_path / "own"), "info", f"c{value}")
    own.write("warning", value)
    assert re.fullmatch(
        rf"{TIME} warning container c{re.escape(shown)}: {re.escape(shown)}\n",
        (tmp_path / "own").read_text(),
    )


def test_the_middle_of_a_long_message_is_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Conmon reads 8 KiB, once, and makes that the error."""
    log.fail("what failed " + "x" * 100_000 + ": why", str(tmp_path / "l"), "json")
    line = capfd.readouterr().err
    assert len(line) == 4000
    assert line.startswith("pyshim: what failed xxx")
    assert line.endswith("xxx: why\n")
    assert json.loads((tmp_path / "l").read_bytes())["msg"] + "\n" == line


def test_stderr_that_is_gone(box: Box) -> None:
    path = box.folder / "log.json"
    done = box.call("--log", str(path), "--log-format", "json", "create", "-b", "bundle", "c",
                    before=lambda: os.close(2))  # fmt: skip
    assert (done.status, done.seen) == (1, None)
    assert json.loads(path.read_text())["msg"].startswith("pyshim: unresolvable CDI devices")


def test_stderr_nobody_reads(box: Box) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = box.call("create", "-b", "bundle", "c", before=lambda: os.dup2(write_end, 2))
    finally:
        os.close(write_end)
    assert (done.status, done.seen) == (1, None)


@pytest.mark.parametrize(("level", "expected"), [
    ("error", ["error"]), ("warning", ["error", "warning"]), ("info", ["error", "warning", "info"]),
    ("debug", ["error", "warning", "info", "debug"]),
])  # fmt: skip
def test_levels(tmp_path: Path, level: str, expected: list[str]) -> None:
    own = log.OwnLog(str(tmp_path / "own"), level, "")
    for name in log.LEVELS:
        own.write(name, "text")
    lines = (tmp_path / "own").read_text().splitlines()
    assert [line.split()[1:] for line in lines] == [[name, "text"] for name in expected]
    assert own.debugs == (level == "debug")


@pytest.mark.parametrize("file", ["/nowhere/log", "/dev/full", "/"])
def test_own_log_that_cannot_be_written(file: str) -> None:
    """A log is no reason to stop a container."""
    log.OwnLog(file, "info", "c").write("error", "text")


def test_a_failure_is_in_the_own_log_too(box: Box) -> None:
    line = failed(box)
    last = box.log.read_text().splitlines()[-1]
    assert re.fullmatch(rf"{TIME} error container c: (.*)", last)
    assert last.endswith(line.removeprefix("pyshim: "))


@pytest.mark.root
def test_system_log() -> None:
    """Without a file: one datagram to /dev/log, as syslog(3) writes it; nobody there is no error."""
    isolated.run(_system_log)


def _system_log() -> None:
    syscalls.mount("tmpfs", "/dev", "tmpfs", const.MS_NOSUID, "size=64k")
    own = log.OwnLog("", "info", "c1")
    own.write("warning", "nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind("/dev/log")
        daemon.settimeout(5)
        own.write("warning", "two\nlines")
        own.write("debug", "not at this level")
        own.write("error", "it failed")
        found = [daemon.recv(4096).decode() for _ in range(2)]
        daemon.setblocking(False)
        _expect_nothing(daemon)
    pid = os.getpid()
    assert found == [
        f"<28>pyshim[{pid}]: container c1: two lines", f"<27>pyshim[{pid}]: container c1: it failed",
    ]  # fmt: skip
    own.write("error", "nobody listens any more")


@pytest.mark.root
def test_the_journal() -> None:
    """Where journald is, an entry of its own protocol: what programs ask for are fields."""
    isolated.run(_journal)


def _journal() -> None:
    for folder in ("/dev", "/run"):
        syscalls.mount("tmpfs", folder, "tmpfs", const.MS_NOSUID, "size=64k")
    os.makedirs("/run/systemd/journal")
    own = log.OwnLog("", "info", "c1")
    own.owner = {"POD": "ns/web"}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon,
    ):
        journal.bind("/run/systemd/journal/socket")
        daemon.bind("/dev/log")
        journal.settimeout(5)
        own.write("info", "gave\nit", {"CDI_DEVICE": ["a.b/c=0", "a.b/c=\nPRIORITY=0"]})
        entry = journal.recv(4096).decode()
        daemon.setblocking(False)
        _expect_nothing(daemon)
    assert entry.splitlines() == [
        "MESSAGE=container c1 of pod ns/web: gave it",
        "PRIORITY=6",
        "SYSLOG_FACILITY=3",
        "SYSLOG_IDENTIFIER=pyshim",
        f"SYSLOG_PID={os.getpid()}",
        "CONTAINER_ID=c1",
        "POD=ns/web",
        "CDI_DEVICE=a.b/c=0",
        "CDI_DEVICE=a.b/c= PRIORITY=0",
    ]


def _expect_nothing(daemon: socket.socket) -> None:
    try:
        raise AssertionError(daemon.recv(4096))
    except BlockingIOError:
        pass


@pytest.mark.root
def test_a_system_log_that_is_full_does_not_wait() -> None:
    isolated.run(_full_system_log, limit=100)


def _full_system_log() -> None:
    syscalls.mount("tmpfs", "/dev", "tmpfs", const.MS_NOSUID, "size=64k")
    own = log.OwnLog("", "info", "c1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind("/dev/log")
        for _ in range(2000):  # net.unix.max_dgram_qlen is 10 to 512
            own.write("error", "x" * 3000)


ODD = "a\u202eb\x9bc\x1b[2Jd\ne\x7f\udce9"


@pytest.mark.parametrize("where", ["subject", "owner", "list"])
def test_fields_of_a_json_line_are_text(tmp_path: Path, where: str) -> None:
    """Containers' and pods' names: of an image or a pod, where an engine copies what they say."""
    own = log.OwnLog(str(tmp_path / "l"), "info", ODD if where == "subject" else "c", "json")
    own.owner = {"POD": ODD * 5000} if where == "owner" else {}
    own.write("info", "said", {"CDI_HOOK": [ODD, "x"]} if where == "list" else None)
    line = (tmp_path / "l").read_bytes()
    assert line.endswith(b"\n")
    assert line.isascii()
    assert line[:-1].decode().isprintable()
    assert len(line) < 3 * 4000
    told = json.loads(line)
    said = {"subject": told["container_id"], "owner": told.get("pod"),
            "list": told.get("cdi_hook", [""])[0]}  # fmt: skip
    assert said[where].startswith(r"a\u202eb\x9bc\x1b[2Jd e\x7f\xe9")
