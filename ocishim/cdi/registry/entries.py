"""What all of the registry shares: a found device, the shapes and names of cache entries."""

from __future__ import annotations

from ocishim import posixos
from ocishim.cache import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Edits = dict[str, Any]
    # The first key is "" with (cdiVersion, the spec's own edits), then come the devices by name.
    Parts = dict[str, Any]
    # Two tables of lines: device name, file number, offset, length; file number, entry in the
    # cache, length of its first part. bytes.find() over 10,000 names takes 0.2 ms, unmarshalling
    # them takes 2.
    Index = tuple[bytes, bytes]

INDEX = "cdi-index-"
_HERE = posixos.path.dirname(__file__)
_READERS = [_HERE, f"{_HERE}/..", f"{_HERE}/../document"]
"""The folders whose modules read spec files."""


class Found:
    """One requested device. `common` is its spec's own edits, due once per `path`."""

    __slots__ = ("cdi_version", "common", "edits", "name", "path")

    def __init__(self, name: str, path: str, cdi_version: str, common: Edits, edits: Edits) -> None:
        self.name = name
        self.path = path
        self.cdi_version = cdi_version
        self.common = common
        self.edits = edits


def dirs_name(prefix: str, spec_dirs: list[str]) -> str:
    """A cache entry's name for these spec dirs: two configurations keep one each."""
    return prefix + digest("\0".join(spec_dirs).encode(errors="surrogateescape"))


def code_state() -> int:
    """When this package was last installed (ns): a reader that was mended reads anew.

    A distribution's second build has the same version; its files are put in place by rename. In
    the static file it is a digest of all that is frozen there.
    """
    if posixos.IS_STATIC:
        from _pyshim import BUILD  # noqa: PLC0415 - not there elsewhere

        return int(BUILD)
    try:
        return sum(posixos.stat(folder).st_mtime_ns for folder in _READERS)
    except OSError:  # in a zip file
        return 0
