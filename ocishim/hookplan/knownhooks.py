"""The CDI hooks pyshim knows: recognise them, and fuse neighbours into one process.

Pure. A known hook is a name and flags of ours, whatever program carries it; what the flags' values
mean is the hooks' package's business. Sources: CDI hooks as nvidia-container-toolkit v1.20 writes
them; CVE-2025-23266 for the environment.
"""

from __future__ import annotations

from ocishim.errors import HookError, quoted
from ocishim.oci.hooktable import CHAIN, HOOKS, NEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ocishim.oci.types import Hook

LONGEST = 1_000_000
"""Seconds, eleven days: poll(2) counts milliseconds in an int."""

MINIMAL_ENV = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
"""The environment of a hook that names none."""


_OURS = "pyshim-hook"
_SWITCHES = ("--debug", "-d", "--quiet", "-q")


class Part:
    """One known hook: its name and its flags as written."""

    __slots__ = ("args", "name")

    def __init__(self, name: str, args: list[str]) -> None:
        self.name = name
        self.args = args

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and (self.name, self.args) == (other.name, other.args)

    def __hash__(self) -> int:
        return hash((self.name, *self.args))

    @property
    def writes(self) -> bool:
        """True when the hook writes to the rootfs."""
        return HOOKS[self.name].writes

    @property
    def devices(self) -> bool:
        """True when the hook looks for the container's device nodes."""
        return HOOKS[self.name].devices

    def describe(self) -> str:
        """Return the hook as a person would type it."""
        return _typed((self.name, *self.args))


class Planned:
    """A hook, and the known hooks it stands for: none where its program is to be run."""

    __slots__ = ("hook", "parts")

    def __init__(self, hook: Hook, parts: list[Part] | None = None) -> None:
        """`parts`: where they are known; else they are read from the hook."""
        self.hook = hook
        self.parts = parse(hook) if parts is None else parts

    def names(self) -> list[str]:
        """Return what runs, by name: the known hooks, or the program."""
        return [part.name for part in self.parts] or [str(self.hook.get("path"))]

    def writing(self, *, writes: bool = True) -> list[Part]:
        """Return the known hooks that write to the rootfs, or those that do not."""
        return [part for part in self.parts if part.writes == writes]


def parse(hook: Hook) -> list[Part]:
    """Return the known hooks that `hook` stands for; none when pyshim does not know it or a flag.

    `nvidia-cdi-hook NAME`, `nvidia-ctk hook NAME`, `pyshim-hook NAME` at whatever path, and
    pyshim's own chain of several.
    """
    program, words = _split(hook)
    if program == _OURS and words[:1] == [CHAIN]:
        return _split_chain(words[1:])
    return _part(words)


def unread(hook: Hook) -> str:
    """Return the command line of a hook of a known name and flags that are not ours, or ""."""
    _, words = _split(hook)
    return _typed(words) if words and words[0] in HOOKS and not _part(words) else ""


def _typed(words: Iterable[str]) -> str:
    return " ".join(map(quoted, words))


def _split(hook: Hook) -> tuple[str, list[str]]:
    """Return the program's name and the words from the hook's name on; none of others' programs."""
    program = str(hook.get("path", "")).rpartition("/")[2]
    args = hook.get("args")
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        return program, []
    if program == "pyshim" and args[:1] == [_OURS]:
        program = _OURS  # the static file alone, without links
    words = args[1:]
    if program == "nvidia-ctk":
        words = _skip_switches(words)
        if words[:1] != ["hook"]:
            return program, []
        words = words[1:]
    elif program not in ("nvidia-cdi-hook", _OURS):
        return program, []
    return program, _skip_switches(words)


def _skip_switches(words: list[str]) -> list[str]:
    while words and words[0] in _SWITCHES:
        words = words[1:]
    return words


def _part(words: list[str]) -> list[Part]:
    if not words or words[0] not in HOOKS or NEXT in words:
        return []
    name, *args = words
    return [Part(name, args)] if HOOKS[name].takes(args) else []


def _split_chain(words: list[str]) -> list[Part]:
    """Split `[--option value]... NAME ARG... --next NAME ARG...`.

    None of it when one part is unknown: a chain of a newer pyshim keeps its program.
    """
    while words and words[0].startswith("-"):
        words = words[2:]
    parts: list[Part] = []
    while words:
        end = words.index(NEXT) if NEXT in words else len(words)
        part = _part(words[:end])
        if not part:
            return []
        parts += part
        words = words[end + 1 :]
    return parts


def lacks_environment(hook: Hook) -> bool:
    """Whether a hook names no environment and is to get the minimal one.

    runc before 1.3 starts a createContainer hook that names none with the image's environment,
    as root of the host (CVE-2025-23266). An empty list counts as none: Go programs, and there may
    be one below us, leave an empty list out when they write config.json again.
    """
    return not hook.get("env")


def fuse(
    hooks: Iterable[Planned], make: Callable[[list[Part], int], Planned], timeout: int
) -> list[Planned]:
    """Return `hooks` with neighbouring known ones made one by `make(parts, timeout)`.

    Duplicates of known hooks go: the first of them stays, of update-ldcache the last of its
    neighbours, since it must see what the others made. `timeout` (seconds) stands in for a hook
    that sets none; the chain gets the longest of its parts.
    """
    result: list[Planned] = []
    run: list[Part] = []
    seen: set[Part] = set()
    longest = 0
    for hook in hooks:
        if hook.parts:
            longest = max(longest, timeout_of(hook.hook, timeout))
            run += hook.parts
            continue
        _flush(run, seen, result, make, longest)
        run, longest = [], 0
        result.append(hook)
    _flush(run, seen, result, make, longest)
    return result


def _flush(
    run: list[Part],
    seen: set[Part],
    result: list[Planned],
    make: Callable[[list[Part], int], Planned],
    timeout: int,
) -> None:
    kept: list[Part] = []
    for part in run:
        if part.name == "update-ldcache":
            kept = [other for other in kept if other != part]
        elif part in seen:
            continue
        seen.add(part)
        kept.append(part)
    if kept:
        result.append(make(kept, timeout))


def timeout_of(hook: Hook, default: int) -> int:
    """Return the hook's timeout in seconds, `default` when it sets none that counts."""
    value = hook.get("timeout")
    return min(value, LONGEST) if isinstance(value, int) and value > 0 else default


def must_be_utf8(*words: str) -> None:
    """Raise HookError for a word of a hook that JSON, which is UTF-8 (RFC 8259), cannot say.

    A runtime would read other bytes as U+FFFD and start another program, or none.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise HookError(
                f"{word} is not UTF-8, and config.json can name nothing else to a hook",
                hint="install pyshim, and let the engine keep its bundles, where the path is UTF-8",
            ) from None
