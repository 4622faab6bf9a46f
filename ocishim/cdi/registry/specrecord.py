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
    `entry` names the spec's parts in the cache ("" if the file could not be read). `names` are its
    devices', without kind. In the cache its own edits lie at `common_place` (None: it is no valid
    spec), those of each device at the one of `device_places` with the same index.
    """

    __slots__ = (
        "common_place", "device_places", "entry", "error", "identity", "kind", "names",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - in the order in which data() gives them
        self,
        identity: bytes | None,
        entry: str = "",
        kind: str = "",
        names: list[str] | None = None,
        common_place: Place | None = None,
        device_places: list[Place] | None = None,
        error: Error | None = None,
    ) -> None:
        self.identity = identity
        self.entry = entry
        self.kind = kind
        self.names = names or []
        self.common_place = common_place
        self.device_places = device_places or []
        self.error = error

    def data(self) -> tuple[Any, ...]:
        """The record as the cache keeps it; `Record(*data)` is equal to this one."""
        return (
            self.identity, self.entry, self.kind, self.names, self.common_place,
            self.device_places, self.error,
        )  # fmt: skip

    def at(self, identity: bytes | None) -> Record:
        """The same content found in another state of the file."""
        return Record(identity, *self.data()[1:])
