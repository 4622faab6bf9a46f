"""The process that is warm when the low-level runtime comes to our hooks: its fork, its pipes.

An interpreter needs 7 ms to start and the hooks' modules 3 more; a child of pyshim loads them
while the low-level runtime starts. Nothing depends on it: where it is not found, pyshim-hook does
the work. Leaves to hooks/warm.py, which is passed in, what the process does when it is asked, and
to hooks/chain.sh, the hook that the runtime starts, how it is found.
"""

from __future__ import annotations

from ocishim import executor, knownhooks
from ocishim import posixos as os
from ocishim.oci import spec as oci_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ocishim.hookplan import HookPlan

    Serve = Callable[[int, list[str], int, int], None]

NAME = b"pyshim:%d:%d"
"""What chain.sh looks for in /proc/PID/comm, and the descriptors that it opens in /proc/PID/fd."""

STANDARD = (0, 1, 2)

_LONGEST_NAME = 15  # bytes (proc(5))


def arrange(spec: dict[str, Any], plan: HookPlan, hook_program: str) -> list[str]:
    """Have the chains of `spec` started by chain.sh; return the first's command line, or [].

    Not in a user namespace, whose root may not look into our process, and not where pyshim was
    installed without chain.sh.
    """
    program = os.path.join(os.path.dirname(hook_program), knownhooks.CHAIN_PROGRAM)
    if plan.executor != executor.RUNTIME or oci_spec.has_user_namespace(spec):
        return []
    ours = [
        hook
        for hook in (spec.get("hooks") or {}).get("createContainer") or ()
        if hook.get("path") == hook_program and hook["args"][1:2] == [knownhooks.CHAIN]
    ]
    if not ours or not os.access(program, os.X_OK):
        return []
    for hook in ours:
        hook["path"] = program
    words: list[str] = ours[0]["args"][1:]
    return words


def fork(serve: Serve, words: list[str]) -> None:
    """Start the process, which calls `serve(pid of the runtime, words, requests, answers)`, ends.

    requests, answers: the ends of pipes that it reads and writes. It has its name, which is ours
    until the exec, from its first moment: one that the hook misses would wait for nothing, and
    `crun run` ends with its last child. No failure counts: where there is no process left, the
    low-level runtime will say so.
    """
    runtime = os.getpid()
    try:
        requests, requests_end = os.pipe()
        answers, answers_end = os.pipe()
        pipes = (requests, requests_end, answers, answers_end)
        name = NAME % (requests_end, answers)
        if len(name) > _LONGEST_NAME or min(pipes) <= STANDARD[-1]:
            return
        _rename(name)
        child = os.fork()
    except OSError:
        return
    if not child:
        try:
            _settle(pipes)
            serve(runtime, words, requests, answers_end)
        finally:
            os._exit(0)
    for fd in pipes:
        os.close(fd)


def _rename(name: bytes) -> None:
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(comm, name)
    os.close(comm)


def _settle(kept: tuple[int, ...]) -> None:
    """Let go of all that the engine gave us."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) not in kept:
                os.close(int(name))
        except OSError:  # the listing's own
            continue
    for _ in STANDARD:
        os.open("/dev/null", os.O_RDWR)
