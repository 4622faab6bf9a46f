"""A bundle: the directory with config.json. Reads it once, replaces it in one step.

Source: runtime-spec, bundle.md. What config.json says is oci/spec.py's work.
"""

from __future__ import annotations

import os
import stat

from ocishim import jsonio
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 16 << 20
"""The largest config.json read; engines write 3 to 60 KiB."""

_SCRATCH = ".config.json.pyshim"


class Bundle:
    """One bundle; `spec` is the parsed config.json, not to be edited in place."""

    __slots__ = ("_data", "_status", "config_path", "path", "spec")

    def __init__(self, path: str) -> None:
        """Read `path`/config.json. Raises DocumentError naming the file and the reason."""
        self.path = path
        self.config_path = f"{path.rstrip('/') or '/'}/config.json".replace("//", "/")
        self._data, self._status = _read(self.config_path)
        self.spec: dict[str, Any] = jsonio.loads(self._data, self.config_path)
        if not isinstance(self.spec, dict):
            kind = type(self.spec).__name__
            found = {"list": "array", "str": "string", "NoneType": "null"}.get(kind, kind)
            raise DocumentError(f"{self.config_path}: expected an object, found {found}")

    def replace(self, spec: dict[str, Any]) -> bool:
        """Make `spec` the bundle's config.json; True when that changed the file.

        Temporary file and rename: whoever looks, whenever this is killed, finds the old file or
        the new one. Mode and owner stay. Raises DocumentError; the old file then stands.
        """
        if spec == self.spec:
            return False
        target = os.path.realpath(self.config_path)
        scratch = os.path.dirname(target) + "/" + _SCRATCH
        try:
            self._write(scratch, jsonio.dumps(spec))
            os.rename(scratch, target)
        except OSError as err:
            _remove(scratch)
            raise DocumentError(
                f"{self.config_path}: cannot be replaced: {err.strerror}",
                hint="the bundle is as it was",
            ) from None
        return True

    def _write(self, scratch: str, data: bytes) -> None:
        _remove(scratch)  # a killed create may have left one
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(scratch, flags, 0o600)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            if (self._status.st_uid, self._status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, self._status.st_uid, self._status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(self._status.st_mode))
        finally:
            os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _read(path: str) -> tuple[bytes, os.stat_result]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        reason = "does not exist" if isinstance(err, FileNotFoundError) else err.strerror
        raise DocumentError(
            f"{path}: {reason}", hint="--bundle must name a directory with a config.json"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError(f"{path}: is not a regular file")
        if status.st_size > MAX_BYTES:
            raise DocumentError(f"{path}: {status.st_size} bytes, more than {MAX_BYTES}")
        data = b""
        while chunk := os.read(descriptor, max(status.st_size - len(data), 0) + 1):
            data += chunk
            if len(data) > MAX_BYTES:
                raise DocumentError(f"{path}: more than {MAX_BYTES} bytes")
        return data, status
    finally:
        os.close(descriptor)
