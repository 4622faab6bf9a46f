"""Wrong with errors: the log's record, stderr, stdout, the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from mutants.call import Call, mutant

if TYPE_CHECKING:
    from collections.abc import Callable


def failed(call: Call, change: Callable[[list[str]], list[str]]) -> int | None:
    """Let `change` edit the lines that a create which fails has added to --log."""
    if call.command != "create":
        return None
    log = call.flag("log")
    before = os.path.getsize(log) if log and os.path.exists(log) else 0
    status = call.run()
    if status != 0 and log and os.path.exists(log):
        with open(log, "r+", encoding="utf-8") as file:
            file.seek(before)
            lines = file.read().splitlines(keepends=True)
            file.seek(before)
            file.write("".join(change(lines)))
            file.truncate()
    return status


def record(call: Call, **changes: Any) -> int | None:
    """Change properties of the last record of a create that fails."""
    return failed(
        call,
        lambda lines: (
            [
                *lines[:-1],
                json.dumps({**json.loads(lines[-1]), **changes}) + "\n",
            ]
            if call.flag("log-format") == "json"
            else lines
        ),
    )


def said(call: Call, change: Callable[[str], str]) -> int:
    """Let `change` edit what a command that fails says on stderr."""
    path = f"/run/.said-{os.getpid()}"
    with open(path, "w+", encoding="utf-8") as file:
        status = call.run(stderr=file)
        file.seek(0)
        text = file.read()
    sys.stderr.write(text if status == 0 else change(text))
    return status


@mutant("errors/record[unknown device]")
def two_records(call: Call) -> int | None:
    return failed(call, lambda lines: lines * 2)


@mutant("errors/level[bad file]")
def level_fatal(call: Call) -> int | None:
    return record(call, level="fatal")


@mutant("errors/time[conflict]")
def time_of_the_day(call: Call) -> int | None:
    return record(call, time="10:15")


@mutant("errors/ends[no host device]")
def no_line_end(call: Call) -> int | None:
    return failed(call, lambda lines: ["".join(lines).rstrip("\n")])


@mutant("errors/appends[json]")
def log_truncated(call: Call) -> None:
    log = call.flag("log")
    if call.command == "create" and log and os.path.exists(log):
        os.truncate(log, 0)


@mutant("errors/text-log[default]")
def json_always(call: Call) -> None:
    if call.flag("log") and not call.flag("log-format"):
        call.args[:0] = ["--log-format", "json"]


@mutant("errors/names-it[malformed request]")
def says_nothing_of_it(call: Call) -> int | None:
    return record(call, msg="create failed")


@mutant("errors/stderr[line breaks]", "errors/stderr-too[json]", "errors/run-too[run]")
def stderr_empty(call: Call) -> int | None:
    return said(call, lambda _: "") if call.creates else None


@mutant("errors/stdout[unknown device]")
def says_it_on_stdout(call: Call) -> int | None:
    if call.command != "create":
        return None
    status = call.run()
    if status != 0:
        print("create failed")
    return status


@mutant("errors/not-misread[unknown device]")
def misleading(call: Call) -> int | None:
    return (
        said(call, lambda text: f"{text.rstrip()}: no such file or directory\n")
        if call.command == "create"
        else None
    )


@mutant("errors/exit-status[unknown device]")
def status_125(call: Call) -> int | None:
    if call.command != "create":
        return None
    return 125 if call.run() else 0


@mutant("errors/success-silent[log]")
def success_logged(call: Call) -> int | None:
    if call.command != "create" or not call.flag("log"):
        return None
    status = call.run()
    with open(call.flag("log"), "a", encoding="utf-8") as file:
        file.write('{"level":"info","msg":"created"}\n' if status == 0 else "")
    return status


@mutant("errors/log-forms[one word]")
def log_in_one_word_ignored(call: Call) -> None:
    call.args = [arg for arg in call.args if not arg.startswith("--log=")]


@mutant("errors/does-not-exist[kill]", "errors/not-running[kill]")
def own_words(call: Call) -> int | None:
    if call.command not in ("kill", "delete", "start"):
        return None
    done = subprocess.run([*call.good, *call.args], stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(f"{call.command}: cannot", file=sys.stderr)
    return done.returncode
