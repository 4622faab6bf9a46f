"""`pyshim-hook guard`: run one hook that pyshim does not know, so that its timeout holds.

runc reads what a hook says until nobody is left who could say more: a child that keeps its output
open makes a create wait for as long as the child likes (runc, libcontainer/configs, Command.Run).
Here that output is ours, and what the hook said last is logged.
What a hook that succeeds leaves running stays: it may be meant to.
"""

from __future__ import annotations

from ocishim import posixos, start
from ocishim.errors import UsageError
from ocishim.executor.hookrunner import Runner
from ocishim.hooks.privileges import seconds_of
from ocishim.linux import process
from ocishim.linux.privileges import kill_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.oci.types import Hook


def run(words: list[str], options: dict[str, str], state: bytes) -> None:
    """Run the program after `--` in `words`, with the arguments after it, argv[0] first.

    options: --stage, the list it stands in, and --timeout in seconds. state: what stdin has for it.
    Raises HookError when it fails.
    """
    timeout = seconds_of(options.get("--timeout", ""))
    if words[:1] != ["--"] or len(words) == 1:
        raise UsageError("guard: no program named")
    kill_after(timeout + 1)  # also when stopped
    # runc 1.1 leaves its init's sockets and log open to hooks, and waits for the log's end.
    process.close_on_exec(3)
    start.restore_locale()  # what the hook gets is what we got
    path, *args = words[1:]
    hook: Hook = {"path": path, "args": args, "env": posixos.environment(), "timeout": timeout}
    with Runner(options.get("--stage", "createContainer"), state) as runner:
        runner.run([hook])
