"""One finding of the doctor: what is wrong, how we know, why it matters, what to do next."""

from __future__ import annotations

import errno
import os
from dataclasses import KW_ONLY, asdict, dataclass

from ocishim.errors import PyshimError

SEVERITIES = ("info", "warning", "error")
EXIT_STATUS = {"": 0, "info": 0, "warning": 3, "error": 4}
"""The doctor's exit status by the gravest finding; 1 and 2 are pyshimctl's own."""


@dataclass(frozen=True)
class Finding:
    """name: short and stable, for machines. severity: one of SEVERITIES.

    what, evidence and why are half sentences; next_step is a command or an instruction.
    """

    name: str
    severity: str
    what: str
    _: KW_ONLY
    evidence: str
    why: str
    next_step: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as a JSON object's members."""
        return dict(sorted(asdict(self).items()))


def gravest(findings: list[Finding]) -> str:
    """Return the highest severity among `findings`, "" when there are none."""
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    return SEVERITIES[max(ranks)] if ranks else ""


def is_denied(err: PyshimError) -> bool:
    """Whether it is only this user whom the kernel refuses: root may see that all is well."""
    return err.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0
