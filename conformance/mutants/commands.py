"""Wrong with the command line: arguments, descriptors, signals, exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from mutants.call import COMMANDS, Call, mutant

SILENT = subprocess.DEVNULL


@mutant("command-line/exit-status[42]", "command-line/killed[TERM]")
def exit_status_lost(call: Call) -> int | None:
    return min(call.run(), 1) if call.command == "run" else None


@mutant("command-line/signal[USR1]")
def signals_kept(call: Call) -> int | None:
    if call.command != "run":
        return None
    for name in ("TERM", "INT", "HUP", "USR1", "USR2"):
        signal.signal(getattr(signal, f"SIG{name}"), lambda *_: sys.exit(9))
    return call.run(start_new_session=True)


@mutant("command-line/kill[USR1]")
def kill_sends_another(call: Call) -> None:
    if call.command == "kill" and call.args[-1] not in ("KILL", "9"):
        call.args[-1] = "CONT"


@mutant("command-line/stdin[a line]")
def stdin_empty(call: Call) -> int | None:
    return call.run(stdin=SILENT) if call.creates else None


@mutant("command-line/stdin-unread[create]")
def stdin_read(call: Call) -> None:
    if call.command == "create":
        os.read(0, 1)


@mutant("command-line/stdout[no newline]")
def stdout_ends_lines(call: Call) -> int | None:
    if call.command != "run":
        return None
    status = call.run()
    with open("/proc/self/fd/1", "rb") as file:
        text = file.read()
    if text and not text.endswith(b"\n"):
        os.write(1, b"\n")
    return status


@mutant("command-line/stderr[beside stdout]")
def stderr_is_stdout(call: Call) -> int | None:
    return call.run(stderr=1) if call.command == "run" else None


@mutant("command-line/same-file[stdout]", seen=("errors", "hooks"))
def stdout_copied(call: Call) -> int | None:
    if call.command != "create":
        return None
    # Nobody waits for the copier: it lives as long as the container.
    copier = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert copier.stdin is not None
    with copier.stdin:
        return call.run(stdout=copier.stdin)


@mutant("command-line/listen-fds[2]")
def listen_fds_ignored(_: Call) -> None:
    os.environ.pop("LISTEN_FDS", None)


@mutant("command-line/no-leaks")
def descriptors_leak(call: Call) -> None:
    if call.command == "run" and "LISTEN_FDS" not in os.environ:
        null = os.open("/dev/null", os.O_RDONLY)
        for number in range(3, 8):
            try:
                os.set_inheritable(number, True)
            except OSError:
                os.dup2(null, number)
        os.environ.update(LISTEN_FDS="5", LISTEN_PID=str(os.getpid()))


@mutant("command-line/environment")
def environment_leaks(call: Call) -> None:
    path = os.environ.get("LD_LIBRARY_PATH")
    if path:
        call.edit(lambda spec: spec["process"]["env"].append(f"LD_LIBRARY_PATH={path}"))


@mutant("command-line/bundle[--bundle=X]", "kubernetes/in-a-pod[run]", seen=("kubernetes",))
def bundle_is_cwd(call: Call) -> None:
    if call.creates and os.path.exists("config.json"):
        call.args = [arg for arg in call.args if not arg.startswith("--bundle=")]
        if "--bundle" in call.args:
            index = call.args.index("--bundle")
            del call.args[index : index + 2]


@mutant("command-line/bundle-default")
def bundle_wanted(call: Call) -> int | None:
    return 1 if call.creates and not call.flag("bundle") else None


@mutant("command-line/id[create]")
def id_taken_for_command(call: Call) -> int | None:
    return 1 if call.args[call.at + 1 :] and call.args[-1] in COMMANDS else None


@mutant("command-line/pid-file[absolute]")
def pid_file_forgotten(call: Call) -> None:
    if "--pid-file" in call.args:
        index = call.args.index("--pid-file")
        del call.args[index : index + 2]


@mutant("command-line/root-flag[--root=X]")
def root_in_one_word_ignored(call: Call) -> None:
    call.args = [arg for arg in call.args if not arg.startswith("--root=")]


@mutant("command-line/unknown-command[alone]")
def unknown_command_accepted(call: Call) -> int | None:
    return 0 if call.command and call.command not in COMMANDS else None


@mutant("command-line/features[silent]", "command-line/version")
def says_hello(call: Call) -> None:
    if call.command == "features" or "--version" in call.args:
        print("hello", file=sys.stderr)


@mutant("command-line/default-cdi-free[kill]")
def reads_specs_always(call: Call) -> int | None:
    if call.command not in ("kill", "delete"):
        return None
    for name in os.listdir("/etc/cdi"):
        with open(f"/etc/cdi/{name}", encoding="utf-8") as file:
            try:
                json.load(file)
            except ValueError:
                return 1
    return None
