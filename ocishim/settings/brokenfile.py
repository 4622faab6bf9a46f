"""The two settings that are needed of a configuration file that need not be valid.

What is wrong with it is configfile's to say.
"""

from __future__ import annotations

import re

from ocishim.settings import configfile
from ocishim.settings.defaults import DEFAULTS


def runtimes_of_broken(path: str) -> list[str]:
    """Return `runtimes` from a file that need not be valid, else the default.

    A command that passes through needs this one setting and no other: a broken configuration
    never blocks a kill or a delete.
    """
    for line in _lines(path):
        if line.startswith("["):
            break
        array = re.match(r"runtimes\s*=\s*\[((?:\s*(?:\"[^\"]*\"|'[^']*')\s*,?)*)", line)
        if array:
            names = re.findall(r"\"([^\"]+)\"|'([^']+)'", array[1])
            return [double or single for double, single in names] or DEFAULTS["runtimes"]
    runtimes: list[str] = DEFAULTS["runtimes"]
    return runtimes


def metrics_of_broken(path: str) -> str:
    """Return `log.metrics` from a file that need not be valid, "" where nothing can be found.

    A broken configuration fails every create of a node: that much has to be counted.
    """
    lines = _lines(path)
    numbers = [number for number, name in configfile.named(lines) if name.key == "log.metrics"]
    text = lines[numbers[0] - 1].partition("=")[2] if numbers else ""
    value = re.match(r"\s*([\"'])(/[^\"'\\\0]*)\1", text)
    return value[2] if value else ""


def _lines(path: str) -> list[str]:
    try:
        return configfile.content(path).decode("utf-8", "replace").split("\n")
    except OSError:
        return []
