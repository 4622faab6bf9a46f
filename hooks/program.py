"""pyshim-hook: the program low-level runtimes start with the container's state on stdin.

    pyshim-hook [--debug] [--quiet] NAME [FLAGS]      as nvidia-cdi-hook and nvidia-ctk hook
    pyshim-hook chain [OPTIONS] NAME [FLAGS] [--next NAME [FLAGS]]...    written by pyshim
    pyshim-hook guard [OPTIONS] -- PATH [ARG...]                         written by pyshim

Exit status 0: done, or the hook is not known (a warning says so). 1: one line on stderr says
what failed. That and warnings go to pyshim's own log as well: crun shows nobody a hook's stderr.
"""

from __future__ import annotations

import sys

from ocishim import posixos
from ocishim.errors import DocumentError, HookError, PyshimError, UsageError, one_line, unblaming
from ocishim.hooks import chain, privileges
from ocishim.linux import privileges as kernel
from ocishim.oci import state
from ocishim.oci.container import Container
from ocishim.oci.hooktable import CHAIN, GUARD, HOOKS, MOVE_NET_DEVICES
from ocishim.rootfs import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ocishim.log import OwnLog
    from ocishim.rootfs.rootfs import Rootfs

USAGE = f"""\
usage: pyshim-hook [--debug] [--quiet] NAME [FLAGS]
       pyshim-hook chain [--rootfs PATH] [--rootfs-id DEV:INO] [--user UID:GID:GROUPS[:held]]
                   [--tmpfs PATH:PATH...] [--timeout SECONDS] [--log FILE] [--log-level LEVEL]
                   [--log-format text|json] [--errors log|caller] NAME [FLAGS]
                   [--next NAME [FLAGS]]...
       pyshim-hook guard --stage NAME --timeout SECONDS [--log FILE] [--log-level LEVEL]
                   [--log-format text|json] -- PATH [ARG...]
       pyshim-hook --version | --help

Runs one CDI hook in the rootfs of the container whose state is on stdin, or described by
--container-spec FILE. Hooks:
  {", ".join(sorted(HOOKS))}
"""
_CHAIN_OPTIONS = (
    "--rootfs", "--rootfs-id", "--user", "--tmpfs", "--timeout", "--log", "--log-level",
    "--log-format", "--errors", "--stage",
)  # fmt: skip
_STDERR = 2


class Call:
    """One command line: the hooks to run and where."""

    __slots__ = ("_state", "debug", "options", "parts", "quiet", "spec_file")

    def __init__(self) -> None:
        self.debug = False
        self.quiet = False
        self.spec_file = ""
        self.options: dict[str, str] = {}
        self.parts: list[list[str]] = []
        self._state: bytes | None = None

    def state(self) -> bytes:
        """The state's text, read when it is first asked for."""
        if self._state is None:
            self._state = b""
            self._state = _read_state(self)
        return self._state

    def seen(self) -> bytes:
        """The state's text if it was read."""
        return self._state or b""


class Reporter:
    """Where warnings, debug lines and the failure go: stderr, and pyshim's own log.

    `state` returns the state's text once there is one; it names the container in the log.
    """

    __slots__ = ("_call", "_log", "state")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._log: OwnLog | None = None
        self.state: Callable[[], bytes] = bytes

    def say(self, level: str, message: str) -> None:
        """Report one sentence, a "warning" or "debug"."""
        wanted = self._call.options.get("--log-level", "info")
        if level == "debug" and wanted != "debug" and not self._call.debug:
            return
        self._own(wanted).write(level, message)
        if not self._call.quiet and (level != "debug" or self._call.debug):
            _write(f"pyshim-hook: {level}: {message}")

    def fail(self, message: str) -> int:
        """Report the failure that ends the program, last of all; return the exit status."""
        _write(f"pyshim-hook: {message}")
        _drain(self._call)
        if self._call.options.get("--errors") != "caller":  # pyshim, which logs it itself
            self.state = self._call.seen
            self._own("error").write("error", message)
        return 1

    def _own(self, wanted: str) -> OwnLog:
        if self._log is None:
            from ocishim.log import LEVELS, OwnLog  # noqa: PLC0415 - most runs say nothing

            level = wanted if wanted in LEVELS else "info"
            file = self._call.options.get("--log", "")
            self._log = OwnLog(file, level, "", self._call.options.get("--log-format", "text"))
        self._log.subject = self._container()
        return self._log

    def _container(self) -> str:
        """The container's id, as far as it is known."""
        try:
            return state.parse(self.state()).id
        except DocumentError:
            return ""


def _write(line: str) -> None:
    """One line on stderr, of a length that runtimes and people can bear.

    A runtime puts all of a failed hook's into its own error, whose words Podman reads.
    """
    _print(one_line(unblaming(line)) + "\n", _STDERR)


def _print(text: str, fd: int = 1) -> None:
    """Write `text`; a hook whose output is closed or full still works."""
    try:
        posixos.write(fd, text.encode())
    except OSError:
        pass


def parse(words: list[str]) -> Call:
    """Read the command line up to the hooks' own flags; UsageError for an unknown option."""
    call = Call()
    words = _switches(call, words)
    if words[:1] == ["hook"]:  # nvidia-ctk hook NAME
        words = _switches(call, words[1:])
    if words[:1] == [CHAIN]:
        call.parts = chain.split(_options(call, words[1:]))
    elif words:
        call.parts = [_without_spec_file(call, words)]
    return call


def _options(call: Call, words: list[str]) -> list[str]:
    while words and words[0] in _CHAIN_OPTIONS:
        if len(words) == 1:
            raise UsageError(f"option {words[0]} needs a value")
        call.options[words[0]] = words[1]
        words = words[2:]
    return words


def _switches(call: Call, words: list[str]) -> list[str]:
    while words and words[0].startswith("-"):
        if words[0] in ("--debug", "-debug", "-d"):
            call.debug = True
        elif words[0] in ("--quiet", "-quiet", "-q"):
            call.quiet = True
        else:
            raise UsageError(f"unknown option {words[0]!r}")
        words = words[1:]
    return words


def _without_spec_file(call: Call, words: list[str]) -> list[str]:
    """Take `--container-spec FILE` out of a hook's flags: every hook has it."""
    rest = []
    remaining = iter(words)
    for word in remaining:
        name, separator, value = word.partition("=")
        if name not in ("--container-spec", "-container-spec"):
            rest.append(word)
            continue
        call.spec_file = value if separator else next(remaining, "")
        if not call.spec_file:
            raise UsageError("flag '--container-spec' needs a value")
    return rest


def run(call: Call, reporter: Reporter) -> None:
    """Run the hooks of `call`; PyshimError or OSError of the first failure."""
    if not call.parts:
        reporter.say("warning", "no hook named, nothing done")
    steps = chain.parse(call.parts, reporter.say)
    if not steps:
        return
    kernel.raise_limits()
    if "--timeout" in call.options:
        privileges.set_deadline(privileges.seconds_of(call.options["--timeout"]))
    reporter.state = call.state
    privileges.limit(step.name for step in steps)
    posixos.umask(0o022)  # for folders that hooks make, whatever the engine's umask is
    with _open_rootfs(call) as rootfs:
        chain.apply(rootfs, steps, reporter.say)


def _drain(call: Call) -> None:
    """Take a state that nobody needed: crun 1.8 fails when a hook ends before it has written it.

    Last, since the runtime writes it when it comes to that, up to 1.5 ms after the hook's start.
    What is wrong with it, or our deadline, changes nothing any more: all has been done and told.
    """
    if call.spec_file or posixos.isatty(0):
        return
    try:
        call.state()
    except (PyshimError, OSError):
        pass


def _read_state(call: Call) -> bytes:
    if not call.spec_file:
        return state.read(0)
    fd = posixos.open(call.spec_file, posixos.O_RDONLY | posixos.O_CLOEXEC | posixos.O_NONBLOCK)
    try:
        return state.read(fd, call.spec_file)
    finally:
        posixos.close(fd)


def _open_rootfs(call: Call) -> Rootfs:
    """The rootfs pyshim named, else the one the state leads to."""
    path = call.options.get("--rootfs") or state.rootfs_path(
        state.parse(call.state(), call.spec_file or "state on stdin")
    )
    known = call.options.get("--rootfs-id")
    rootfs = locate.open_rootfs(path, locate.parse_identity(known) if known else None)
    told = Container.from_options(call.options) if "--rootfs" in call.options else None
    rootfs.container = lambda: told or state.container(state.parse(call.state()))
    return rootfs


def main(words: list[str]) -> int:
    """Run the program with the arguments after its name; return the exit status."""
    if words[:1] in (["--help"], ["-h"], ["-help"]) or {"--help", "-h"} & set(words[1:2]):
        _print(USAGE)
        return 0
    if words[:1] in (["--version"], ["-v"], ["-version"]):
        from ocishim import __version__  # noqa: PLC0415 - people only

        _print(f"pyshim-hook {__version__}\n")
        return 0
    posixos.keep_children()
    call = Call()
    reporter = Reporter(call)
    try:
        if words[:1] == [GUARD]:
            from ocishim.hooks import guard  # noqa: PLC0415 - hooks of others are rare

            guard.run(_options(call, words[1:]), call.options, call.state())
            return 0
        if words[:1] == [MOVE_NET_DEVICES]:
            _move_net_devices(words[1:])
            return 0
        call = parse(words)
        reporter = Reporter(call)
        run(call, reporter)
        _drain(call)
    except (PyshimError, OSError) as error:
        reporter.fail(chain.reason(error))
        return error.status if isinstance(error, HookError) else 1
    except MemoryError:
        return reporter.fail("out of memory")
    except Exception as error:  # noqa: BLE001 - a fault of ours is one line, too
        return reporter.fail(f"internal error: {type(error).__name__}: {error}")
    return 0


def _move_net_devices(words: list[str]) -> None:
    """Run the one hook that works on the container's network, not on its rootfs."""
    from ocishim.hooks import net_devices  # noqa: PLC0415 - pyroute2 costs 100 ms, and it is rare

    privileges.limit([MOVE_NET_DEVICES])
    net_devices.run(words, state.parse(state.read(0)))


def start(words: list[str] | None = None) -> NoReturn:
    """Run the program for `words`, by default those after its name, and end the process at once.

    Taking the interpreter down in order costs 1.5 ms; nothing here waits for it: descriptors are
    written to directly, children are waited for.
    """
    posixos.open_standard()
    posixos._exit(main(sys.argv[1:] if words is None else words))
