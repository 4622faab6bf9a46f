"""The fields of containerEdits, one row each; how an entry is read is document/coerce.py's. Pure.

The order is the reference's: in it edits are merged and planned.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Field:
    """One field.

    word: what people call one entry. since: the CDI version that has it. change: the class of
    oci/changes.py that takes an entry, "" where edits.py makes more of it. entries: the name of
    their decoder in document/coerce.py. single: not a list; the last one counts.
    """

    __slots__ = ("change", "entries", "name", "since", "single", "word")

    def __init__(
        self, name: str, word: str, entries: str, *,
        since: str = "", change: str = "", single: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.word = word
        self.entries = entries
        self.since = since
        self.change = change
        self.single = single

    def is_used(self, edits: dict[str, Any]) -> bool:
        """Whether `edits` have it: an object by being there, as the reference asks for nil."""
        value = edits.get(self.name)
        return value is not None if self.single else bool(value)


FIELDS = (
    Field("env", "env", "string", change="SetEnv"),
    Field("deviceNodes", "node", "device node"),
    Field("netDevices", "net device", "net device", since="1.1.0"),
    Field("mounts", "mount", "mount"),
    Field("hooks", "hook", "hook"),
    Field("intelRdt", "intelRdt", "intelRdt", since="0.7.0", single=True),
    Field("additionalGids", "gid", "uint32", since="0.7.0", change="AddGid"),
)
LISTS = tuple(field for field in FIELDS if not field.single)


def new_in(version: str, edits: dict[str, Any]) -> str:
    """Return the first field of `edits` that `version` brought and that is used, "" for none."""
    used = (field.name for field in FIELDS if field.since == version and field.is_used(edits))
    return next(used, "")
