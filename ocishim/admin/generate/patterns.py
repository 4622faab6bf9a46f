"""Paths with wildcards in a machine's tree: `*`, `?`, `[...]`, never across a slash."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import NamedTuple

from ocishim.admin.generate.nodes import listdir
from ocishim.admin.host import Host

_WILD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


class Match(NamedTuple):
    """A path that is there, and what of it stands where the wildcards are, one after another."""

    path: str
    star: str


def expand(host: Host, pattern: str) -> list[Match]:
    """Return the matches of an absolute pattern, 2 before 10; a path without wildcards if there."""
    found = [Match("", "")]
    for part in pattern.strip("/").split("/"):
        if not _WILD.search(part):
            found = [Match(f"{one.path}/{part}", one.star) for one in found]
            continue
        wanted = re.compile(_regex(part))
        found = [
            Match(f"{one.path}/{name}", one.star + "".join(match.groups()))
            for one in found
            for name in listdir(host, one.path or "/")
            if (match := wanted.fullmatch(name))
        ]
    there = [one for one in found if os.path.exists(host.real(one.path))]
    return sorted(there, key=lambda one: natural(one.path))


def is_wild(pattern: str) -> bool:
    """Whether there is a wildcard in it."""
    return bool(_WILD.search(pattern))


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within text as numbers."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _regex(part: str) -> str:
    """Return the regular expression of one name, a group for each run of wildcards."""
    made, at = "", 0
    for match in _WILD.finditer(part):
        one = fnmatch.translate(match[0])
        body = {"*": "[^/]*", "?": "[^/]"}.get(
            match[0], one.removeprefix("(?s:").removesuffix(r")\Z")
        )
        made += re.escape(part[at : match.start()]) + f"({body})"
        at = match.end()
    return made + re.escape(part[at:])
