"""What the compiled registry remembers of one spec file. Plain data, no I/O. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cache import Place

    # message, kind, field, cdi_version and reason of a CDISpecError
    Error = tuple[str, str, str, str, str]


class Record:
    """One spec file: which state of it this is, and what it defines or what is wrong with it.

    `identity` is None when the file may have changed since without a trace: it is read again.
    `entry` names the spec's parts in the cache ("" if the file could not be read). `places` are
    those of its own edits, then of each name in `names`, the names of its devices without kind.
    """

    __slots__ = ("entry", "error", "identity", "kind", "names", "places")

    def __init__(  # noqa: PLR0917 - in the order in which data() gives them
        self,
        identity: bytes | None,
        entry: str = "",
        kind: str = "",
        names: list[str] | None = None,
        places: list[Place] | None = None,
        error: Error | None = None,
    ) -> None:
        self.identity = identity
        self.entry = entry
        self.kind = kind
        self.names = names or []
        self.places = places or []
        self.error = error

    def place_of(self, device: int) -> Place:
        """Where the edits of a device lie in the cache; `device`: its place in `names`."""
        return self.places[device + 1]

    def data(self) -> tuple[Any, ...]:
        """The record as the cache keeps it; `Record(*data)` is equal to this one."""
        return (self.identity, self.entry, self.kind, self.names, self.places, self.error)

    def at(self, identity: bytes | None) -> Record:
        """The same content found in another state of the file."""
        return Record(identity, *self.data()[1:])
