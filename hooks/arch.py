"""What differs between amd64 and arm64: one table for all hooks."""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import HookError


class Arch:
    """A machine: its ELF number, Debian's triplet, musl's name, further system folders.

    cached: which libraries its loaders' cache has, (bits, ELF number), and their flags there.
    signed: whether a byte from 128 on is less than 0 for its C compiler.
    """

    __slots__ = ("cached", "elf_machine", "folders", "musl", "signed", "triplet")

    def __init__(
        self, elf_machine: int, triplet: str, musl: str, folders: tuple[str, ...],
        *, cached: dict[tuple[int, int], int], signed: bool,
    ) -> None:  # fmt: skip
        self.cached = cached
        self.signed = signed
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

    @property
    def multiarch(self) -> tuple[str, str]:
        """Debian's own folders of libraries."""
        return f"/lib/{self.triplet}", f"/usr/lib/{self.triplet}"

    def system_folders(self, *, debian: bool) -> tuple[str, ...]:
        """The folders that the image's own ldconfig searches unasked, in its order."""
        if debian:
            return (*self.multiarch, "/lib", "/usr/lib")
        return ("/lib", "/usr/lib", *self.folders)


# elf.h, EM_X86_64 and EM_AARCH64, beside them EM_386 and EM_ARM; Debian's multiarch tuples;
# ldconfig's folders in Fedora; FLAG_* of glibc's ldconfig.h (32-bit ARM: hard float).
ARCHES = {
    "x86_64": Arch(
        62, "x86_64-linux-gnu", "x86_64", ("/lib64", "/usr/lib64", "/libx32", "/usr/libx32"),
        cached={(64, 62): 0x303, (32, 62): 0x803, (32, 3): 0x003}, signed=True,
    ),
    "aarch64": Arch(
        183, "aarch64-linux-gnu", "aarch64", ("/lib64", "/usr/lib64"),
        cached={(64, 183): 0xA03, (32, 40): 0x903}, signed=False,
    ),
}  # fmt: skip


def host() -> Arch:
    """Return this machine's row; HookError for one that is not in the table."""
    machine = posixos.machine()
    if machine not in ARCHES:
        raise HookError(f"no library folders known for machine {machine!r}")
    return ARCHES[machine]
