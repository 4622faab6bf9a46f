r"""Shell patterns of `*`, `?`, `[a-z]`, `[!a]` and `\`, as fnmatch(3) of glibc reads them. Pure.

Python's `fnmatch` would do, but imports `re` (5 ms).
"""

from __future__ import annotations

_NOT = ("!", "^")


def matches(name: str, pattern: str) -> bool:
    """Whether `name` matches.

    One star is remembered, so that no pattern takes more than len(name) * len(pattern) steps.
    """
    at, place = 0, 0
    star, star_at = -1, 0
    while at < len(name):
        step = _match_one(name[at], pattern, place)
        if step:
            at, place = at + 1, place + step
        elif place < len(pattern) and pattern[place] == "*":
            star, star_at = place, at
            place += 1
        elif star >= 0:
            star_at += 1
            at, place = star_at, star + 1
        else:
            return False
    return not pattern[place:].strip("*")


def _match_one(character: str, pattern: str, place: int) -> int:
    """How many characters of `pattern` at `place` match `character`; 0: none do."""
    if place >= len(pattern) or pattern[place] == "*":
        return 0
    if pattern[place] == "?":
        return 1
    if pattern[place] == "[":
        ranges, end = _set(pattern, place + 1)
        found = any(low <= character <= high for low, high in ranges)
        if end < 0 and not found:
            return 0
        if end > 0:
            negated = pattern[place + 1] in _NOT
            return end - place if found != negated else 0
    member, end = _member(pattern, place)
    return end - place if member == character else 0


def _set(pattern: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """The ranges of the set whose "[" is before `at`, and the place after its "]"; 0: it has none.

    As fnmatch(3) of glibc: "]" as the first member is one, "-" as the first or last, too. Without
    "]" it is a plain "[", but where the pattern ends within a range (-1): that matches nothing,
    unless a member before or the low end does.
    """
    at += pattern[at : at + 1] in _NOT
    ranges: list[tuple[str, str]] = []
    while at < len(pattern) and (not ranges or pattern[at] != "]"):
        low, at = _member(pattern, at)
        high = low
        if pattern[at:] == "-":
            return [*ranges, (low, low)], -1
        if pattern[at : at + 1] == "-" and pattern[at + 1] != "]":
            high, at = _member(pattern, at + 1)
        ranges.append((low, high))
    return ranges, at + 1 if at < len(pattern) else 0


def _member(pattern: str, at: int) -> tuple[str, int]:
    r"""The character at `at`, or after a `\` there ("" after the last one), and where it ends."""
    if pattern[at] == "\\":
        return pattern[at + 1 : at + 2], at + 2
    return pattern[at], at + 1
