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

    Serve = Callable[[int, list[str]], None]

NAME = b"pyshim-warm"
"""What chain.sh looks for in /proc/PID/comm, which takes 15 bytes (proc(5))."""

# The pipes' ends; chain.sh opens the second and the third in /proc/PID/fd.
REQUESTS, REQUESTS_END, ANSWERS, ANSWERS_END = 3, 4, 5, 6
STANDARD = (0, 1, 2)

_READY = 63


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
    """Start the process, which calls `serve(pid of the runtime, words)` and ends.

    Returns when it can be found, 0.2 ms: one that the hook misses would wait for nothing, and
    `crun run` ends with its last child. No failure counts: where there is no process left, the
    low-level runtime will say so.
    """
    runtime = os.getpid()
    try:
        ready, ready_end = os.pipe()
        child = os.fork()
    except OSError:
        return
    if not child:
        try:
            _settle(ready_end)
            serve(runtime, words)
        finally:
            os._exit(0)
    os.close(ready_end)
    os.read(ready, 1)
    os.close(ready)


def _settle(ready: int) -> None:
    """Let go of all that the engine gave us, make the pipes, take the name, close `ready`."""
    os.dup2(ready, _READY)
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) != _READY:
                os.close(int(name))
        except OSError:  # the listing's own
            continue
    for _ in STANDARD:
        os.open("/dev/null", os.O_RDWR)
    for _ in range(2):
        os.pipe()
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(comm, NAME)
    os.close(comm)
    os.close(_READY)
