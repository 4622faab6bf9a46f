"""Paths with wildcards in a machine's tree: `*`, `?`, `[...]`, never across a slash."""

from __future__ import annotations

import re
from typing import NamedTuple

from ocishim.admin.host import Host

# A "]" that comes first in brackets is a member of them.
_WILD = re.compile(r"\*|\?|\[(?:!?\]|!(?!\])|(?![]!]))[^]]*\]")


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
        wanted = compiled(part)
        found = [
            Match(f"{one.path}/{name}", one.star + "".join(match.groups()))
            for one in found
            for name in host.listdir(one.path or "/")
            if (match := wanted.fullmatch(name))
        ]
    there = [one for one in found if host.exists(one.path)]
    return sorted(there, key=lambda one: natural(one.path))


def is_wild(pattern: str) -> bool:
    """Whether there is a wildcard in it."""
    return bool(_WILD.search(pattern))


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within text as numbers."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def compiled(part: str) -> re.Pattern[str]:
    """Return what matches one name, a group for each run of wildcards."""
    made, at = "", 0
    for match in _WILD.finditer(part):
        body = {"*": "[^/]*", "?": "[^/]"}.get(match[0]) or _one_of(match[0][1:-1])
        made += re.escape(part[at : match.start()]) + f"({body})"
        at = match.end()
    return re.compile(made + re.escape(part[at:]), re.DOTALL)


def _one_of(members: str) -> str:
    """Return the regular expression of what stands within brackets; a range backwards has none."""
    inside = members.removeprefix("!")
    ranges = [(low, high or low) for low, high in re.findall("(.)(?:-(.))?", inside, re.DOTALL)]
    made = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if inside != members:
        return f"[^/{made}]"
    return f"[{made}]" if made else "(?!)"
