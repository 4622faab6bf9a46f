"""Links by SONAME in library folders: what ldconfig would make, made by ourselves.

A program asks for libcuda.so.1, the file is libcuda.so.570.86: the library itself says which name
it goes by. The image's libraries say anything they like, so that a name counts only when it is one
of a library, without a folder. Links that are right stay, and so do those a spec asked for.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import DocumentError, ForeignMountError, HookError, UnsafePathError
from ocishim.hooks import elf, libview
from ocishim.hooks.outcome import Outcome
from ocishim.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocishim.rootfs.rootfs import Rootfs

_MOST_READ = 1024  # libraries of one folder; CUDA's largest has 200
_LONGEST = 255  # bytes, NAME_MAX


def is_sane(name: str) -> bool:
    """Whether a SONAME can be a name in a folder of libraries."""
    return libview.is_library(name) and "/" not in name and len(posixos.fsencode(name)) <= _LONGEST


class Sonames:
    """What the libraries of one folder say they are; each is read once, when it is asked for."""

    __slots__ = ("_folder", "_read", "_rootfs", "_stems", "unread")

    def __init__(self, rootfs: Rootfs, folder: libview.Folder) -> None:
        self._rootfs = rootfs
        self._folder = folder
        self._read: dict[str, str] = {}
        self._stems: dict[str, list[str]] = {}  # the libraries' names, made when it is asked for
        self.unread: list[str] = []  # names that could not be read, with the reason

    def of(self, name: str) -> str:
        """Return the SONAME of the file `name`, "" when it has none that is sane."""
        if name not in self._read:
            self._read[name] = self._soname(name) if len(self._read) < _MOST_READ else ""
        return self._read[name]

    def _soname(self, name: str) -> str:
        try:
            fd = libview.read_at(self._folder, self._rootfs, name)
        except UnsafePathError:
            return ""
        except OSError as error:
            if error.errno in libview.TOLD:
                self.unread.append(f"{name} ({error.strerror})")
            return ""
        try:
            soname = posixos.fsdecode(
                elf.soname(lambda size, offset: posixos.pread(fd, size, offset))
            )
        except DocumentError:
            return ""
        except OSError as error:
            self.unread.append(f"{name} ({error.strerror})")
            return ""
        finally:
            posixos.close(fd)
        return soname if is_sane(soname) else ""

    def all(self) -> list[str]:
        """Return the SONAMEs of all libraries in the folder, sorted."""
        files = [name for name in sorted(self._folder.files) if libview.is_library(name)]
        return sorted({self.of(name) for name in files} - {""})

    def file_of(self, soname: str) -> str:
        """Return the file that goes by `soname`: a mounted one, else the highest version.

        Files called like it are looked at first: a system folder has hundreds. "" for none.
        """
        if not self._stems:
            for name in filter(libview.is_library, self._folder.files):
                self._stems.setdefault(_stem(name), []).append(name)
        alike = self._stems.get(_stem(soname), [])
        return self._best(soname, alike) or self._best(soname, self._all())

    def _all(self) -> list[str]:
        return [name for names in self._stems.values() for name in names]

    def _best(self, soname: str, names: list[str]) -> str:
        found = [name for name in sorted(names) if self.of(name) == soname]
        return max(found, key=self._worth) if found else ""

    def _worth(self, name: str) -> tuple[bool, list[tuple[bool, int]]]:
        return name in self._folder.mounted, order(posixos.fsencode(name))

    def is_right(self, soname: str) -> bool:
        """Whether `soname` leads to a library already, and to a mounted one if there is."""
        folder = self._folder
        if soname in folder.files or not folder.leads(soname):
            return soname in folder.files
        target = folder.target(soname)
        if not target or target in folder.mounted:
            return True
        alike = [name for name in folder.mounted if _stem(name) == _stem(soname)]
        return not any(self.of(name) == soname for name in alike)


def _stem(name: str) -> str:
    return name.partition(".so")[0]


def order(name: bytes, *, signed: bool = False) -> list[tuple[bool, int]]:
    """A key that compares names as ldconfig and the loader do (_dl_cache_libcmp).

    Numbers as numbers, of 32 bits; they are more than other bytes, which are `signed` or not.
    """
    key: list[tuple[bool, int]] = []
    number = -1
    for byte in name + b"\0":
        if 48 <= byte <= 57:  # 0 to 9
            number = max(number, 0) * 10 + byte - 48
            continue
        if number >= 0:
            key.append((True, number & 0xFFFFFFFF))
            number = -1
        key.append((False, byte - 256 if signed and byte > 127 else byte))
    return key


def told_unread(folder: libview.Folder, unread: list[str]) -> list[Outcome]:
    """Return a warning that names the libraries that could not be read, and why."""
    if not unread:
        return []
    text = f"{folder.path}: cannot be read, and so left out: {', '.join(unread)}"
    return [Outcome(text, warning=True)]


def link(
    rootfs: Rootfs, folder: libview.Folder, sonames: Iterable[str], known: Sonames
) -> tuple[list[Outcome], dict[str, str]]:
    """Make the links that are missing or lead nowhere; files stay as they are.

    In the folder that was looked through, whatever lies at its path by now.

    Returns what was done, and the file behind each name for which no link could be made; HookError
    names the link that the kernel refused.
    """
    status = syscalls.statx(folder.fd)
    outcomes, unlinked = [], {}
    refused: ForeignMountError | None = None
    for soname in sonames:
        if known.is_right(soname):
            continue
        target = known.file_of(soname)
        if not target:
            continue
        if (status.device, status.inode, soname) in rootfs.links:
            unlinked[soname] = target  # a spec wants it to lead elsewhere
            continue
        path = f"{folder.path}/{soname}"
        try:
            if rootfs.put_symlink_at(folder.fd, soname, target, path):
                outcomes.append(Outcome(f"{path} -> {target}: linked"))
        except ForeignMountError as error:
            refused = error
            unlinked[soname] = target
        except OSError as error:
            raise HookError(f"{path} -> {target}: {error.strerror}") from error
    outcomes += told_unread(folder, known.unread)
    if refused is not None:
        text = f"{folder.path} lies on the mount {refused.mount}: links left out"
        outcomes.append(Outcome(f"{text}: {', '.join(sorted(unlinked))}", warning=True))
    return outcomes, unlinked
