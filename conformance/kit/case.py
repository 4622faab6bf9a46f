"""Cases: a check, the MUST it checks, and where that MUST is written. Leaves running to isolate.py.

One function makes as many cases as it has parameters: `exit-status[42]`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kit.lab import Lab

    Check = Callable[..., None]

SPEC = "runtime-spec v1.3.0 "
CLI = "runtime-tools docs/command-line-interface.md "
CDI = "CDI v1.1.0 SPEC.md "
CODE = "CDI reference implementation at 05ae4b5, "
ENGINE = "engine's source: "
PEER = "nvidia-container-toolkit v1.20.0 cmd/nvidia-cdi-hook, "

ALL: list[Case] = []
"""Every case, in the order of its area's file."""


class Failure(Exception):  # noqa: N818 (a verdict, not an accident)
    """The runtime under test did not do what it must."""


class Skip(Exception):  # noqa: N818 (a verdict, not an accident)
    """The machine or the call lacks what the case needs; the reason is reported."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing a runtime must do."""

    area: str
    name: str
    must: str
    source: str
    check: Callable[[Lab], None]
    seconds: float = 40

    @property
    def path(self) -> str:
        """Name it by area and case: `hooks/order[poststop]`."""
        return f"{self.area}/{self.name}"

    def matches(self, pattern: str) -> bool:
        """True when `pattern`, a name, a path or a glob of either, means this case."""
        pattern = pattern.replace("[", "[[]")
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.path, self.name))


def area(name: str) -> Callable[..., Callable[[Check], Check]]:
    """Return the decorator that registers checks of the area `name`."""

    def case(
        title: str,
        must: str,
        source: str,
        params: Mapping[str, Any] | None = None,
        seconds: float = 40,
    ) -> Callable[[Check], Check]:
        def register(check: Check) -> Check:
            if params is None:
                ALL.append(Case(name, title, must, source, check, seconds))
            for label, value in (params or {}).items():
                bound = _bind(check, value)
                ALL.append(Case(name, f"{title}[{label}]", must, source, bound, seconds))
            return check

        return register

    return case


def _bind(check: Check, value: Any) -> Callable[[Lab], None]:
    return lambda lab: check(lab, value)


def check(condition: object, message: object) -> None:
    """Fail with `message` unless `condition` holds."""
    if not condition:
        raise Failure(str(message))


def equal(seen: object, wanted: object, what: str) -> None:
    """Fail unless `seen` equals `wanted`; `what` names the thing."""
    check(seen == wanted, f"{what}: expected {wanted!r}, found {seen!r}")
