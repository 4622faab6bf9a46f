"""What the process may: fewer capabilities, none gained by exec.

By python-prctl's C part where it can be imported, which is a builtin of the static file; else our
own system calls do the same. Its Python part costs 1 ms at every start. What a process needs is
its program's business.
"""

from __future__ import annotations

from ocishim.linux import const, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def limit(kept: int) -> None:
    """Keep of the thread's capabilities those of the mask `kept`; gain none by exec any more.

    The bounding set stays: with no_new_privs even root's exec gives no more than is permitted
    (capabilities(7), prctl(2)).
    """
    library = _prctl()
    if library is None:
        permitted = syscalls.capget()[1] & kept
        syscalls.capset(permitted, permitted, 0)
        syscalls.prctl(const.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return
    every = range(library.CAP_LAST_CAP + 1)
    others = [number for number in every if not kept >> number & 1]
    # To set in the effective, permitted and inheritable set; to clear there.
    library.set_caps([], [], [], others, others, list(every))
    library.prctl(library.PR_SET_NO_NEW_PRIVS, 1)


def _prctl() -> ModuleType | None:
    try:
        import _prctl as library  # type: ignore[import-not-found]  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    found: ModuleType = library
    return found
