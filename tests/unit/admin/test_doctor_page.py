"""docs/doctor.md has every finding that there is, and how grave it can be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

SEVERITIES = ("info", "warning", "error")


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
                name = ast.literal_eval(node.args[0])
                severities = [
                    one.value for one in ast.walk(node.args[1]) if isinstance(one, ast.Constant)
                ]
                here = [str(one) for one in severities if one in SEVERITIES]
                found[name] = max(found.get(name, "info"), *here, key=SEVERITIES.index)
    return found


def test_the_table() -> None:
    page = (REPOSITORY / "docs/doctor.md").read_text()
    told = {}
    for names, severity in re.findall(r"^\| (`[^|]*) \| (\w+) \|", page, re.MULTILINE):
        told.update(dict.fromkeys(re.findall(r"`([\w-]+)`", names), severity))
    assert told == made()
    assert len(told) > 40
