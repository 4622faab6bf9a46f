"""What the project says of itself: the facts and texts that packages repeat."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import tomlkit

from ocishim import __version__

ROOT = Path(__file__).resolve().parents[2]
VERSION = __version__
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1700000000"))
"""When all files were made (reproducible-builds.org); the usual one is tools/binary.sh's."""
DAY = time.strftime("%Y-%m-%d", time.gmtime(EPOCH))

_project: Any = tomlkit.parse((ROOT / "pyproject.toml").read_text())["project"]
SUMMARY = str(_project["description"])
KEYWORDS = [str(word) for word in _project["keywords"]]
AUTHOR = str(_project["authors"][0]["name"])
EMAIL = "pyshim@example.invalid"  # a .deb must name one; the project has none (RFC 2606)

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def section(document: str, heading: str = "") -> str:
    """Return what stands below `heading` of a Markdown file, up to the next one of its level.

    "" is what stands before the first section. Links become their words.
    Raises KeyError where there is no such heading.
    """
    text = (ROOT / document).read_text()
    blind = _FENCE.sub(lambda fence: re.sub("^#", "-", fence[0], flags=re.MULTILINE), text)
    marks = [(m.end(), m[2], m.start()) for m in re.finditer(r"^(#+) (.*)$", blind, re.MULTILINE)]
    names = ["" if number == 0 else name for number, (_, name, _) in enumerate(marks)]
    if heading not in names:
        raise KeyError(f"{document}: no heading {heading!r}")
    at = names.index(heading)
    end = marks[at + 1][2] if at + 1 < len(marks) else len(text)
    return _LINK.sub(r"\1", _COMMENT.sub("", text[marks[at][0] : end])).strip()


def paragraphs(text: str, count: int) -> str:
    """Return the first `count` paragraphs of Markdown."""
    return "\n\n".join(text.split("\n\n")[:count])


def description() -> str:
    """Return what packages say of the program, one line without marks."""
    return " ".join(paragraphs(section("README.md"), 2).replace("`", "").split())


def licence(inventory: Path) -> str:
    """Return the SPDX expression of all that the static file's inventory lists."""
    packages = json.loads(inventory.read_text())["packages"]
    each = {str(package["licenseDeclared"]) for package in packages}
    return " AND ".join(f"({one})" if " OR " in one else one for one in sorted(each))
