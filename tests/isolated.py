"""Tests that mount, chroot or change their process: each in a forked child with its own mounts.

The child's mount namespace is private, so that whatever a test mounts is gone with it, even when
the test is killed.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocishim.linux import const, syscalls


class ChildError(AssertionError):
    """The child's traceback."""


def mounts(*places: str | os.PathLike[str]) -> list[str]:
    """Return this process' mounts that name one of `places`, in their order; lines of mountinfo.

    Others come and go: a folder that another test removes takes the copy along of what was mounted
    there when the child's namespace was made (mount_namespaces(7), since Linux 3.18).
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if any(str(place) in line for place in places)]


def run(
    function: Callable[[], object], *, flags: int = const.CLONE_NEWNS, limit: float = 60
) -> None:
    """Run `function` in a forked child in new namespaces; raise ChildError with its traceback.

    `limit`: seconds after which the child is killed, which is a failure too.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _child(function, flags, write_end)
    os.close(write_end)
    text = _read_until(read_end, time.monotonic() + limit)
    if text is None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(read_end)
    if text is None:
        raise ChildError(f"not done after {limit} seconds")
    if text.startswith("skipped: "):
        pytest.skip(text.removeprefix("skipped: "))
    if text or status:
        raise ChildError(f"in the child (status {status}):\n{text}")


def _child(function: Callable[[], object], flags: int, write_end: int) -> None:
    text = ""
    try:
        if flags:
            syscalls.unshare(flags)
        if flags & const.CLONE_NEWNS:
            syscalls.mount(None, "/", None, const.MS_PRIVATE | const.MS_REC)
        function()
    except pytest.skip.Exception as skipped:
        text = f"skipped: {skipped.msg}"
    except BaseException:  # noqa: BLE001 - told to the parent
        text = traceback.format_exc()
    finally:
        os.write(write_end, text.encode()[-60000:])
        os._exit(0)


def _read_until(fd: int, end: float) -> str | None:
    data = b""
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(fd, 65536)
        if not chunk:
            return data.decode("utf-8", "replace")
        data += chunk


def isolated(test: Callable[..., object]) -> Callable[..., None]:
    """Decorate a test to run in its own mount namespace; needs root."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run(lambda: test(*args, **kwargs))

    pytest.mark.root(wrapper)
    return wrapper
