"""Read a low-level runtime's command line the way runc, crun, youki and runsc read it.

Pure. Finds the command, the bundle and the log; everything else is the runtime's business and
travels through untouched. Sources: runc main.go and create.go, crun(1), youki's liboci-cli,
runsc's flag package; the calls engines make are in tests/data/engines/*.calls.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

EDITED = ("create", "run", "restore")
"""Commands that read a bundle's config.json; all others pass through."""

COMMANDS = frozenset(
    (
        *EDITED,
        *("start", "state", "kill", "delete", "exec", "ps", "list", "events", "pause", "resume"),
        *("update", "checkpoint", "spec", "features", "init", "help", "version", "do", "wait"),
        *("debug", "boot", "gofer", "flags", "info", "mounts", "port-forward", "read-control"),
        *("umount", "usage", "write-control", "trace", "symbolize", "portforward", "export"),
        *("statefile", "syscalls", "verity-prepare", "nvproxy", "cpu-load", "install", "uninstall"),
        *("completion", "tar", "fscheckpoint", "metric-server", "metric-export", "metric-metadata"),
    )
)

# Global flags whose value is the next argument. A flag that is neither here nor in SWITCHES
# takes the next argument as its value unless that is a command: runsc has a hundred flags.
VALUED = frozenset(
    (
        *("log", "log-format", "log-level", "root", "criu", "cgroup-manager", "l", "r", "platform"),
        "rootless",
    )
)
SWITCHES = frozenset(
    ("debug", "systemd-cgroup", "systemd-log", "version", "v", "V", "help", "h", "s", "usage")
)
_HELPS = frozenset(("version", "v", "V", "help", "h", "usage"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
"""What Go's strconv.ParseBool takes for false: `--help=false` creates."""
_COMMAND_VALUED = frozenset(
    (
        *("bundle", "b", "config", "f", "console-socket", "c", "pid-file", "p", "pidfd-socket"),
        *("preserve-fds", "user-log", "fs-restore-image-path"),
    )
)
_RESTORE_VALUED = _COMMAND_VALUED | {
    *("image-path", "work-path", "parent-path", "manage-cgroups-mode", "empty-ns", "lsm-profile"),
    *("lsm-mount-context", "shell-job-fd"),
}


class Invocation:
    """What pyshim needs to know of one command line.

    command: the command, or "" when there is none. bundle: directory as written, "" for the
    working directory. config_file: crun's --config, the file it reads instead of the bundle's,
    "" when absent. container_id: the last positional argument, "" when missing.
    log, log_format: values of the global flags, "" when absent. helps: the flags by which only
    help or the version is wanted, so nothing will be created. fault: why an edited command cannot
    be understood, "" when it can; kept here so that it can be reported in the log it names, with a
    hint.
    """

    __slots__ = (
        *("bundle", "command", "config_file", "container_id", "fault", "helps", "hint"),
        *("log", "log_format"),
    )

    def __init__(self) -> None:
        self.command = ""
        self.bundle = ""
        self.config_file = ""
        self.container_id = ""
        self.log = ""
        self.log_format = ""
        self.helps: set[str] = set()
        self.fault = ""
        self.hint = "name the bundle's directory"

    @property
    def edits(self) -> bool:
        """True when the command's config.json is pyshim's business."""
        return self.command in EDITED and not self.helps

    def note_help(self, flag: str, value: str) -> None:
        """Note a flag that asks for help, or with a false value does not; the last one counts."""
        if value in _FALSE:
            self.helps.discard(flag)
        else:
            self.helps.add(flag)


def parse(args: Sequence[str]) -> Invocation:
    """Parse the arguments after argv[0].

    A bundle without its value, and a value that runtimes move elsewhere, are a `fault`: editing
    another bundle than the runtime reads would be worse. Every other oddity is left for the
    low-level runtime to judge.
    """
    found = Invocation()
    index = _parse_globals(args, found)
    if index < len(args):
        found.command = args[index]
        if found.command in EDITED:
            _parse_command(args, index + 1, found)
    return found


def _parse_globals(args: Sequence[str], found: Invocation) -> int:
    """Return the index of the command, or len(args)."""
    index = 0
    while index < len(args):
        arg = args[index]
        if not arg.startswith("-") or arg == "-":
            return index
        if arg == "--":
            return index + 1
        name, has_value, value = arg.lstrip("-").partition("=")
        index += 1
        if not has_value and name not in SWITCHES and index < len(args):
            following = args[index]
            if name in VALUED or (following not in COMMANDS and not following.startswith("-")):
                value = following
                index += 1
        _note_global(name, value, found)
    return index


def _note_global(name: str, value: str, found: Invocation) -> None:
    if name in ("log", "l"):
        found.log = value
    elif name == "log-format":
        found.log_format = value
    elif name in _HELPS:
        found.note_help(f"global {name}", value)


def _parse_command(args: Sequence[str], index: int, found: Invocation) -> None:
    """Read the flags of create, run and restore; the last bundle wins, as in all runtimes."""
    valued = _RESTORE_VALUED if found.command == "restore" else _COMMAND_VALUED
    while index < len(args):
        arg = args[index]
        index += 1
        if arg == "--":
            found.container_id = args[-1] if index < len(args) else found.container_id
            return
        if not arg.startswith("-") or arg == "-":
            found.container_id = arg
            continue
        name, has_value, value = _flag(arg)
        if not has_value and name in valued:
            if index == len(args):
                found.fault = f"flag needs an argument: {arg}" if name[0] == "b" else ""
                return
            value = args[index]
            index += 1
            if value in ("-", "--"):  # runc 1.1 moves them behind the flags, 1.3 does not
                found.fault = f"runtimes disagree on '{value}' as the value of {arg}"
                found.hint = f"write {arg}={value}"
        _note_flag(name, value, found)


def _flag(arg: str) -> tuple[str, str, str]:
    """Return a flag's name, "=" when its value is in the same word, and that value.

    crun (argp) takes --bu, --conf..., -bX, -fX, and other short flags before those: -dbX.
    """
    name, has_value, value = arg.lstrip("-").partition("=")
    if arg.startswith("--"):
        if arg.startswith("--b") and "bundle".startswith(name):
            name = "bundle"  # no runtime has another flag there
        elif arg.startswith("--conf") and "config".startswith(name):
            name = "config"
        return name, has_value, value
    short = arg.lstrip("-").lstrip("d")
    if short[:1] not in ("b", "f") or name in _RESTORE_VALUED:
        return name, has_value, value
    return short[0], "=" if short[1:] else "", short[1:]


def _note_flag(name: str, value: str, found: Invocation) -> None:
    if name in ("b", "bundle"):
        found.bundle = value
    elif name in ("config", "f"):
        found.config_file = value
    elif name in ("help", "h"):
        found.note_help(name, value)
