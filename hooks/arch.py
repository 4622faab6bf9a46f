"""What differs between amd64 and arm64: one table for all hooks."""

from __future__ import annotations

from ocishim import posixos as os
from ocishim.errors import HookError


class Arch:
    """A machine: its ELF number, Debian's triplet, musl's name, further system folders."""

    __slots__ = ("elf_machine", "folders", "musl", "triplet")

    def __init__(self, elf_machine: int, triplet: str, musl: str, folders: tuple[str, ...]) -> None:
        self.elf_machine = elf_machine
        self.triplet = triplet
        self.musl = musl
        self.folders = folders

    @property
    def musl_loader(self) -> str:
        """The dynamic loader of musl, in the image."""
        return f"/lib/ld-musl-{self.musl}.so.1"

    @property
    def musl_path_file(self) -> str:
        """Where musl's loader reads its library folders."""
        return f"/etc/ld-musl-{self.musl}.path"

    def system_folders(self, *, debian: bool) -> tuple[str, ...]:
        """The folders that the image's own ldconfig searches unasked, in its order."""
        if debian:
            return (f"/lib/{self.triplet}", f"/usr/lib/{self.triplet}", "/lib", "/usr/lib")
        return ("/lib", "/usr/lib", *self.folders)


# elf.h, EM_X86_64 and EM_AARCH64; Debian's multiarch tuples; ldconfig's folders in Fedora.
ARCHES = {
    "x86_64": Arch(
        62, "x86_64-linux-gnu", "x86_64", ("/lib64", "/usr/lib64", "/libx32", "/usr/libx32")
    ),
    "aarch64": Arch(183, "aarch64-linux-gnu", "aarch64", ("/lib64", "/usr/lib64")),
}


def host() -> Arch:
    """Return this machine's row; HookError for one that is not in the table."""
    machine = os.uname().machine
    if machine not in ARCHES:
        raise HookError(f"no library folders known for machine {machine!r}")
    return ARCHES[machine]
