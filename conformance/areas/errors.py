"""What an engine is told when a create fails: the log record, stderr, the exit status."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from kit.case import ENGINE, area, check, equal

from areas.cdi import ask, device, document

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.lab import Bundle, Done, Lab

case = area("errors")
CONTAINERD = ENGINE + "containerd getLastRuntimeError: "
PODMAN = ENGINE + "podman getOCIRuntimeError: "
CONMON = ENGINE + "conmon: "
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _unknown(lab: Lab) -> Bundle:
    lab.cdi(document(device("0")))
    return lab.bundle(annotations=ask("9"))


def _malformed(lab: Lab) -> Bundle:
    return lab.bundle(annotations={"cdi.k8s.io/x": "no device"})


def _no_node(lab: Lab) -> Bundle:
    lab.cdi(document(device("0", deviceNodes=[{"path": "/dev/nowhere"}])))
    return lab.bundle(annotations=ask("0"))


def _bad_file(lab: Lab) -> Bundle:
    lab.cdi(document(device("0", env=["A"])))
    return lab.bundle(annotations=ask("0"))


def _conflict(lab: Lab) -> Bundle:
    lab.cdi(document(device("0")), "a.json")
    lab.cdi(document(device("0")), "b.json")
    return lab.bundle(annotations=ask("0"))


def _many(lab: Lab) -> Bundle:
    lab.cdi(document(device("0")))
    return lab.bundle(annotations=ask(*(f"missing-{number:04}" for number in range(2000))))


def _line_break(lab: Lab) -> Bundle:
    lab.cdi(document(device("0", env=["A\nB"])), "bad\nname.json")
    return lab.bundle(annotations=ask("0"))


CAUSES: dict[str, Callable[[Lab], Bundle]] = {
    "unknown device": _unknown,
    "malformed request": _malformed,
    "no host device": _no_node,
    "bad file": _bad_file,
    "conflict": _conflict,
    "2000 devices": _many,
    "line breaks": _line_break,
}


def fails(lab: Lab, bundle: Bundle, *flags: str) -> tuple[Done, str]:
    """Create with global `flags` and --log; return what it left, and the log's text."""
    log = f"{lab.dir}/log.json"
    command = lab.command(*flags, "--log", log, "create", "--bundle", bundle.path, lab.id)
    done = lab.execute(command)
    check(done.status != 0, "create succeeds")
    return done, lab.read(log) if os.path.exists(log) else ""


def record(text: str) -> dict[str, Any]:
    """Return the one record of a log."""
    lines = text.splitlines()
    equal(len(lines), 1, f"records in the log ({text[:500]!r})")
    value = json.loads(lines[0])
    check(isinstance(value, dict), "the record is no object")
    return dict(value)


@case(
    "record",
    "json.Unmarshal of the complete file into one {level, time, msg}: one record",
    PODMAN + "libpod/oci_util.go",
    CAUSES,
)
def one_record(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    _, text = fails(lab, cause(lab), "--log-format", "json")
    said = record(text)
    check(isinstance(said.get("msg"), str) and said["msg"], f"no msg: {said}")


@case(
    "level",
    "the last record whose level is error is the user's message",
    CONTAINERD + "process/utils.go",
    CAUSES,
)
def level(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    _, text = fails(lab, cause(lab), "--log-format", "json")
    equal(record(text).get("level"), "error", "level")


@case(
    "time", "a time that is not RFC 3339 loses the message", CONTAINERD + "process/utils.go", CAUSES
)
def time(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    _, text = fails(lab, cause(lab), "--log-format", "json")
    stamp = record(text).get("time", "")
    check(RFC3339.fullmatch(stamp), f"time {stamp!r}")


@case("ends", "records are appended: each ends its line", CONTAINERD + "json.Decoder", CAUSES)
def ends(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    _, text = fails(lab, cause(lab), "--log-format", "json")
    check(text.endswith("\n"), f"the log ends in {text[-20:]!r}")


@case(
    "appends",
    "the log is the container's: earlier records stay",
    ENGINE + "containerd, exec: the same log.json",
    {"json": "json", "text": "text"},
)
def appends(lab: Lab, form: str) -> None:
    with open(f"{lab.dir}/log.json", "w", encoding="utf-8") as file:
        file.write('{"level":"info","msg":"earlier"}\n')
    _, text = fails(lab, _unknown(lab), "--log-format", form)
    check(text.startswith('{"level":"info","msg":"earlier"}\n'), "the earlier record has gone")
    check("acme.com/gpu=9" in text, "nothing was added")


@case(
    "text-log",
    "the default format is text, one line a record",
    'logrus TextFormatter, as in runc: level=error msg="..."',
    {"flag": ("--log-format", "text"), "default": ()},
)
def text_log(lab: Lab, flags: tuple[str, ...]) -> None:
    _, text = fails(lab, _unknown(lab), *flags)
    equal(text.count("\n"), 1, "lines")
    check("level=error" in text and "acme.com/gpu=9" in text, text)


NAMED = {
    "unknown device": (_unknown, "acme.com/gpu=9"),
    "malformed request": (_malformed, "no device"),
    "no host device": (_no_node, "/dev/nowhere"),
    "bad file": (_bad_file, "acme.com/gpu=0"),
    "conflict": (_conflict, "acme.com/gpu=0"),
}


@case(
    "names-it", "the message names what cannot be had", PODMAN + "the msg is all a user sees", NAMED
)
def names_it(lab: Lab, what: tuple[Callable[[Lab], Bundle], str]) -> None:
    done, text = fails(lab, what[0](lab), "--log-format", "json")
    check(what[1] in record(text)["msg"], f"not in the log: {text}")
    check(what[1] in done.err, f"not on stderr: {done.err}")


@case(
    "stderr",
    "the text on stderr is the error: container create failed: <stderr>",
    CONMON + "one read() of 8192 bytes",
    CAUSES,
)
def stderr(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    done = lab.create(cause(lab))
    check(done.status != 0, "create succeeds")
    check(done.err.strip(), "nothing on stderr")
    check(len(done.err.encode()) <= 8192, f"{len(done.err)} bytes")
    equal(done.err.rstrip("\n").count("\n"), 0, "line breaks inside the message")
    check("Traceback" not in done.err, done.err)


@case(
    "stdout", "stdout is the container's", ENGINE + "containerd: the container's own stdio", CAUSES
)
def stdout(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    done = lab.create(cause(lab))
    check(done.status != 0, "create succeeds")
    equal(done.out, "", "stdout")


@case(
    "stderr-too",
    "conmon reads stderr, containerd the log: both have the message",
    CONMON + "and " + CONTAINERD,
    {"json": "json", "text": "text"},
)
def stderr_too(lab: Lab, form: str) -> None:
    done, _ = fails(lab, _unknown(lab), "--log-format", form)
    check("acme.com/gpu=9" in done.err, f"stderr: {done.err!r}")


CLASSES = "permission denied|operation not permitted|executable file not found|no such file or dir"


@case(
    "not-misread",
    "phrases by which Podman classifies errors occur only when they are meant",
    PODMAN + "(?i).*permission denied.*|.*no such file or directory.*",
    {
        name: CAUSES[name]
        for name in ("unknown device", "malformed request", "bad file", "conflict", "2000 devices")
    },
)
def not_misread(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    done, text = fails(lab, cause(lab), "--log-format", "json")
    found = re.search(CLASSES, text + done.err, re.IGNORECASE)
    check(not found, f"{found} in {text}")


@case(
    "exit-status",
    "an error is exit status 1, as runc's",
    ENGINE + "go-runc: exit status in %d",
    CAUSES,
)
def exit_status(lab: Lab, cause: Callable[[Lab], Bundle]) -> None:
    equal(lab.create(cause(lab)).status, 1, "create's exit status")


@case(
    "success-silent",
    "on success the log is empty and stderr is the container's",
    PODMAN + "the log is parsed whenever it is there",
    {"log": "log", "stderr": "err", "stdout": "out"},
)
def success_silent(lab: Lab, where: str) -> None:
    lab.cdi(document(device("0")))
    bundle = lab.bundle("true", annotations=ask("0"))
    log = f"{lab.dir}/log.json"
    done = lab.execute(
        lab.command("--log", log, "--log-format", "json", "create", "--bundle", bundle.path, lab.id)
    )
    equal(done.status, 0, "create's exit status")
    if where == "log":
        equal(lab.read(log) if os.path.exists(log) else "", "", "the log")
    else:
        equal(getattr(done, where), "", where)


@case(
    "log-forms",
    "--log X and --log=X are one thing",
    ENGINE + "containerd: two words; runsc's shim: one",
    {"two words": ["--log", "{}"], "one word": ["--log={}"]},
)
def log_forms(lab: Lab, form: list[str]) -> None:
    log = f"{lab.dir}/elsewhere.log"
    flags = [part.format(log) for part in form]
    bundle = _unknown(lab)
    command = lab.command(*flags, "--log-format=json", "create", "--bundle", bundle.path, lab.id)
    check(lab.execute(command).status != 0, "create succeeds")
    check("acme.com/gpu=9" in record(lab.read(log))["msg"], "the log does not name the device")


@case("run-too", "run fails as create does", ENGINE + "podman, ctr: run", {"run": "run"})
def run_too(lab: Lab, command: str) -> None:
    bundle = _unknown(lab)
    done = lab.call(command, "--bundle", bundle.path, lab.id)
    check(done.status != 0, f"{command} succeeds")
    check("acme.com/gpu=9" in done.err, done.err)
    lab.gone()


NOT_THERE = {
    "kill": ["kill", "nobody", "9"],
    "delete": ["delete", "nobody"],
    "state": ["state", "nobody"],
    "start": ["start", "nobody"],
}


@case(
    "does-not-exist",
    'text containing "does not exist" means no such container',
    ENGINE + "containerd checkKillError, process/init.go Delete",
    NOT_THERE,
)
def does_not_exist(lab: Lab, args: list[str]) -> None:
    done = lab.call(*args)
    check(done.status != 0, "exit status 0")
    check("does not exist" in done.err, f"stderr: {done.err!r}")


@case(
    "not-running",
    'text containing "container not running" or "process already finished" means it has ended',
    ENGINE + "containerd checkKillError",
    {"kill": "KILL"},
)
def not_running(lab: Lab, name: str) -> None:
    lab.creates(lab.bundle("true"))
    lab.starts()
    lab.wait_for("stopped")
    done = lab.call("kill", lab.id, name)
    check(
        re.search(
            "container not running|process already finished|no such process",
            done.err,
            re.IGNORECASE,
        ),
        f"stderr: {done.err!r}",
    )
