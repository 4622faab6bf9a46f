"""UTF-8 alone, as the package `encodings` of the hot programs' interpreter (boot.py puts it there).

The standard library's own is searched for, read and run at every start, 0.7 ms with its table of
names; this one hands on to it when anybody asks for more. Imports what is frozen into CPython.
"""

from __future__ import annotations

import codecs
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# boot.py's ._pth: this folder, then the library's.
_STANDARD = sys.path[1] + "/encodings"
__path__ = [_STANDARD]


def _decode(data: bytes, errors: str = "strict") -> tuple[str, int]:
    return codecs.utf_8_decode(data, errors, True)


class _Encoder(codecs.IncrementalEncoder):
    def encode(self, input: str, final: bool = False) -> bytes:  # noqa: A002, ARG002, FBT001, FBT002
        return codecs.utf_8_encode(input, self.errors)[0]


class _Decoder(codecs.BufferedIncrementalDecoder):
    _buffer_decode = codecs.utf_8_decode  # type: ignore[assignment]


class _Writer(codecs.StreamWriter):
    encode = codecs.utf_8_encode  # type: ignore[assignment]


class _Reader(codecs.StreamReader):
    decode = codecs.utf_8_decode  # type: ignore[assignment]


_UTF_8 = codecs.CodecInfo(
    codecs.utf_8_encode, _decode, name="utf-8",  # type: ignore[arg-type]
    incrementalencoder=_Encoder, incrementaldecoder=_Decoder,
    streamwriter=_Writer, streamreader=_Reader,
)  # fmt: skip


def _search(name: str) -> codecs.CodecInfo | None:
    if name in ("utf_8", "utf-8", "utf8"):
        return _UTF_8
    found: codecs.CodecInfo | None = _standard().search_function(name)
    return found


def _standard() -> Any:
    """Return the library's package, which from now on is `encodings`."""
    from _frozen_importlib import module_from_spec  # noqa: PLC0415 - rare
    from _frozen_importlib_external import spec_from_file_location  # noqa: PLC0415 - rare

    module: Any = sys.modules["encodings"]
    origin = _STANDARD + "/__init__.py"
    if module.__spec__.origin != origin:
        spec: Any = spec_from_file_location(
            "encodings", origin, submodule_search_locations=[_STANDARD]
        )
        module = module_from_spec(spec)
        sys.modules["encodings"] = module
        spec.loader.exec_module(module)
    return module


def __getattr__(name: str) -> Any:
    """Whatever else is asked of the package is the library's."""
    return getattr(_standard(), name)


codecs.register(_search)
