"""docs/doctor.md has every finding that there is, and how grave it can be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

SEVERITIES = ("info", "warning", "error")


def texts(expression: ast.expr) -> list[str]:
    """What a text may be: itself, or either side of a condition."""
    if isinstance(expression, ast.IfExp):
        return [*texts(expression.body), *texts(expression.orelse)]
    return [str(ast.literal_eval(expression))]


def made() -> dict[str, str]:
    """The findings' names in the sources, and the gravest severity of each."""
    found: dict[str, str] = {}
    for path in sorted((REPOSITORY / "ocishim/admin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Finding"
            ):
                names, severities = map(texts, node.args[:2])
                for name in names:
                    here = [severity for severity in severities if severity in SEVERITIES]
                    found[name] = max(found.get(name, "info"), *here, key=SEVERITIES.index)
    return found


def test_the_table() -> None:
    page = (REPOSITORY / "docs/doctor.md").read_text()
    told = {}
    for names, severity in re.findall(r"^\| (`[^|]*) \| (\w+) \|", page, re.MULTILINE):
        told.update(dict.fromkeys(re.findall(r"`([\w-]+)`", names), severity))
    assert told == made()
    assert len(told) > 40
