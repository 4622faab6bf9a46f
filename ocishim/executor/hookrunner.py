"""Run hooks as the runtime-spec wants it: in order, state on stdin, their own environment, in time.

Source: runtime-spec config.md "POSIX-platform Hooks". The caller chose the namespaces, the root
and the working directory (hookprocess.py), and ends what a hook leaves running in the background.
"""

from __future__ import annotations

import os
import select
import time

from ocishim.errors import DocumentError, HookError, shown
from ocishim.hookplan import knownhooks
from ocishim.linux import memfd
from ocishim.oci.members import find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from ocishim.oci.types import Hook

_KEPT_OUTPUT = 8192  # bytes: the end of it, where the reason stands
_SHOWN_LINE = 500  # characters
_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25  # the same on every architecture we have numbers for


class Runner:
    """Runs the hooks of one stage. Owns `state_fd`, a file in memory; use it in a `with`."""

    __slots__ = ("stage", "state_fd")

    def __init__(self, stage: str, state: bytes) -> None:
        """stage: `createContainer`... for messages; state: the state JSON each hook reads."""
        self.stage = stage
        # A file, not a pipe: a hook that reads nothing cannot block us, however long the state.
        self.state_fd = memfd.create("state")
        view = memoryview(state)
        while view:
            view = view[os.write(self.state_fd, view) :]
        memfd.seal(self.state_fd)  # no hook rewrites it for the next

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.state_fd)

    def run(self, hooks: list[Hook]) -> None:
        """Run every hook in order; HookError of the first that fails."""
        for hook in hooks:
            self._run(hook)

    def _run(self, hook: Hook) -> None:
        timeout = knownhooks.timeout_of(hook, 0)
        if hook.get("timeout") and not timeout:
            raise HookError(self._failed(hook, "its timeout is no number of seconds"))
        reader, writer = os.pipe()
        try:
            try:
                pid = self._spawn(hook, writer)
            except OSError as err:
                reason = f"the program cannot be run: {err.strerror}"
                raise HookError(self._failed(hook, reason)) from None
            except DocumentError as err:
                raise HookError(self._failed(hook, err.message)) from None
            except ValueError as err:
                reason = f"the program cannot be run: {err}"
                raise HookError(self._failed(hook, reason)) from None
            finally:
                os.close(writer)
            output = bytearray()
            status = _wait(pid, reader, timeout, output)
        finally:
            os.close(reader)
        if status is None:
            raise HookError(self._failed(hook, f"still running after {timeout} s, killed", output))
        if os.WIFSIGNALED(status):
            reason = f"killed by signal {os.WTERMSIG(status)}"
            raise HookError(self._failed(hook, reason, output))
        if status:
            error = HookError(self._failed(hook, f"exit status {os.WEXITSTATUS(status)}", output))
            error.status = os.WEXITSTATUS(status)
            raise error

    def _spawn(self, hook: Hook, output: int) -> int:
        """Start the hook's program; OSError when that is impossible."""
        path = str(hook.get("path", ""))
        if not path.startswith("/"):  # runc would look from its own working directory
            message = f"path {path!r} is not absolute"
            raise ValueError(message)
        words = [str(arg) for arg in find_list(dict(hook), "args") or [path]]
        environment = _environment(hook)
        if any("\0" in word for word in (path, *words, *environment, *environment.values())):
            message = "a NUL is in its path, arguments or environment"
            raise ValueError(message)
        os.lseek(self.state_fd, 0, os.SEEK_SET)
        return os.posix_spawn(
            path,
            words,
            environment,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self.state_fd, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ),
            setsid=True,  # its own process group, to be killed as one
            setsigmask=(),
            setsigdef=(_SIGPIPE, _SIGXFSZ),  # CPython ignores them
        )

    def _failed(self, hook: Hook, reason: str, output: bytes | bytearray = b"") -> str:
        line = last_line(output)
        own = line.removeprefix("pyshim-hook: ")
        if own != line and own.startswith(f"{self.stage} hook "):
            return own  # a chain names the part that failed, and why
        return f"{self.stage} hook {name(hook)} failed: {reason}" + (f": {line}" if line else "")


def name(hook: Hook) -> str:
    """The hook as messages call it: a known hook's name, else its program's."""
    parts = knownhooks.parse(hook)
    return parts[0].name if len(parts) == 1 else str(hook.get("path", "")).rpartition("/")[2]


def last_line(output: bytes | bytearray) -> str:
    """The last line that says something, safe to print and of a bearable length."""
    lines = [line for line in bytes(output).split(b"\n") if line.strip()]
    text = lines[-1].strip().decode("utf-8", "backslashreplace") if lines else ""
    return shown(text)[:_SHOWN_LINE]


def _environment(hook: Hook) -> dict[str, str]:
    """Exactly the hook's own; an entry without `=` names no variable and is left out."""
    pairs = (str(entry).partition("=") for entry in find_list(dict(hook), "env"))
    return {key: value for key, separator, value in pairs if separator and key}


def _wait(pid: int, reader: int, timeout: float, output: bytearray) -> int | None:
    """Wait for the program, at most `timeout` seconds (0: for ever); None when it was killed.

    Collects the end of what it says. Its children may keep the pipe open: nobody waits for them.
    """
    deadline = time.monotonic() + timeout if timeout else 0.0
    process = os.pidfd_open(pid)
    os.set_blocking(reader, False)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(reader, select.POLLIN)
    try:
        while True:
            left = deadline - time.monotonic() if timeout else 3600.0
            ready = {fd for fd, _ in poll.poll(max(left, 0.0) * 1000)} if left > 0 else set()
            if reader in ready and not _drain(reader, output):
                poll.unregister(reader)
            if process in ready:
                _drain(reader, output)
                return os.waitpid(pid, 0)[1]
            if timeout and time.monotonic() >= deadline:
                os.killpg(pid, _SIGKILL)
                os.waitpid(pid, 0)
                _drain(reader, output)
                return None
    finally:
        os.close(process)


def _drain(reader: int, output: bytearray) -> bool:
    """Take what is there, keep its end; False at the end of the pipe."""
    for _ in range(64):  # 4 MiB; a program that never stops talking must not hold us here
        try:
            chunk = os.read(reader, 1 << 16)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output += chunk
        del output[:-_KEPT_OUTPUT]
    return True
