"""What a run of `cdi generate` found, and what it looked for and did not find.

Nothing that a container may miss goes without a word: a warning has what is not there, what that
means and the remedy. Facts that are right but worth knowing are told; notes are for --verbose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KINDS = (
    ("libraries", "library", "libraries"),
    ("programs", "program", "programs"),
    ("firmware", "firmware file", "firmware files"),
    ("files", "configuration file", "configuration files"),
    ("sockets", "socket", "sockets"),
    ("nodes", "device node", "device nodes"),
    ("devices", "device", "devices"),
)
"""Each kind of thing: its name for machines, one of it and many of it for people."""


@dataclass(frozen=True)
class Missing:
    """Something expected and not found: what and what it means, and the remedy.

    of_device: it is about a device that is left out, not about those that remain.
    """

    what: str
    remedy: str
    of_device: bool = False


@dataclass
class Report:
    """source: who told of the GPUs. driver: the driver's version. left: what no container can use.

    What is left out is told, and is no fault unless nothing remains. unanswered: why who knows best
    of the GPUs did not tell, "" when it did.
    """

    driver: str = ""
    source: str = ""
    unanswered: str = ""
    found: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind, *_ in KINDS})
    missing: list[Missing] = field(default_factory=list)
    left: list[Missing] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything: another vendor is tried."""
        vars(self).update(vars(Report()))

    def add(self, kind: str, path: str) -> None:
        """Count `path` among what was found of `kind`, once."""
        if path not in self.found[kind]:
            self.found[kind].append(path)

    def warn(self, what: str, remedy: str, *, of_device: bool = False) -> None:
        """Say that something expected is missing, once."""
        lack = Missing(what, remedy, of_device)
        if lack not in self.missing:
            self.missing.append(lack)

    def tell(self, fact: str) -> None:
        """Say something that is no fault, once."""
        if fact not in self.told:
            self.told.append(fact)

    def leave_out(self, what: str, remedy: str) -> None:
        """Say what is there and of no use to a container, and what would change that."""
        self.tell(what)
        self.left.append(Missing(what, remedy))

    def narrow(self, devices: list[str], nodes: set[str]) -> None:
        """Keep what is about these devices and their nodes: others were not asked for."""
        self.found["devices"] = devices
        self.found["nodes"] = [path for path in self.found["nodes"] if path in nodes]
        self.missing = [lack for lack in self.missing if not lack.of_device]

    def why(self) -> str:
        """Return why nothing remained, to be appended to an error; "" when nothing tells."""
        return "".join(f"; {reason}" for reason in self.reasons())

    def reasons(self) -> list[str]:
        """Return what tells why nothing remained."""
        return [one.what for one in (*self.missing, *self.left)]

    def remedy(self, otherwise: str) -> str:
        """Return the first remedy there is for `why`."""
        return next((one.remedy for one in (*self.missing, *self.left)), otherwise)

    def summary(self) -> str:
        """Return one line of how much was found."""
        counts = []
        for kind, one, many in KINDS:
            number = len(self.found[kind])
            if number or kind in ("nodes", "devices"):
                counts.append(f"{number} {one if number == 1 else many}")
        driver = f", driver {self.driver}" if self.driver else ""
        source = f", devices as {self.source} has them" if self.source else ""
        return f"found {', '.join(counts)}{driver}{source}"

    def listing(self) -> list[str]:
        """Return a line for everything that was found, and the notes."""
        lines = [f"{one}: {path}" for kind, one, _ in KINDS for path in self.found[kind]]
        return lines + [f"note: {note}" for note in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object's members."""
        return {
            "driver": self.driver,
            "source": self.source,
            "found": self.found,
            "missing": [{"what": one.what, "remedy": one.remedy} for one in self.missing],
            "told": self.told,
            "notes": self.notes,
        }
