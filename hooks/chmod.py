"""chmod: permission bits of files and directories in the rootfs.

Flags: --mode OCTAL, --path P, repeatable. A path that does not exist is skipped; one that ends in
a symbolic link is refused, so that nothing outside of the rootfs can change. All paths are tried
and every failure is told.
"""

from __future__ import annotations

import errno

from ocishim import posixos
from ocishim.errors import ForeignMountError, HookError, UnsafePathError, UsageError
from ocishim.hooks import flags
from ocishim.hooks.outcome import Outcome
from ocishim.oci.hooktable import LARGEST_MODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "chmod"


class Request:
    """`mode` with setuid, setgid and sticky bits; `paths` in the rootfs."""

    __slots__ = ("mode", "paths")

    def __init__(self, mode: int, paths: list[str]) -> None:
        self.mode = mode
        self.paths = paths


def parse(args: list[str]) -> Request:
    """Return the mode and the paths, each once; UsageError names the bad value."""
    values = flags.of(NAME, args)
    text = flags.last(values, "mode")
    if not text:
        raise UsageError("flag '--mode' is missing")
    if text.strip("01234567") or int(text, 8) > LARGEST_MODE:
        raise UsageError(f"--mode {text!r} is not an octal number up to 7777")
    for path in values["path"]:
        if not path or "\0" in path:
            raise UsageError(f"--path {path!r} is not a path")
    return Request(int(text, 8), list(dict.fromkeys(values["path"])))


def apply(rootfs: Rootfs, request: Request) -> list[Outcome]:
    """Set the mode of every path that exists; HookError names all that failed."""
    outcomes, failures = [], []
    for path in request.paths:
        try:
            if rootfs.chmod(path, request.mode):
                outcomes.append(Outcome(f"{path}: mode {request.mode:#o} set"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except ForeignMountError as error:  # toolbox mounts the host's /dev whole
            outcomes.append(Outcome(f"{error.message}: mode left as it is", warning=True))
        except UnsafePathError as error:
            failures.append(str(error))
        except OSError as error:
            text = f"{path}: {posixos.strerror(error.errno or 0)}"
            # Not the user's, in a user namespace; or in a folder that one may not enter.
            if error.errno == errno.EPERM or rootfs.is_shut_out(path, error):
                outcomes.append(Outcome(f"{text}: mode left as it is", warning=True))
            else:
                failures.append(text)
    if failures:
        raise HookError("; ".join(failures))
    return outcomes
