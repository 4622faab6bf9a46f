"""What a chain of hooks may: the capabilities its hooks need (oci/hooktable.py), and its time."""

from __future__ import annotations

from ocishim.errors import PyshimError, UsageError
from ocishim.linux import const, privileges
from ocishim.oci.hooktable import HOOKS, MOVE_NET_DEVICES, NET_NEEDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

# Our own deadline comes before the runtime's, whose SIGKILL would leave no message.
_DEADLINE = 0.9


def needed(name: str) -> tuple[str, ...]:
    """Return the capabilities of the hook `name`, without CAP_."""
    return NET_NEEDS if name == MOVE_NET_DEVICES else HOOKS[name].needs


def limit(names: Iterable[str]) -> None:
    """Keep what the hooks `names` need; also of the parts that run later in this process."""
    kept = 0
    for name in names:
        for capability in needed(name):
            kept |= 1 << getattr(const, f"CAP_{capability}")
    privileges.limit(kept)


def seconds_of(text: str) -> int:
    """Return what --timeout says, seconds; UsageError when it is no number of them."""
    if not text.isdecimal() or not int(text):
        raise UsageError(f"option --timeout {text!r} is not a number of seconds")
    return int(text)


def set_deadline(timeout: int) -> None:
    """Fail by ourselves shortly before we are killed, after `timeout` seconds."""
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - `signal` costs 3 ms

    seconds = timeout * _DEADLINE

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise PyshimError(f"not done after {seconds:g} seconds")

    privileges.kill_after(timeout)
    _signal.signal(_signal.SIGALRM, expire)
    _signal.setitimer(_signal.ITIMER_REAL, seconds)
