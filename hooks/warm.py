"""What a warm process does when chain.sh asks: the hooks' work in that process's place.

See ocishim/warmstart.py for the process. It takes the stdin and the stderr of who asks, enters its
mount namespace, runs its command line as program.py would, and answers with the exit status, or
with "no", when chain.sh starts pyshim-hook.

Whom it serves must be a child or grandchild of the runtime, in our user namespace and at its mount
namespace's own root, so that nothing is done here that chain.sh could not do itself. It serves
one, dies with the runtime, and waits no longer than PATIENCE.
"""

from __future__ import annotations

import select

from ocishim import posixos as os
from ocishim import warmstart
from ocishim.errors import PyshimError
from ocishim.hooks import chain, program
from ocishim.linux import const, process, syscalls

PATIENCE = 5.0  # seconds from a runtime's start to its hooks

# chain.sh keeps its stdin and its stderr there; a hook of ours writes nothing to stdout.
_KEPT = {0: 7, 2: 8}
_SIGKILL = 9
_LONGEST = 32  # bytes of a process id and its newline


class Refusal(Exception):  # noqa: N818 - an answer
    """Who asks is not whom we serve."""


def serve(runtime: int, words: list[str], requests: int, answers: int) -> None:
    """Wait for chain.sh below the process `runtime` and serve it; for a process that ends then.

    words: the command line it will have; what needs no rootfs is done ahead. requests, answers:
    descriptors of pipes, to read its process id from and to write the exit status to.
    """
    syscalls.prctl(const.PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != runtime:
        return
    _prepare(words)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    if not poll.poll(PATIENCE * 1000):
        return
    asking = os.read(requests, _LONGEST)
    try:
        words = _become(int(asking), runtime)
    except (Refusal, OSError, ValueError):
        answer = b"no\n"
    else:
        answer = b"%d\n" % program.main(words)
    for fd in warmstart.STANDARD:  # the runtime reads them to their end
        os.close(fd)
    os.write(answers, answer)


def _prepare(words: list[str]) -> None:
    try:
        steps = chain.parse(program.parse(words).parts, lambda _level, _message: None)
    except PyshimError:
        return  # who asks is told
    for step in steps:
        if hasattr(step.module, "prepare"):
            step.module.prepare(step.request)


def _become(pid: int, runtime: int) -> list[str]:
    """Take the descriptors and the mount namespace of `pid`; return its arguments."""
    handle = os.pidfd_open(pid)
    if runtime not in (_parent(pid), _parent(_parent(pid))):
        raise Refusal("not below the runtime")
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):
        raise Refusal("in another user namespace")
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        _shell, _script, *words = file.read().split(b"\0")[:-1]
    root = os.stat(f"/proc/{pid}/root")
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    # Fails if the process id has become another's.
    taken = {fd: process.pidfd_getfd(handle, kept) for fd, kept in _KEPT.items()}
    syscalls.setns(namespace, const.CLONE_NEWNS)
    if not os.path.samestat(root, os.stat("/")):
        raise Refusal("below another root")
    for fd, copy in taken.items():
        os.dup2(copy, fd, inheritable=False)
        os.close(copy)
    os.close(namespace)
    os.close(handle)
    return [os.fsdecode(word) for word in words]


def _parent(pid: int) -> int:
    """Return the parent's process id (proc(5), /proc/PID/stat)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
