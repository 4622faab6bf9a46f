"""Says what became of the cases: TAP, JSON, JUnit or lines for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from kit.isolate import Verdict


def tap(verdicts: list[Verdict], about: dict[str, str]) -> str:
    """Return TAP version 13; an expected failure is a TODO."""
    lines = ["TAP version 13", f"1..{len(verdicts)}", f"# {about['name']} {about['version']}"]
    for number, verdict in enumerate(verdicts, 1):
        failed = verdict.outcome == "fail"
        line = f"{'not ok' if failed else 'ok'} {number} - {verdict.case.path}"
        if verdict.outcome == "skip":
            line += f" # SKIP {verdict.message}"
        elif failed and verdict.expected:
            line += f" # TODO {verdict.expected}"
        lines.append(line)
        if failed:
            why = (f"  {key}: {json.dumps(value)}" for key, value in _why(verdict))
            lines += ["  ---", *why, "  ..."]
    return "\n".join(lines)


def _why(verdict: Verdict) -> list[tuple[str, str]]:
    return [
        ("must", verdict.case.must),
        ("source", verdict.case.source),
        ("message", verdict.message),
    ]


def as_json(verdicts: list[Verdict], about: dict[str, str]) -> str:
    """Return one JSON object: what was tested, and each case."""
    cases = [
        {
            "area": verdict.case.area,
            "name": verdict.case.name,
            "outcome": verdict.outcome,
            "expected": verdict.expected,
            "seconds": round(verdict.seconds, 3),
            **dict(_why(verdict)),
        }
        for verdict in verdicts
    ]
    return json.dumps({**about, "cases": cases}, indent=1)


def junit(verdicts: list[Verdict], about: dict[str, str]) -> str:
    """Return JUnit's XML; an expected failure counts as skipped."""
    unexpected = sum(1 for verdict in verdicts if is_news(verdict))
    name = quoteattr(about["name"])
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name={name} tests="{len(verdicts)}" failures="{unexpected}">',
    ]
    for verdict in verdicts:
        case = verdict.case
        lines.append(
            f"<testcase classname={quoteattr(case.area)} name={quoteattr(case.name)} "
            f'time="{verdict.seconds:.3f}">'
        )
        if is_news(verdict):
            text = "\n".join(f"{key}: {value}" for key, value in _why(verdict))
            lines.append(f"<failure>{escape(_printable(text))}</failure>")
        elif verdict.outcome != "pass":
            lines.append(f"<skipped message={quoteattr(verdict.expected or verdict.message)}/>")
        lines.append("</testcase>")
    return "\n".join([*lines, "</testsuite>"])


def people(verdicts: list[Verdict], about: dict[str, str]) -> str:
    """Return what somebody at a terminal wants to know: the news, then the count by area."""
    lines = [f"{about['name']} {about['version']}"]
    for verdict in filter(is_news, verdicts):
        why = (f"  {key}: {value}" for key, value in _why(verdict))
        lines += [f"FAIL {verdict.case.path}", *why]
    for area in dict.fromkeys(verdict.case.area for verdict in verdicts):
        here = [verdict for verdict in verdicts if verdict.case.area == area]
        counts = [
            f"{sum(v.outcome == 'pass' for v in here)} of {len(here)} pass",
            f"{sum(v.outcome == 'fail' and bool(v.expected) for v in here)} fail as expected",
            f"{sum(map(is_news, here))} fail",
            f"{sum(v.outcome == 'skip' for v in here)} skipped",
        ]
        lines.append(
            f"{area:14} "
            + ", ".join(
                text for text in counts if not text.startswith("0 f") and not text.startswith("0 s")
            )
        )
    return "\n".join(lines)


def is_news(verdict: Verdict) -> bool:
    """True for a failure nobody has written down."""
    return verdict.outcome == "fail" and not verdict.expected


def _printable(text: str) -> str:
    return "".join(char if char >= " " or char in "\n\t" else "?" for char in text)
