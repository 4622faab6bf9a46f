"""An attacker who exchanges two names as fast as the kernel lets him, while a hook works."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ocishim.linux import const, syscalls

if TYPE_CHECKING:
    from typing_extensions import Self

_COUNTER = struct.Struct("=Q")
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(first: str, second: str, folder: int = const.AT_FDCWD) -> None:
    """Exchange two names in `folder`, a descriptor (renameat2, section 2 of the manual)."""
    names = (folder, os.fsencode(first), folder, os.fsencode(second))
    if _LIBC.renameat2(*names, _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


class Swapper:
    """A process that swaps `first` and `second` (renameat2, RENAME_EXCHANGE) until it is left.

    `swaps` is how often it did so far.
    """

    def __init__(self, first: Path, second: Path) -> None:
        self._names = (str(first), str(second))
        self._counter = os.memfd_create("swaps")
        os.ftruncate(self._counter, _COUNTER.size)
        self._pid = 0

    @property
    def swaps(self) -> int:
        return int(_COUNTER.unpack(os.pread(self._counter, _COUNTER.size, 0))[0])

    def __enter__(self) -> Self:
        self._pid = os.fork()
        if self._pid == 0:
            syscalls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
            try:
                self._swap_for_ever()
            finally:
                os._exit(1)
        return self

    def _swap_for_ever(self) -> None:
        count = 0
        while True:
            exchange(*self._names)
            count += 1
            os.pwrite(self._counter, _COUNTER.pack(count), 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        swaps = self.swaps
        os.close(self._counter)
        assert swaps, "the swapper died at once"
