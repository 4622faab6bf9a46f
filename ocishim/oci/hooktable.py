"""Every CDI hook pyshim has, one row each, for hookplan/, hooks/ and the generator of specs.

A hook named `a-b` is the module `a_b` of hooks/, which tells people what is wrong with a value.
Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN, NEXT = "chain", "--next"
"""`pyshim-hook chain [OPTIONS] NAME [FLAGS] [--next NAME [FLAGS]]...` runs several hooks."""
GUARD = "guard"
"""`pyshim-hook guard [OPTIONS] -- PATH [ARG...]` runs one that pyshim does not know."""
NEVER, ASKED, ALWAYS = "never", "asked", "always"
"""When `pyshimctl cdi generate` writes a hook."""


class Row:
    """One hook.

    flags: those it takes, each with a value. required: the one it cannot do without. writes:
    whether it writes to the rootfs; else it only mounts. needs: capabilities its work needs
    (capabilities(7)), a chain keeps the sum of its hooks' and no other. devices: whether it looks
    for the container's device nodes. generated: NEVER, ASKED or ALWAYS.
    """

    __slots__ = ("devices", "flags", "generated", "needs", "required", "writes")

    def __init__(
        self, *flags: str, required: str = "", needs: tuple[str, ...] = (), writes: bool = True,
        devices: bool = False, generated: str = NEVER,
    ) -> None:  # fmt: skip
        self.flags = flags
        self.required = required
        self.needs = needs
        self.writes = writes
        self.devices = devices
        self.generated = generated

    def takes(self, args: list[str]) -> bool:
        """Whether `args` are its flags and values it can use, as the hook itself reads them."""
        given = set()
        words = iter(args)
        for word in words:
            name, separator, text = word.lstrip("-").partition("=")
            if len(word) - len(word.lstrip("-")) not in (1, 2) or name not in self.flags:
                return False
            value = text if separator else next(words, None)
            if value is None or "\0" in value or not _VALUES.get(name, _is_any)(value):
                return False
            given.add(name)
        return not self.required or self.required in given


def _is_any(_: str) -> bool:
    return True


def _is_link(text: str) -> bool:
    target, _, path = text.partition("::")
    named = path.rstrip("/").rpartition("/")[2] not in ("", ".", "..")
    return bool(target) and named and "::" not in path


def _is_mode(text: str) -> bool:
    return bool(text) and not text.strip("01234567") and int(text, 8) <= LARGEST_MODE


def is_folder(text: str) -> bool:
    """Whether ld.so.conf can hold it: it has no quoting, "#" and "=" end a path."""
    plain = text == text.strip(" \t\v\f\r") and not any(letter in text for letter in "\n\0#=")
    return bool(text) and plain


LARGEST_MODE = 0o7777
_VALUES: dict[str, Callable[[str], bool]] = {
    "link": _is_link,
    "mode": _is_mode,
    "path": bool,
    "folder": is_folder,
    "ldconfig-path": lambda text: text.startswith("/"),
    "cuda-compat-container-root": bool,
}
"""What a flag's value has to be, for every hook that has it; others may be anything."""


# Files and folders of an image belong to anybody, also in a folder with the sticky bit.
_FILES = ("DAC_OVERRIDE", "FOWNER")
# Where files and folders are read as the container's user.
_AS_USER = ("SETUID", "SETGID")
# ldconfig has namespaces of its own, becomes nobody there, with an empty bounding set, and is
# killed at its deadline; SYS_CHROOT is for where no root can be pivoted (an initramfs).
_LDCONFIG = ("SYS_ADMIN", "SETPCAP", "KILL", "SYS_CHROOT")

HOOKS = {
    "create-symlinks": Row("link", needs=_FILES, generated=ALWAYS),
    "enable-cuda-compat": Row(
        "host-driver-version", "host-cuda-version", "cuda-compat-container-root",
        needs=(*_FILES, *_AS_USER), generated=ALWAYS,
    ),
    "update-ldcache": Row(
        "folder", "ldconfig-path", needs=(*_FILES, *_AS_USER, *_LDCONFIG), generated=ALWAYS
    ),
    "disable-device-node-modification": Row(
        needs=("DAC_OVERRIDE", "SYS_ADMIN"), writes=False, generated=ALWAYS
    ),
    "update-application-profile": Row(needs=_FILES, devices=True, generated=ALWAYS),
    # FSETID keeps a setgid bit that chmod was asked for.
    "chmod": Row("mode", "path", required="mode", needs=(*_FILES, "FSETID"), generated=ASKED),
    "create-soname-symlinks": Row("folder", "ldconfig-path", needs=(*_FILES, *_AS_USER)),
}  # fmt: skip

MOVE_NET_DEVICES = "move-net-devices"
"""The createRuntime hook that is no CDI hook: hookplan/netdevices.py writes it."""
NET_NEEDS = ("NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")
