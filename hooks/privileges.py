"""A chain of hooks keeps the capabilities its hooks need (oci/hooktable.py) and no other."""

from __future__ import annotations

from ocishim.linux import const, privileges
from ocishim.oci.hooktable import HOOKS, MOVE_NET_DEVICES, NET_NEEDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


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
