"""A bundle: the directory with config.json. Reads it once, replaces it in one step.

Source: runtime-spec, bundle.md. What config.json says is oci/spec.py's work.
"""

from __future__ import annotations

import _stat as stat
import errno

from ocishim import jsonio, posixos
from ocishim.errors import DocumentError, reason
from ocishim.oci import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 16 << 20
"""The largest config.json read; engines write 3 to 60 KiB."""

_SCRATCH = ".config.json.pyshim."
_TORN = "the engine writes this file: is its disk full"
WRITERS = "the engine and its plugins write this file: look there"
"""The hint for content that the runtime-spec does not allow."""


class Bundle:
    """One bundle; `spec` is the parsed config.json, not to be edited in place.

    config_path: the file, path/config.json unless the runtime was told to read another.
    """

    __slots__ = ("_data", "_odd", "_status", "config_path", "path", "spec")

    def __init__(self, path: str, config_path: str = "") -> None:
        """Read `path`/config.json, or `config_path`.

        Raises DocumentError naming the file and the reason.
        """
        self.path = path
        self.config_path = config_path or f"{path.rstrip('/')}/config.json"
        self._data, self._status = _read(self.config_path)
        try:
            found = reading.read(self._data, self.config_path)
        except DocumentError as err:
            raise DocumentError(err.message, hint=_TORN) from None
        self.spec: dict[str, Any] = found.spec
        self._odd = found.odd
        if not isinstance(self.spec, dict):
            found_type = jsonio.type_name(self.spec)
            raise DocumentError(
                f"expected an object, found {found_type}", source=self.config_path, hint=WRITERS
            )

    def replace(self, spec: dict[str, Any]) -> bool:
        """Make `spec` the bundle's config.json; True when that changed the file.

        One that not every runtime reads alike (reading.py) is written in any case.
        Temporary file and rename: whoever looks, whenever this is killed, finds the old file or
        the new one. Mode and owner stay. Raises DocumentError; the old file then stands.
        """
        if spec == self.spec and not self._odd:
            return False
        target = posixos.path.realpath(self.config_path)
        folder = posixos.path.dirname(target)
        scratch = f"{folder}/{_SCRATCH}{posixos.getpid()}"
        data = jsonio.dumps(spec)
        try:
            _remove_leftovers(folder)
            self._write(scratch, data)
            posixos.rename(scratch, target)
        except OSError as err:
            _remove(scratch)
            raise DocumentError(
                f"cannot be replaced: {reason(err)}",
                source=self.config_path,
                hint="the bundle is as it was; its folder must be writable and not full",
            ) from None
        return True

    def _write(self, scratch: str, data: bytes) -> None:
        flags = (
            posixos.O_WRONLY
            | posixos.O_CREAT
            | posixos.O_EXCL
            | posixos.O_NOFOLLOW
            | posixos.O_CLOEXEC
        )
        descriptor = posixos.open(scratch, flags, 0o600)
        try:
            while data:
                data = data[posixos.write(descriptor, data) :]
            owner, made = (self._status.st_uid, self._status.st_gid), posixos.fstat(descriptor)
            if (made.st_uid, made.st_gid) != owner:
                posixos.fchown(descriptor, *owner)
            posixos.fchmod(descriptor, stat.S_IMODE(self._status.st_mode))
        finally:
            posixos.close(descriptor)


def _remove_leftovers(folder: str) -> None:
    """Remove what a killed create left.

    One that still runs fails then, and the old file is whole: each has a name of its own, or its
    rename could publish half of ours.
    """
    for name in posixos.listdir(folder):
        if name.startswith(_SCRATCH):
            _remove(f"{folder}/{name}")


def _remove(path: str) -> None:
    try:
        posixos.unlink(path)
    except OSError:
        pass


def _read(path: str) -> tuple[bytes, posixos.stat_result]:
    try:
        descriptor = posixos.open(path, posixos.O_RDONLY | posixos.O_CLOEXEC | posixos.O_NONBLOCK)
    except OSError as err:
        missing = err.errno in (errno.ENOENT, errno.ENOTDIR)
        hint = "--bundle must name a directory with a config.json" if missing else ""
        raise DocumentError(reason(err), source=path, hint=hint) from None
    try:
        status = posixos.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError("not a regular file", source=path)
        data, size = b"", status.st_size
        while size <= MAX_BYTES and (
            chunk := posixos.read(descriptor, max(size - len(data), 0) + 1)
        ):
            data += chunk
            size = max(size, len(data))  # it may grow meanwhile
        if size > MAX_BYTES:
            raise DocumentError(
                f"{size} bytes, and at most {MAX_BYTES} are read",
                source=path,
                hint="engines write 3 to 60 KiB; is this the right file",
            )
        return data, status
    finally:
        posixos.close(descriptor)
