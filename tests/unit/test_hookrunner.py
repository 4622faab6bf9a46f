"""hookrunner: what a hook gets, and what is said of one that fails. Real programs, no root."""

from __future__ import annotations

import os
import time
from pathlib import Path
from signal import SIGPIPE, SIGXFSZ
from typing import Any

import pytest

from ocishim import jsonio
from ocishim.errors import HookError
from ocishim.executor import hookrunner
from tests.hostiletext import CONTROLS

STATE = b'{"ociVersion":"1.0.2","id":"c1","status":"creating","bundle":"/b"}'


def sh(script: str, **members: object) -> Any:
    return {
        "path": "/bin/sh",
        "args": ["sh", "-c", script],
        "env": ["PATH=/usr/bin:/bin"],
        **members,
    }


def run(*hooks: Any, state: bytes = STATE) -> None:
    with hookrunner.Runner("createContainer", state) as runner:
        runner.run(list(hooks))


def failure(*hooks: dict[str, Any], state: bytes = STATE) -> str:
    with pytest.raises(HookError) as caught:
        run(*hooks, state=state)
    return caught.value.message


def test_hooks_run_in_order_each_with_the_whole_state(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(*(sh(f"echo {word} >> {out}; cat >> {out}; echo >> {out}") for word in ("one", "two")))
    assert out.read_bytes() == b"one\n" + STATE + b"\ntwo\n" + STATE + b"\n"


def test_environment_is_exactly_the_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/containerd/lib:")
    out = tmp_path / "out"
    run(
        {"path": "/usr/bin/env", "args": ["env"], "env": ["A=1", "B=x=y", "bare"]}
        | {"path": "/bin/sh", "args": ["sh", "-c", f"exec /usr/bin/env > {out}"]}
    )
    assert sorted(out.read_text().split()) == ["A=1", "B=x=y", f"PWD={os.getcwd()}"]


def test_argv_is_the_path_when_args_are_absent(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $#" > {tmp_path}/out\n')
    program.chmod(0o755)
    run({"path": str(program)})
    assert (tmp_path / "out").read_text() == f"{program} 0\n"


def test_working_directory_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(sh("echo here > made"))
    assert (tmp_path / "made").exists()


def test_signals_python_ignores_are_as_they_were(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(sh(f"grep SigIgn /proc/self/status > {out}"))
    glibc, python = 0x180000000, 1 << SIGPIPE - 1 | 1 << SIGXFSZ - 1
    callers = _ignored(Path("/proc/self/status").read_text()) & ~python  # SIGHUP under nohup
    assert not _ignored(out.read_text()) & ~(glibc | callers)


def _ignored(status: str) -> int:
    line = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return int(line.split()[1], 16)


def octal(text: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in text.encode())


@pytest.mark.parametrize(("hook", "message"), [
    pytest.param(sh("exit 3"), "sh failed: exit status 3", id="status"),
    pytest.param(sh("echo why; exit 1"), "sh failed: exit status 1: why", id="stdout"),
    pytest.param(sh("echo a; echo b >&2; echo; exit 1"), "sh failed: exit status 1: b",
        id="last line"),
    *(pytest.param(sh(f"printf 'a{octal(text)}b\\n'; exit 1"), f"sh failed: exit status 1: a{seen}b",
                   id=name) for name, (text, seen) in CONTROLS.items()),
    pytest.param(sh("printf 'a\\377\\303b\\n'; exit 1"), r"sh failed: exit status 1: a\xff\xc3b",
                 id="bytes that are no text"),
    pytest.param(sh("kill -9 $$"), "sh failed: killed by signal 9", id="signal"),
    *(pytest.param({**sh("true"), "timeout": value}, "sh failed: its timeout is no number of seconds", id=name)
      for name, value in {"a text": "5", "negative": -1, "a fraction": jsonio.Number("0.5"), "a list": [5]}.items()),
    pytest.param({**sh("true"), "args": 5},
        "sh failed: config.json: expected array, found integer in 'args'", id="args"),
    pytest.param({**sh("true"), "env": "A=1"},
        "sh failed: config.json: expected array, found string in 'env'", id="env"),
    pytest.param({"path": "/no/such"}, "such failed: the program cannot be run: No such file or directory",
                 id="missing"),
    pytest.param({"path": "/etc/passwd"}, "passwd failed: the program cannot be run: Permission denied",
                 id="not a program"),
    pytest.param({"path": "sh"}, "sh failed: the program cannot be run: path 'sh' is not absolute",
                 id="relative"),
    pytest.param({"path": "/bin/sh", "args": ["sh\0"]},
                 "sh failed: the program cannot be run: a NUL is in its path, arguments or environment", id="NUL"),
    pytest.param({"path": "/x/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "chmod", "--mode=1"]},
                 "chmod failed: the program cannot be run: No such file or directory", id="known"),
])  # fmt: skip
def test_failures_are_named(hook: dict[str, Any], message: str) -> None:
    assert failure(hook) == f"createContainer hook {message}"


@pytest.mark.parametrize("timeout", [None, 0, 5, True, 10**30])
def test_timeouts_that_do_not_matter(timeout: object) -> None:
    run({**sh("true"), "timeout": timeout})


def test_a_chain_speaks_for_itself(tmp_path: Path) -> None:
    program = tmp_path / "pyshim-hook"
    program.write_text(
        "#!/bin/sh\necho pyshim-hook: createContainer hook chmod failed: no >&2\nexit 1\n"
    )
    program.chmod(0o755)
    assert failure({"path": str(program)}) == "createContainer hook chmod failed: no"


def test_the_first_failure_is_the_last_hook(tmp_path: Path) -> None:
    failure(sh("exit 1"), sh(f"touch {tmp_path}/made"))
    assert not (tmp_path / "made").exists()


def test_timeout_kills_the_group(tmp_path: Path) -> None:
    out = tmp_path / "pid"
    started = time.monotonic()
    message = failure(sh(f"sleep 60 & echo $! > {out}; echo working; wait", timeout=1))
    assert message == ("createContainer hook sh failed: still running after 1 s, killed: working")
    assert time.monotonic() - started < 40
    pid = int(out.read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}") or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.01)
    pytest.fail("the hook's child lives")


def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    started = time.monotonic()
    run(sh("sleep 60 &", timeout=100))
    assert time.monotonic() - started < 40


def test_much_output_is_no_trouble() -> None:
    message = failure(
        sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1", timeout=20)
    )
    assert message == "createContainer hook sh failed: exit status 1: end"


def test_a_hook_that_reads_nothing_does_not_block() -> None:
    run(sh("true", timeout=5), state=b"x" * 1_000_000)


def test_a_hook_cannot_spoil_the_state_for_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(sh("printf spoiled 1<>/proc/self/fd/0 2>/dev/null; exit 0"), sh(f"cat > {out}"))
    assert out.read_bytes() == STATE


def test_nothing_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    failure(sh("exit 1"))
    failure({"path": "/no/such"})
    run(sh("true"))
    assert os.listdir("/proc/self/fd") == before
