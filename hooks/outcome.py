"""What a hook did, or could not do, in one sentence each."""

from __future__ import annotations


class Outcome:
    """One thing done. `warning` marks one that could not be done though the hook succeeded."""

    __slots__ = ("text", "warning")

    def __init__(self, text: str, *, warning: bool = False) -> None:
        self.text = text
        self.warning = warning

    def __repr__(self) -> str:
        return f"Outcome({self.text!r}, warning={self.warning})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outcome):
            return NotImplemented
        return (self.text, self.warning) == (other.text, other.warning)

    def __hash__(self) -> int:
        return hash((self.text, self.warning))

    def describe(self) -> str:
        """The sentence, for logs and people."""
        return self.text
