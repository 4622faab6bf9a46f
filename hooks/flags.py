"""The hooks' command lines: `--flag value`, `--flag=value`, one dash or two, repeatable.

A value is one value: it is never split on commas, because a path may hold one. What the values
mean is each hook's part.
"""

from __future__ import annotations

from ocishim.errors import UsageError
from ocishim.oci.hooktable import HOOKS


def of(name: str, args: list[str]) -> dict[str, list[str]]:
    """Parse the command line of the hook `name`, whose flags are in hooktable.HOOKS."""
    return parse(args, HOOKS[name].flags)


def parse(args: list[str], known: tuple[str, ...]) -> dict[str, list[str]]:
    """Return flag -> values in order; every flag of `known` is a key.

    UsageError: a flag that is not in `known`, a flag without its value, a word that is no flag.
    """
    values: dict[str, list[str]] = {name: [] for name in known}
    words = iter(args)
    for word in words:
        name, separator, value = word.lstrip("-").partition("=")
        dashes = len(word) - len(word.lstrip("-"))
        if dashes not in (1, 2) or name not in values:
            what = f"unknown flag {word!r}" if dashes else f"unexpected argument {word!r}"
            raise UsageError(what)
        if not separator:
            found = next(words, None)
            if found is None:
                raise UsageError(f"flag '--{name}' needs a value")
            value = found
        values[name].append(value)
    return values


def last(values: dict[str, list[str]], name: str, default: str = "") -> str:
    """The value of a flag given once; the last wins, as everywhere. UsageError when empty."""
    found = values[name]
    if not found:
        return default
    if not found[-1]:
        raise UsageError(f"flag '--{name}' is empty")
    return found[-1]
