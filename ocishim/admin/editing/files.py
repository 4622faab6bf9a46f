"""A machine's files: read as what they should be, regular files, and changed.

Whatever `pyshimctl` reads of a machine, it reads here. Changes to text files are decided first,
shown as a diff, made by one rename each. Knows nothing of what the files say.
"""

from __future__ import annotations

import difflib
import errno
import io
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from ocishim.admin.host import Host
from ocishim.errors import ConfigError

_MAX_BYTES = 16 << 20
_LARGEST = 64 << 20  # of what is read as a whole
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def opened(path: str) -> BinaryIO:
    """Open the regular file `path` to be read. Raises OSError.

    A FIFO would keep us waiting, and a device may do anything as soon as it is opened. What can be
    no path, by a NUL, is a file that is not there.
    """
    try:
        _must_be_regular(os.stat(path), path)
    except ValueError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    descriptor = os.open(path, _READ)
    try:
        _must_be_regular(os.fstat(descriptor), path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _must_be_regular(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def content(path: str, limit: int = 0) -> bytes:
    """Return what the regular file `path` holds, its first `limit` bytes when that is given.

    Raises OSError, also for a file that is too large to be read as a whole.
    """
    with opened(path) as file:
        return _read(file, path, limit)


def given(path: str, limit: int = 0) -> bytes:
    """Return what a file holds that a person names in a command line, as `content` does.

    It may be a pipe, which is what a shell makes of `<(command)`; one without a writer is not
    waited for, and an error.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return content(path, limit)
    descriptor = os.open(path, _READ)
    with open(descriptor, "rb") as file:
        os.set_blocking(descriptor, True)
        data = _read(file, path, limit)
    if not data:
        raise OSError(errno.EINVAL, "A pipe that nobody has written to", path)
    return data


def _read(file: BinaryIO, path: str, limit: int) -> bytes:
    data = file.read(limit or _LARGEST + 1)
    if not limit and len(data) > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def text(host: Host, path: str, limit: int = 1 << 20) -> str:
    """Return the first `limit` bytes of the machine's file `path` as text, "" when it has none."""
    try:
        return content(host.target(path), limit).decode("utf-8", "replace")
    except OSError:
        return ""


def is_text(word: str) -> bool:
    """Whether a word of a command line can stand in a file: its bytes may be no UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def refused(err: OSError, path: object, what: str = "") -> ConfigError:
    """Return the error for what the kernel refuses to do with `path`."""
    return ConfigError(f"{what}{err.strerror}", source=str(path), errno=err.errno)


def named_by(err: OSError) -> str:
    """Return the path that an error is about, "" for none: of two, the one that was to be made.

    What is named first is a link's text, a scratch file, or what was to be copied.
    """
    return err.filename2 or err.filename or ""


def read(host: Host, path: str, *, named: bool = False) -> str | None:
    """Return the text of the file `path`, None when there is none.

    named: in a command line, where it may be a pipe. Raises ConfigError when it is there and cannot
    be read, or is not UTF-8 text.
    """
    try:
        data = given(path, _MAX_BYTES + 1) if named else content(host.real(path), _MAX_BYTES + 1)
        found = data.decode()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise refused(err, path, "cannot be read: ") from None
    except UnicodeDecodeError as err:
        raise ConfigError(f"not UTF-8 text at byte {err.start}", source=path) from None
    if len(found) > _MAX_BYTES:
        raise ConfigError(f"larger than {_MAX_BYTES} bytes", source=path)
    return found


@dataclass
class Edit:
    """One file before and after; None stands for no file. mode: from now on, None as it is."""

    host: Host
    path: str
    before: str | None
    after: str | None
    mode: int | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after

    def describe(self) -> str:
        """Return what is done, in a few words."""
        if not self.changes:
            return f"{self.path} is {'as wanted' if self.before is not None else 'not there'}"
        verb = "create" if self.before is None else "remove" if self.after is None else "change"
        return f"{verb} {self.path}"

    def diff(self) -> str:
        """Return the change as a unified diff, "" when there is none."""
        old = "/dev/null" if self.before is None else self.path
        new = "/dev/null" if self.after is None else self.path
        lines = difflib.unified_diff(
            # Not str.splitlines: lines of a file end with a line feed, whatever else is in them.
            list(io.StringIO(self.before)),
            list(io.StringIO(self.after)),
            old,
            new,
        )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )

    def apply(self) -> None:
        """Make the change. Raises ConfigError naming the file; then it is as it was."""
        if not self.changes:
            return
        try:
            if self.after is None:
                os.unlink(self.host.entry(self.path))
            else:
                replace(self.host.real(self.path), self.after.encode(), self.mode)
        except OSError as err:
            raise refused(err, self.path, "cannot be written: ") from None


def apply_all(edits: list[Edit]) -> None:
    """Make all changes, or none: when one fails, those made are undone and ConfigError raised."""
    done: list[Edit] = []
    try:
        for edit in edits:
            edit.apply()
            done.append(edit)
    except ConfigError:
        for edit in reversed(done):
            Edit(edit.host, edit.path, edit.after, edit.before).apply()
        raise


def replace(path: str, data: bytes, mode: int | None = None) -> None:
    """Write the file `path` by temporary file and rename.

    mode is the file's from now on; by default it keeps the one it has, and a new one gets 0644.
    An owner is kept. Missing folders are made. Raises OSError that names `path`. The folder may be
    another user's: what he has put in the temporary file's place is neither followed nor written.
    """
    folder, name = os.path.split(path)
    make_folders(folder)
    old = _status(path)
    # The name starts with a dot and ends in no engine's suffix: CRI-O alone reads every file of
    # its drop-in folder, and would read the same text.
    scratch = f"{folder}/.{name}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(scratch)  # of one that was killed
    try:
        with open(scratch, "xb", opener=_private) as file:
            if old is not None:
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            kept = 0o644 if old is None else old.st_mode & 0o777
            os.fchmod(file.fileno(), kept if mode is None else mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a node that loses power must not lose its engine
        os.rename(scratch, path)
    except OSError as err:
        with suppress(OSError):
            os.unlink(scratch)
        raise OSError(err.errno, err.strerror, path) from None
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch)
        raise


def make_folders(path: str) -> None:
    """Make the folder `path` and what is missing above it; root's are 0755, whatever the umask.

    Others may read what root alone decides of: CDI's folder says which hooks root runs. Raises
    OSError.
    """
    if os.path.isdir(path):
        return
    make_folders(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        if os.geteuid() == 0:
            os.chmod(path, 0o755)  # noqa: S103 - others may look


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def link(target: str, path: str) -> None:
    """Make the symbolic link `path`, replacing one that is there by one rename.

    Raises OSError that names `path`.
    """
    scratch = f"{path}.{os.getpid()}"
    # Of one that was killed: in a container all have the same number.
    if os.path.lexists(scratch):
        os.unlink(scratch)
    try:
        os.symlink(target, scratch)
        os.rename(scratch, path)
    except OSError as err:
        with suppress(OSError):
            os.unlink(scratch)
        raise OSError(err.errno, err.strerror, path) from None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
