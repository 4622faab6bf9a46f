"""enable-cuda-compat: let the image's CUDA compatibility libraries come before the driver's.

Flags: --host-driver-version V, --host-cuda-version V, --cuda-compat-container-root DIR. An image
may bring a newer user-mode driver (libcuda.so.R.M.P) for hosts with an older kernel driver. When
it fits, its folder is written to a file that sorts before all others in ld.so.conf.d;
update-ldcache, which must run later, does the rest. Nothing of the image is mounted or moved
(CVE-2024-0132, CVE-2025-23359).

Which hosts a library is for stands in its ELF note .note.cuda.fwd_compatibility, JSON of the form
{"CUDA Version": "12.9", "Driver": [535, 550, 570], ...}; see `fits`.
"""

from __future__ import annotations

import _stat as stat

from ocishim import posixos
from ocishim.errors import DocumentError, ForeignMountError, HookError, UnsafePathError
from ocishim.hooks import elf, flags, ldconf, wildcard
from ocishim.hooks.outcome import Outcome
from ocishim.hooks.update_ldcache import CUDA_COMPAT_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

    Version = tuple[int, ...]

NAME = "enable-cuda-compat"

DEFAULT_FOLDER = "/usr/local/cuda/compat"
_LIBRARY = "libcuda.so."
_SECTION = ".note.cuda.fwd_compatibility"
_OWNER = "NVIDIA Corporation"
_DIGITS = 9  # of one number in a version; real ones have three


class Request:
    """What the host has (versions as written, "" for unknown) and where the image may have more."""

    __slots__ = ("cuda", "driver", "folder")

    def __init__(self, driver: str, cuda: str, folder: str) -> None:
        self.driver = driver
        self.cuda = cuda
        self.folder = folder


class Note:
    """The library's note: the CUDA version it offers, the host drivers (major) it works with."""

    __slots__ = ("cuda", "drivers")

    def __init__(self, cuda: Version | None, drivers: list[int]) -> None:
        self.cuda = cuda
        self.drivers = drivers


def parse(args: list[str]) -> Request:
    """Return the request; without a version the hook does nothing."""
    values = flags.of(NAME, args)
    driver, cuda = (
        "".join(values[name][-1:]) for name in ("host-driver-version", "host-cuda-version")
    )
    return Request(driver, cuda, flags.last(values, "cuda-compat-container-root", DEFAULT_FOLDER))


def version(text: str) -> Version | None:
    """`575.57.08` -> (575, 57, 8), shorter ones filled up; None for what is no version."""
    parts = text.removeprefix("v").split(".")
    if not all(part.isdecimal() and part.isascii() and len(part) <= _DIGITS for part in parts):
        return None  # an image wrote it: int() raises for more than 4,300 digits
    numbers = [int(part) for part in parts]
    return tuple(numbers + [0] * (3 - len(numbers)))


def fits(library: Version | None, note: Note | None, request: Request) -> bool:
    """Whether the image's libraries serve better than the host's.

    With a note: its drivers hold the host's major version and the library is newer; when one of
    the two versions is not known, its CUDA version is higher than the host's. Without a note: the
    library's major version is higher, unless a CUDA version was asked for.
    """
    driver, cuda = version(request.driver), version(request.cuda)
    if note is None:
        if request.cuda or driver is None or library is None:
            return False
        return library[0] > driver[0]
    if driver is None or library is None:
        return cuda is not None and note.cuda is not None and note.cuda > cuda
    return driver[0] in note.drivers and library > driver


def apply(rootfs: Rootfs, request: Request) -> list[Outcome]:
    """Write the folder file when the libraries fit, empty the one of an earlier start when not."""
    if not request.driver and not request.cuda:
        return []
    outcomes: list[Outcome] = []
    with rootfs.container().reading():  # what is found out, everybody in the container can read
        folder = _folder_or_none(rootfs, request, outcomes)
        if not folder:
            _refuse(rootfs, request.folder)
            if not rootfs.exists(CUDA_COMPAT_FILE):
                return outcomes
    try:
        text = f"{folder}\n" if folder else ""
        changed = rootfs.put_file(CUDA_COMPAT_FILE, posixos.fsencode(text), 0o644)
    except ForeignMountError as error:
        outcomes.append(
            Outcome(f"{error.message}: {folder or 'no folder'} not written", warning=True)
        )
        return outcomes
    except OSError as error:
        raise HookError(f"{CUDA_COMPAT_FILE}: {error.strerror}") from error
    if changed:
        outcomes.append(Outcome(f"{CUDA_COMPAT_FILE}: {folder or 'no folder'}"))
    return outcomes


def _refuse(rootfs: Rootfs, folder: str) -> None:
    """Have update-ldcache know that `folder` is not wanted, wherever the image lists it."""
    try:
        status = rootfs.lstat(f"{folder.rstrip('/')}/.")
    except (OSError, UnsafePathError):  # no such folder: nothing to refuse
        return
    rootfs.refused.add((status.st_dev, status.st_ino))


def _folder_or_none(rootfs: Rootfs, request: Request, outcomes: list[Outcome]) -> str:
    """The folder to use, or "": warns where a volume's file system or a lease is in the way."""
    try:
        return _folder_to_use(rootfs, request, outcomes)
    except OSError as error:
        refused = UnsafePathError(f"{request.folder}: {posixos.strerror(error.errno or 0)}")
        if not isinstance(rootfs.left_to_others(refused, request.folder), ForeignMountError):
            raise
        outcomes.append(Outcome(f"{refused.message}: no compatibility library used", warning=True))
        return ""


def _folder_to_use(rootfs: Rootfs, request: Request, outcomes: list[Outcome]) -> str:
    """The resolved folder in the container, or "" when the driver's own libraries serve."""
    try:
        libraries = _libraries(rootfs, request.folder)
    except PermissionError:
        return _not_read(request.folder, outcomes)
    except UnsafePathError as error:
        outcomes.append(Outcome(f"{error.message}: no compatibility library used", warning=True))
        return ""
    if len(libraries) > 1:
        text = f"{request.folder}: more than one library: {', '.join(libraries)}: none used"
        outcomes.append(Outcome(text, warning=True))
    if len(libraries) != 1:
        return ""
    path = f"{request.folder}/{libraries[0]}"
    try:
        fd = rootfs.open(path, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return ""  # taken away meanwhile, in a volume that others share
    except PermissionError:
        return _not_read(path, outcomes)
    except UnsafePathError as error:
        outcomes.append(Outcome(f"{error.message}: no compatibility library used", warning=True))
        return ""
    try:
        folder = _folder_of(rootfs, fd)
        try:
            note = read_note(fd)
        except DocumentError as error:
            outcomes.append(Outcome(f"{path}: {error.message}: read as without note", warning=True))
            note = None
    finally:
        posixos.close(fd)
    return folder if fits(version(libraries[0][len(_LIBRARY) :]), note, request) else ""


def _not_read(path: str, outcomes: list[Outcome]) -> str:
    """Warn of what the container's user could not load either."""
    text = f"{path}: not for the container's user to read: no compatibility library used"
    outcomes.append(Outcome(text, warning=True))
    return ""


def _libraries(rootfs: Rootfs, folder: str) -> list[str]:
    """The regular files libcuda.so.*.* in `folder`; none when there is no such folder."""
    try:
        names = rootfs.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name for name in names if wildcard.matches(name, f"{_LIBRARY}*.*")]
    return [name for name in found if stat.S_ISREG(rootfs.mode(f"{folder}/{name}"))]


def _folder_of(rootfs: Rootfs, fd: int) -> str:
    """The folder of an open file as the container will see it, links resolved."""
    root = posixos.readlink(f"/proc/self/fd/{rootfs.fd}").rstrip("/")
    folder = posixos.path.dirname(posixos.readlink(f"/proc/self/fd/{fd}"))
    if not folder.startswith(f"{root}/") or not ldconf.is_plain(folder):
        raise UnsafePathError(f"folder {folder!r} cannot stand in ld.so.conf")
    return folder[len(root) :]


def read_note(fd: int) -> Note | None:
    """Return what the library says of itself, None if nothing; DocumentError if that is broken."""
    data = elf.note(lambda size, offset: posixos.pread(fd, size, offset), _SECTION, _OWNER)
    if data is None:
        return None
    from ocishim import jsonio  # noqa: PLC0415 - 0.4 ms, where an image has such libraries

    document = jsonio.loads(data, _SECTION)
    if not isinstance(document, dict):
        raise DocumentError(f"{_SECTION}: expected object")
    # Keys differ in case between releases; the peer's JSON reader takes any.
    fields = {key.lower(): value for key, value in document.items()}
    cuda, drivers = fields.get("cuda version"), fields.get("driver")
    return Note(
        version(cuda) if isinstance(cuda, str) else None,
        [d for d in drivers if isinstance(d, int)] if isinstance(drivers, list) else [],
    )
