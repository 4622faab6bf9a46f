"""The command line: whoever stands before a runtime must not be noticed.

Engines talk to a runtime by arguments, descriptors, signals and exit status alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from kit.case import CLI, ENGINE, SPEC, area, check, equal

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

case = area("command-line")
FEATURES = SPEC + "features.md"


@case(
    "exit-status",
    "the container's exit status is run's",
    ENGINE + "conmon, containerd: wait4",
    {str(status): status for status in (0, 1, 2, 3, 42, 126, 127, 128, 254, 255)},
)
def exit_status(lab: Lab, status: int) -> None:
    done = lab.run(lab.bundle(f"exit {status}"))
    equal((done.status, done.err), (status, ""), "run's exit status and stderr")


@case(
    "killed",
    "death by a signal is exit status 128 + number",
    "POSIX shell, 2.8.2",
    {name: name for name in ("KILL", "TERM", "INT", "SEGV", "USR1")},
)
def killed(lab: Lab, name: str) -> None:
    # The first process of a namespace ignores what it does not handle (pid_namespaces(7)).
    done = lab.run(lab.bundle(f"sh -c 'kill -{name} $$'; exit $?"))
    equal(done.status, 128 + getattr(signal, f"SIG{name}"), "run's exit status")


@case(
    "signal",
    "a signal for the process in the foreground is the container's",
    ENGINE + "conmon and shells signal the process they started",
    {name: name for name in ("TERM", "INT", "HUP", "USR1", "USR2")},
)
def forwarded(lab: Lab, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    loop = "i=0; while [ $i -lt 300 ]; do sleep 0.05; i=$((i+1)); done"
    script = f"trap 'exit 77' {name}; echo ready; {loop}"
    bundle = lab.bundle(script)
    with subprocess.Popen(
        lab.command("run", "--bundle", bundle.path, lab.id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        equal(process.stdout.readline(), b"ready\n", "stdout")
        process.send_signal(number)
        equal(process.wait(20), 77, "run's exit status")


@case(
    "kill",
    "This operation MUST send the specified signal to the container process.",
    SPEC + "runtime.md Kill",
    {name: name for name in ("TERM", "15", "USR1", "KILL", "9")},
)
def kill(lab: Lab, name: str) -> None:
    plain = {"15": "TERM", "9": "KILL"}.get(name, name)
    trap = f"trap 'echo {plain} > /got; exit 0' {plain}; " if plain != "KILL" else ""
    bundle = lab.bundle(f"{trap}touch /ready; while :; do sleep 0.05; done")
    lab.creates(bundle)
    lab.starts()
    lab.until(lambda: os.path.exists(f"{bundle.rootfs}/ready"), "the container is ready")
    equal(lab.call("kill", lab.id, name).status, 0, "kill's exit status")
    lab.wait_for("stopped")
    if trap:
        equal(lab.read(f"{bundle.rootfs}/got"), f"{plain}\n", "what the container got")


@case(
    "stdin",
    "The runtime MUST pass its stdin file descriptor through to the container process "
    "without manipulation or modification.",
    CLI + "create",
    {
        "nothing": b"",
        "a line": b"one\n",
        "no newline": b"end",
        "binary": bytes(range(256)) * 8,
        "a megabyte": b"0123456789abcde\n" * 65536,
    },
)
def stdin(lab: Lab, text: bytes) -> None:
    bundle = lab.bundle("cat > /seen")
    lab.runs(bundle, stdin=text)
    with open(f"{bundle.rootfs}/seen", "rb") as file:
        equal(file.read() == text, True, "the container read what it was given")


@case(
    "stdin-unread",
    "the runtime MUST not seek on the file descriptor, or close it, or read or write to it",
    CLI + "create",
    {"create": False, "create and start": True},
)
def stdin_unread(lab: Lab, started: bool) -> None:  # noqa: FBT001
    bundle = lab.bundle("exec sleep 30")
    read_end, write_end = os.pipe()
    os.write(write_end, b"mine\n")
    command = lab.command("create", "--bundle", bundle.path, lab.id)
    equal(
        subprocess.call(
            command,
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
        0,
        "create's exit status",
    )
    if started:
        lab.starts()
    equal(os.read(read_end, 100), b"mine\n", "what is left to read")


@case(
    "stdout",
    "The runtime MUST pass its stdout file descriptor through to the container process "
    "without manipulation or modification.",
    CLI + "create",
    {"nothing": "", "a line": "one\n", "no newline": "end", "escapes": "\033[1m%s\\n"},
)
def stdout(lab: Lab, text: str) -> None:
    bundle = lab.bundle("cat /text")
    with open(f"{bundle.rootfs}/text", "w", encoding="utf-8") as file:
        file.write(text)
    done = lab.runs(bundle)
    equal((done.out, done.err), (text, ""), "stdout and stderr")


@case(
    "stderr",
    "When `create` exists with a zero code, the runtime MUST pass its stderr file "
    "descriptor through to the container process without manipulation or modification.",
    CLI + "create",
    {"alone": "echo problem >&2", "beside stdout": "echo out; echo problem >&2"},
)
def stderr(lab: Lab, script: str) -> None:
    equal(lab.runs(lab.bundle(script)).err, "problem\n", "stderr")


@case(
    "same-file",
    "pass its ... file descriptor through to the container process",
    CLI + "create",
    {"stdin": 0, "stdout": 1, "stderr": 2},
)
def same_file(lab: Lab, number: int) -> None:
    """The very file, not a pipe with a copier behind it."""
    files = [open(f"{lab.dir}/fd{i}", "w+b") for i in range(3)]
    # A shell of its own for stat: busybox would redirect the one that is looked at.
    bundle = lab.bundle(f"(stat -L -c %i /proc/$$/fd/{number} > /seen); true")
    command = lab.command("create", "--bundle", bundle.path, lab.id)
    equal(subprocess.call(command, stdin=files[0], stdout=files[1], stderr=files[2]), 0, "status")
    lab.starts()
    lab.wait_for("stopped")
    inode = os.fstat(files[number].fileno()).st_ino
    equal(lab.read(f"{bundle.rootfs}/seen"), f"{inode}\n", "inode")


@case(
    "listen-fds",
    "`LISTEN_FDS=2` would mean that the runtime MUST pass file descriptors 3 and 4 "
    "to the container process",
    CLI + "create",
    {"1": 1, "2": 2, "3": 3},
)
def listen_fds(lab: Lab, count: int) -> None:
    bundle = lab.bundle("for n in 3 4 5; do cat <&$n; done > /seen 2>/dev/null; true")
    paths = [f"{lab.dir}/passed{number}" for number in range(count)]
    redirect = " ".join(f"{3 + number}<{path}" for number, path in enumerate(paths))
    for number, path in enumerate(paths):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"file {number}\n")
    command = [
        "/bin/sh",
        "-c",
        f'LISTEN_PID=$$ LISTEN_FDS={count} exec "$0" "$@" {redirect}',
        *lab.command("create", "--bundle", bundle.path, lab.id),
    ]
    equal(lab.execute(command).status, 0, "create's exit status")
    lab.starts()
    lab.wait_for("stopped")
    seen = lab.read(f"{bundle.rootfs}/seen").splitlines()
    equal(seen, [f"file {number}" for number in range(count)], "what the container reads")


@case(
    "no-leaks",
    "only the descriptors 0 to 2 and those of LISTEN_FDS are the container's",
    SPEC + "runtime-linux.md File descriptors",
)
def no_leaks(lab: Lab) -> None:
    bundle = lab.bundle("(cat <&7) 2>/dev/null && echo leaked; true")
    command = [
        "/bin/sh",
        "-c",
        f'exec "$0" "$@" 7<{bundle.config}',
        *lab.command("run", "--bundle", bundle.path, lab.id),
    ]
    equal(lab.execute(command).out, "", "what descriptor 7 gives")


@case(
    "environment",
    "process.env is the container's environment: the caller's is not added",
    SPEC + "config.md process.env",
)
def environment(lab: Lab) -> None:
    env = {**os.environ, "CALLERS_SECRET": "1", "LD_LIBRARY_PATH": "/nowhere"}
    done = lab.runs(lab.bundle("env"), env=env)
    check("CALLERS_SECRET" not in done.out, done.out)
    check("LD_LIBRARY_PATH" not in done.out, done.out)
    check("TERM=dumb" in done.lines, done.out)


def _bundles(lab: Lab) -> tuple[Bundle, Bundle]:
    return lab.bundle("echo right", name="right one"), lab.bundle("echo wrong", name="wrong")


@case(
    "bundle",
    "`--bundle <PATH>` Override the path to the bundle directory (defaults to the "
    "current working directory).",
    CLI + "create",
    {
        "--bundle X": ("--bundle", "{}"),
        "--bundle=X": ("--bundle={}",),
        "trailing slash": ("--bundle", "{}/"),
        "relative": ("--bundle", "../right one"),
        "dots": ("--bundle", "{}/./"),
    },
)
def bundle_named(lab: Lab, form: tuple[str, ...]) -> None:
    """The working directory is another bundle, as in a pod under containerd."""
    right, wrong = _bundles(lab)
    flags = [part.format(right.path) for part in form]
    done = lab.call("run", *flags, lab.id, cwd=wrong.path)
    equal((done.status, done.out, done.err), (0, "right\n", ""), "status, stdout, stderr")


@case("bundle-default", "defaults to the current working directory", CLI + "create")
def bundle_default(lab: Lab) -> None:
    right, _ = _bundles(lab)
    equal(lab.call("run", lab.id, cwd=right.path).out, "right\n", "stdout")


@case(
    "id",
    "The option parsing MUST be such that `funC <COMMAND>` is unambiguously an invocation "
    "of `<COMMAND>`",
    CLI + "Global options",
    {name: name for name in ("create", "run", "restore", "delete", "start", "state", "features")},
)
def named_like_a_command(lab: Lab, name: str) -> None:
    lab.id = name
    bundle = lab.bundle("sleep 30")
    lab.creates(bundle)
    before = bundle.bytes
    state = lab.state()
    equal((state["id"], state["status"]), (name, "created"), "state")
    equal(lab.call("kill", name, "KILL").status, 0, "kill's exit status")
    lab.wait_for("stopped")
    equal(bundle.bytes, before, "config.json")
    equal(lab.call("delete", name).status, 0, "delete's exit status")
    lab.gone()


@case(
    "pid-file",
    "`--pid-file <PATH>` The runtime MUST write the container PID to this path.",
    CLI + "create",
    {"absolute": "{dir}/pid", "relative": "pid", "with =": "=pid"},
)
def pid_file(lab: Lab, path: str) -> None:
    bundle = lab.bundle("sleep 30")
    path = path.format(dir=lab.dir)
    flags = [f"--pid-file{path}"] if path.startswith("=") else ["--pid-file", path]
    lab.creates(bundle, *flags, cwd=lab.dir)
    equal(lab.read(f"{lab.dir}/pid"), str(lab.state()["pid"]), "the pid file")


@case(
    "root-flag",
    "Global options MAY take positional arguments (e.g. `--log-level debug`).",
    CLI + "Global options",
    {"--root X": ["--root", "{}"], "--root=X": ["--root={}"]},
)
def root_flag(lab: Lab, form: list[str]) -> None:
    flags = [part.format(f"{lab.dir}/elsewhere") for part in form]
    command = [*lab.setting.runtime, *flags]
    bundle = lab.bundle("true")
    done = lab.execute([*command, "create", "--bundle", bundle.path, lab.id])
    equal(done.status, 0, "create's exit status")
    state = lab.execute([*command, "state", lab.id])
    equal(json.loads(state.out)["id"], lab.id, "id")
    check(
        lab.id in os.listdir(f"{lab.dir}/elsewhere") or os.listdir(f"{lab.dir}/elsewhere"),
        "nothing in --root",
    )
    lab.gone()  # the lab's own --root is another


@case(
    "unknown-command",
    "If the runtime is invoked with an unrecognized command, it MUST exit with a nonzero exit code",
    CLI + "Global options",
    {"alone": ["frobnicate"], "with an argument": ["frobnicate", "create"]},
)
def unknown_command(lab: Lab, args: list[str]) -> None:
    check(lab.call(*args).status != 0, "exit status 0")


@case(
    "features",
    "`features` prints JSON on stdout and nothing on stderr: CRI-O reads both as one",
    ENGINE + "cri-o internal/oci, CombinedOutput; " + FEATURES,
    {"ociVersionMin": "ociVersionMin", "ociVersionMax": "ociVersionMax", "silent": ""},
)
def features(lab: Lab, key: str) -> None:
    done = lab.execute([*lab.setting.runtime, "features"])
    equal((done.status, done.err), (0, ""), "status and stderr")
    said = json.loads(done.out)
    check(not key or isinstance(said.get(key), str), f"no {key} in {done.out[:300]}")


@case(
    "version", "`--version` prints on stdout and nothing on stderr", ENGINE + "cri-o, podman info"
)
def version(lab: Lab) -> None:
    done = lab.execute([*lab.setting.runtime, "--version"])
    equal((done.status, done.err), (0, ""), "status and stderr")
    check(done.out.strip(), "nothing on stdout")


@case(
    "default-cdi-free",
    "a broken CDI spec MUST NOT keep other commands from working",
    "a broken file must not block kill and delete",
    {"kill": "kill", "delete": "delete"},
)
def broken_spec(lab: Lab, command: str) -> None:
    lab.creates(lab.bundle("sleep 30"))
    lab.cdi("{broken")
    args = ["kill", lab.id, "KILL"] if command == "kill" else ["delete", "--force", lab.id]
    done = lab.call(*args)
    equal((done.status, done.err), (0, ""), "status and stderr")
