"""CDI requests in annotations: `cdi.k8s.io/<plugin>_<device id>: name[,name...]`.

Reading them; device plugins write them. Which annotations may be trusted is decided in
requests.py. Pure.
"""

from __future__ import annotations

from ocishim.cdi import names
from ocishim.errors import DocumentError

PREFIX = "cdi.k8s.io/"


def parse(
    annotations: dict[str, str], prefixes: tuple[str, ...] = (PREFIX,)
) -> list[tuple[str, str]]:
    """(key, qualified device name) for each device asked for, in the order of sorted keys.

    The reference goes through its keys in random order; a defined one is one of its orders.
    Items are split at "," and nothing is trimmed. Duplicates stay. Raises DocumentError
    `invalid CDI device name "X"` for the first item that is not a qualified name.
    """
    found = []
    for key in sorted(annotations):
        if not key.startswith(prefixes):
            continue
        text = annotations[key]
        if not isinstance(text, str):
            raise DocumentError(f"annotation '{key}': expected string, found {text!r}")
        for item in text.split(","):
            if not names.is_qualified(item):
                raise DocumentError(f"invalid CDI device name {names.goquote(item)}")
            found.append((key, item))
    return found
