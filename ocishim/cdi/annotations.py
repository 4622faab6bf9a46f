"""CDI requests in annotations: `cdi.k8s.io/<plugin>_<device id>: name[,name...]`.

Reading them (the shim) and writing them (a device plugin, our tests and tools). Which
annotations may be trusted is decided in requests.py. Pure.
"""

from __future__ import annotations

from ocishim.cdi import names
from ocishim.errors import DocumentError

PREFIX = "cdi.k8s.io/"
# A label's name part in Kubernetes; in bytes.
_MAX_NAME = 63


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


def key(plugin: str, device_id: str) -> str:
    """The annotation key for a device plugin's allocation; "/" in `device_id` becomes "_".

    Raises DocumentError with the reference's text when no valid key comes of it.
    """
    if not plugin:
        raise DocumentError("invalid plugin name, empty")
    if not device_id:
        raise DocumentError("invalid deviceID, empty")
    name = plugin + "_" + device_id.replace("/", "_")
    raw = names.gobytes(name)
    quoted = names.goquote(name)
    if len(raw) > _MAX_NAME:
        raise DocumentError(f"invalid plugin+deviceID {quoted}, too long")
    # The reference tests single bytes here and prints each as the character of that number.
    if chr(raw[0]) not in names.ALNUM:
        raise DocumentError(f"invalid name {quoted}, first '{chr(raw[0])}' should be alphanumeric")
    bad = names.first_invalid_rune(name, names.ALNUM + "_-.")
    if bad:
        raise DocumentError(f"invalid name {quoted}, invalid character '{bad}'")
    if chr(raw[-1]) not in names.ALNUM:
        raise DocumentError(f"invalid name {quoted}, last '{chr(raw[-1])}' should be alphanumeric")
    return PREFIX + name


def value(devices: list[str]) -> str:
    """The annotation value that asks for `devices`; DocumentError if one is not qualified."""
    for device in devices:
        names.parse(device)
    return ",".join(devices)


def update(
    annotations: dict[str, str], plugin: str, device_id: str, devices: list[str]
) -> dict[str, str]:
    """`annotations` with a request for `devices` added; the argument is left as it is.

    Raises DocumentError `CDI annotation failed...` for a bad key or value or a key in use.
    """
    try:
        new_key = key(plugin, device_id)
        if new_key not in annotations:
            return {**annotations, new_key: value(devices)}
    except DocumentError as e:
        raise DocumentError(f"CDI annotation failed: {e.message}") from None
    raise DocumentError(f"CDI annotation failed, key {names.goquote(new_key)} used")
