"""One finding of the doctor: what is wrong, how we know, why it matters, what to do next."""

from __future__ import annotations

SEVERITIES = ("info", "warning", "error")
EXIT_STATUS = {"": 0, "info": 0, "warning": 3, "error": 4}
"""The doctor's exit status by the gravest finding; 1 and 2 are pyshimctl's own."""


class Finding:
    """name: short and stable, for machines. severity: one of SEVERITIES.

    what, evidence and why are half sentences; next_step is a command or an instruction.
    """

    __slots__ = ("evidence", "name", "next_step", "severity", "what", "why")

    def __init__(
        self, name: str, severity: str, what: str, *, evidence: str, why: str, next_step: str
    ) -> None:
        self.name = name
        self.severity = severity
        self.what = what
        self.evidence = evidence
        self.why = why
        self.next_step = next_step

    def as_dict(self) -> dict[str, str]:
        """Return the finding as a JSON object's members."""
        return {key: getattr(self, key) for key in sorted(self.__slots__)}


def gravest(findings: list[Finding]) -> str:
    """Return the highest severity among `findings`, "" when there are none."""
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    return SEVERITIES[max(ranks)] if ranks else ""
