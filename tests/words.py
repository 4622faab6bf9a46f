"""What foreign libraries say of a broken text: asked here, never written down in a test.

Their words are another version's tomorrow. Our messages hand them on behind our own.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable


def of_json(text: str | bytes) -> str:
    """Return what the json package says of `text`, as our messages write it."""
    return _reason(json.loads, text if isinstance(text, str) else text.decode())


def of_toml(text: str) -> str:
    """Return what tomllib says of `text`, as our messages write it."""
    return _reason(tomllib.loads, text)


def of_yaml(text: str) -> str:
    """Return the line of the fault in `text`, and what libyaml says of it."""
    try:
        list(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return f"line {mark.line + 1 if mark else 'unknown'}: {error.problem}"
    raise AssertionError(f"nothing is wrong with {text!r}")


def _reason(loads: Callable[[str], object], text: str) -> str:
    try:
        loads(text)
    except ValueError as error:
        said = str(error)
        return said[0].lower() + said[1:]
    raise AssertionError(f"nothing is wrong with {text!r}")
