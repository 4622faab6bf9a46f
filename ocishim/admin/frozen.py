"""The files of packages that are frozen into the static file, as importlib.resources reads them.

Cold. binary/start.py finds the modules there; this is for who asks for a package's other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import _pyshim


class Reader:
    """What importlib.resources asks of a package's loader (importlib.resources.abc)."""

    def __init__(self, package: str) -> None:
        self.package = package

    def files(self) -> Place:
        """Return the package's folder."""
        return Place(self.package.replace(".", "/"))


class Place:
    """A folder or a file in the static file; whether it is there is seen when it is read.

    With the names of importlib.resources.abc.Traversable, which Python 3.10 keeps elsewhere.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def iterdir(self) -> Iterator[Place]:
        """The files and folders in this one, sorted."""
        start = f"{self.path}/"
        paths = [name.removeprefix(start) for name in _pyshim.names() if name.startswith(start)]
        return (Place(start + part) for part in sorted({path.partition("/")[0] for path in paths}))

    def is_file(self) -> bool:
        """Whether it has bytes."""
        return _pyshim.data(self.path) is not None

    def is_dir(self) -> bool:
        """Whether anything lies in it."""
        return any(True for _ in self.iterdir())

    def joinpath(self, *parts: str) -> Place:
        """Return what lies below."""
        return Place("/".join((self.path, *parts)))

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        """Return what the file holds; FileNotFoundError when there is none."""
        data: bytes | None = _pyshim.data(self.path)
        if data is None:
            raise FileNotFoundError(2, "No such file in the program", self.path)
        return data

    def read_text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return what the file holds as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors)

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """Open the file to be read."""
        stream = io.BytesIO(self.read_bytes())
        return stream if "b" in mode else io.TextIOWrapper(stream, *args, **kwargs)
