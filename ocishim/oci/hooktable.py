"""Every CDI hook pyshim has, one row each, for hookplan/, hooks/ and the generator of specs.

A hook named `a-b` is the module `a_b` of hooks/. Pure.
"""

from __future__ import annotations

CHAIN, NEXT = "chain", "--next"
"""`pyshim-hook chain [OPTIONS] NAME [FLAGS] [--next NAME [FLAGS]]...` runs several hooks."""
GUARD = "guard"
"""`pyshim-hook guard [OPTIONS] -- PATH [ARG...]` runs one that pyshim does not know."""
NEVER, ASKED, ALWAYS = "never", "asked", "always"
"""When `pyshimctl cdi generate` writes a hook."""


class Row:
    """One hook.

    flags: those it takes, each with a value. writes: whether it writes to the rootfs; else it only
    mounts. needs: capabilities its work needs (capabilities(7)), a chain keeps the sum of its
    hooks' and no other. devices: whether it looks for the container's device nodes. generated:
    NEVER, ASKED or ALWAYS.
    """

    __slots__ = ("devices", "flags", "generated", "needs", "writes")

    def __init__(
        self, *flags: str, needs: tuple[str, ...] = (), writes: bool = True, devices: bool = False,
        generated: str = NEVER,
    ) -> None:  # fmt: skip
        self.flags = flags
        self.needs = needs
        self.writes = writes
        self.devices = devices
        self.generated = generated

    def takes(self, args: list[str]) -> bool:
        """Whether `args` are its flags and their values, as hooks/flags.py reads them."""
        words = iter(args)
        for word in words:
            name, separator, _ = word.lstrip("-").partition("=")
            if len(word) - len(word.lstrip("-")) not in (1, 2) or name not in self.flags:
                return False
            if not separator and next(words, None) is None:
                return False
        return True


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
    "chmod": Row("mode", "path", needs=(*_FILES, "FSETID"), generated=ASKED),
    "create-soname-symlinks": Row("folder", "ldconfig-path", needs=(*_FILES, *_AS_USER)),
}  # fmt: skip

MOVE_NET_DEVICES = "move-net-devices"
"""The createRuntime hook that is no CDI hook: hookplan/netdevices.py writes it."""
NET_NEEDS = ("NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")
