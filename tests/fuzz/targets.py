"""What is fuzzed: one function a reader, which raises when the reader breaks a promise.

A target takes any bytes. Only the reader's own kind of error may leave it, and what it returns is
held against a reference (CPython's json, pyelftools, glibc's fnmatch) or against itself (what is
written is read again). Leaves making inputs to engines.py, and time and memory, too.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import tempfile
from _imp import source_hash
from collections.abc import Callable
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from ocishim import cache, jsonio
from ocishim.cdi.document import blocktext, document, jsontext, yamlgo
from ocishim.cdi.document.goscalars import DialectError
from ocishim.cdi.registry import registry
from ocishim.create import argv
from ocishim.errors import (
    DocumentError,
    ForeignMountError,
    PyshimError,
    UnsafePathError,
    UsageError,
)
from ocishim.hooks import chain, elf, flags, ldcache, ldconf, program, wildcard
from ocishim.oci import state
from tests.fuzz.seeds import CDI_SPEC, MACHINE, NOTE_OWNER, NOTE_SECTION

_MOST_READ = 4 << 20
"""Bytes that the ELF reader may ask for, whatever a header claims: see the limits in elf.py."""


def _reader(data: bytes) -> Callable[[int, int], bytes]:
    left = _MOST_READ

    def read(size: int, offset: int) -> bytes:
        nonlocal left
        left -= size
        assert size >= 0
        assert 0 <= offset < 1 << 63, "pread refuses it"
        assert left >= 0, "reads more than its limits"
        return data[offset : offset + size]

    return read


def elf_file(data: bytes) -> None:
    """hooks/elf.py: what it takes for a static program, pyelftools does, too."""
    try:
        elf.note(_reader(data), NOTE_SECTION, NOTE_OWNER)
    except DocumentError:
        pass
    try:
        elf.require_static_program(_reader(data), MACHINE)
    except DocumentError:
        return
    try:
        other = ELFFile(io.BytesIO(data))
        kinds = {segment["p_type"] for segment in other.iter_segments()}
    except (ELFError, ValueError, KeyError, AttributeError, OverflowError, TypeError):
        return  # stricter than the kernel: string tables, sections
    assert other["e_type"] in ("ET_EXEC", "ET_DYN")
    assert "PT_INTERP" not in kinds


def library_name(data: bytes) -> None:
    """elf.soname(): what pyelftools finds where that takes the file."""
    try:
        found = elf.library(_reader(data))
        ours = found.soname
    except DocumentError:
        return
    assert b"\0" not in ours
    try:
        other: Any = ELFFile(io.BytesIO(data))
        segments = [s for s in other.iter_segments() if s["p_type"] == "PT_DYNAMIC"]
        names = [tag.soname for segment in segments for tag in segment.iter_tags("DT_SONAME")]
    except Exception:  # noqa: BLE001 - whatever it raises of a broken file
        return
    assert (found.bits, other["e_type"]) == (other.elfclass, "ET_DYN")
    if ours and len(segments) == len(names) == 1 and ours.isascii():
        assert names == [ours.decode()]


def library_cache(data: bytes) -> None:
    """hooks/ldcache.py: what is read and written again is read as the same."""
    try:
        found = ldcache.parse(data)
    except DocumentError:
        return
    assert all(len(text) < 4096 for entry in found.entries for text in (entry.name, entry.path))
    again = ldcache.parse(ldcache.build(found))
    assert list(again.hwcaps) == list(found.hwcaps)
    assert again.flags == found.flags
    fields = ldcache.Entry.__slots__
    assert [[getattr(e, f) for f in fields] for e in again.entries] == [
        [getattr(e, f) for f in fields] for e in found.entries
    ]


class _Tree:
    """A rootfs whose files are parts of the input: as much of Rootfs as ldconf.py uses."""

    def __init__(self, data: bytes, *, others: bool = False) -> None:
        self.others = others  # all of it lies on a volume
        self.mounts = self
        main, *parts = data.split(b"\xff\xff")
        self.files = {ldconf.MAIN: main}
        self.files.update({f"/etc/d/{n}.conf": part for n, part in enumerate(parts)})

    def read_whose(self, path: str, limit: int) -> tuple[bytes, bool]:
        if path not in self.files:
            raise FileNotFoundError(path)
        if len(self.files[path]) > limit:
            raise UnsafePathError(path)
        return self.files[path], self.is_root(-1, None)

    def is_root(self, _fd: int, _status: object) -> bool:
        return not self.others

    def left_to_others(self, refused: UnsafePathError, path: str) -> PyshimError:
        return ForeignMountError(path, "/volume") if self.others else refused

    def resolve(self, path: str) -> int:
        if path.rstrip("/") not in ("", "/etc", "/etc/d"):
            raise FileNotFoundError(path)
        return os.open("/", os.O_PATH)

    def listdir(self, path: str, _limit: int) -> list[str]:
        below = {"": ["etc"], "/etc": ["d", "ld.so.conf"]}
        names = [file[7:] for file in self.files if file.startswith("/etc/d/")]
        return below.get(path.rstrip("/"), names)


def ld_so_conf(data: bytes) -> None:
    """hooks/ldconf.py: each file once, and what it read is read again from what could be written."""
    left = ldconf.load(_Tree(data, others=True))  # type: ignore[arg-type]
    try:
        found = ldconf.load(_Tree(data))  # type: ignore[arg-type]
    except UnsafePathError:
        assert left.left
        return
    assert len(set(found.files)) == len(found.files)
    assert all(folder.startswith("/") for folder in found.folders)
    plain = [folder for folder in found.folders if ldconf.is_plain(folder)]
    again = list(ldconf.entries(os.fsencode("\n".join(plain))))
    assert again == [("folder", folder) for folder in plain]


_fnmatch = ctypes.CDLL(None).fnmatch


def ld_so_pattern(data: bytes) -> None:
    """wildcard.matches() is glibc's fnmatch(), which ldconfig asks by way of glob()."""
    pattern, _, name = data.partition(b"\0")
    if b"\0" in name or not (pattern + name).isascii() or b"/" in pattern + name:
        return  # glob() matches one component
    if any(special in pattern for special in (b"[:", b"[.", b"[=")):
        return  # classes of characters: nobody's file has them
    ours = wildcard.matches(name.decode(), pattern.decode())
    assert ours == (_fnmatch(pattern, name, 0) == 0)


def _refuse(text: str) -> Any:
    raise ValueError(text)


# Raw bytes that are no text, where json leaves them alone, and escapes of halves, which are U+FFFD.
_RAW = {0xDC00 + byte: 0x10FF00 + byte for byte in range(0x80, 0x100)}
_READ = dict.fromkeys(range(0xD800, 0xE000), 0xFFFD) | {new: old for old, new in _RAW.items()}


def _reference(data: bytes) -> Any:
    """The document as CPython's json has it; ValueError when it is none."""
    text = data.decode("utf-8", "surrogateescape").translate(_RAW)
    return _translated(json.loads(text, parse_constant=_refuse))


def _translated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.translate(_READ): _translated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_translated(item) for item in value]
    return value.translate(_READ) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """A document of ours as CPython's json has it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return json.loads(value.text) if isinstance(value, jsonio.Number) else value


def json_text(data: bytes) -> None:
    """ocishim/jsonio.py: reads what json reads, and what it writes is read as the same."""
    if b"\xf4\x8f" in data:
        return  # _reference needs these characters
    try:
        value = jsonio.loads(data, "x")
    except DocumentError as err:
        if "nested too deeply" in str(err):
            return
        try:
            _reference(data)
        except ValueError:
            return
        raise AssertionError(f"json reads what jsonio refuses: {err}") from err
    assert _same(_plain(value), _reference(data))
    written = jsonio.dumps(value)
    assert jsonio.loads(written, "x") == value
    assert jsonio.dumps(jsonio.loads(written, "x")) == written
    out: list[str] = []
    jsonio._write(value, out.append, jsonio._quote())  # what a document with Numbers goes through
    assert jsonio._to_bytes("".join(out)) == written
    assert jsonio.copy(value) == value


def _same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and (one == two or repr(one) == repr(two))


def cdi_document(data: bytes) -> None:
    """ocishim/cdi: only CDISpecError; the short ways say what the long one does; written, it stays."""
    for short_way in (jsontext, blocktext):
        try:
            value = short_way.load(data)
        except jsontext.NotPlainError:
            continue
        assert _same(value, yamlgo.load(data)), short_way.__name__
    try:
        spec = document.load(data, "x")
    except document.CDISpecError as err:
        if not err.kind:
            raise AssertionError("no kind") from err
        return
    try:
        text = json.dumps(spec, ensure_ascii=False).encode()
        written = yamlgo.load(text)
    except (UnicodeEncodeError, DialectError):
        return  # characters that JSON has and YAML refuses
    if _same(written, spec):
        assert document.load(text, "x") == spec


def command_line(data: bytes) -> None:
    """ocishim/create/argv.py: never raises, invents nothing, and cannot be changed by what follows."""
    words = [os.fsdecode(word) for word in data.split(b"\0")]
    found = argv.parse(words)
    assert found.command in ("", *words)
    for text in (found.bundle, found.config_file, found.log, found.log_format):
        assert not text or any(word.endswith(text) for word in words)
    assert found.container_id in ("", *words)
    assert not found.edits or found.command in argv.EDITED
    if found.command in argv.EDITED and not found.fault:
        index = next(i for i in range(len(words)) if argv.parse(words[: i + 1]).command)
        assert argv.parse(words[: index + 1]).log == found.log


def compiled_cache(data: bytes) -> None:
    """ocishim/cache.py: an entry is what was put there, or it is not there."""
    value = cache._unframe(data, "key")
    if value is not None:
        assert data.startswith(cache.MARK)
        assert cache._unframe(data, "another key") is None
    mended = cache.MARK + source_hash(cache._SEED, b"") + data  # a wrong sum of anything
    assert cache._unframe(mended, "key") is None or not data


class _Known:
    """One spec dir with its cache, filled once."""

    folder = ""
    names: list[str] = []  # noqa: RUF012 - one of them

    @classmethod
    def make(cls) -> None:
        # In memory, and emptied by hand: the process is a fuzzer's.
        cls.folder = tempfile.mkdtemp(prefix="pyshim-fuzz-")
        os.makedirs(f"{cls.folder}/cdi")
        with open(f"{cls.folder}/cdi/a.json", "wb") as file:
            file.write(CDI_SPEC)
        os.utime(f"{cls.folder}/cdi/a.json", (1, 1))  # old enough to be believed
        registry.load([f"{cls.folder}/cdi"], cache.Cache(f"{cls.folder}/cache"))
        cls.names = sorted(os.listdir(f"{cls.folder}/cache"))


def cached_registry(data: bytes) -> None:
    """ocishim/cdi/registry/registry.py: whatever lies in the cache, the answer is the spec's."""
    if not _Known.folder:
        _Known.make()
    name = _Known.names[data[0] % len(_Known.names)] if data else _Known.names[0]
    path = f"{_Known.folder}/cache/{name}"
    with open(path, "rb") as file:
        right = file.read()
    at, cut = int.from_bytes(data[1:3], "big"), len(data[3:])
    with open(path, "wb") as file:  # a part of it overwritten, or all
        file.write(right[: at % (len(right) + 1)] + data[3:] + right[at % (len(right) + 1) + cut :])
    loaded = registry.load([f"{_Known.folder}/cdi"], cache.Cache(f"{_Known.folder}/cache"))
    (device,) = loaded.resolve(loaded.devices())
    assert device.name == "acme.com/gpu=0"
    assert device.edits["env"] == ["A=1"]
    with open(path, "wb") as file:
        file.write(right)


def hook_arguments(data: bytes) -> None:
    """hooks/: a command line is understood or a UsageError; flags written down are read again."""
    words = [os.fsdecode(word) for word in data.split(b"\0")]
    try:
        call = program.parse(words)
        chain.parse(call.parts, lambda _level, _text: None)
    except PyshimError:
        pass
    known = ("folder", "link", "mode")
    try:
        values = flags.parse(words, known)
    except UsageError:
        return
    written = [f"--{name}={value}" for name in known for value in values[name]]
    assert flags.parse(written, known) == values


def container_state(data: bytes) -> None:
    """oci/state.py: a state is taken or a DocumentError, and its parts are what their types say."""
    try:
        found = state.parse(data)
        path = state.rootfs_path(found)
    except (PyshimError, OSError):
        return
    assert isinstance(found.id, str)
    assert path.startswith("/")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "elf": elf_file,
    "soname": library_name,
    "ldcache": library_cache,
    "ldconf": ld_so_conf,
    "pattern": ld_so_pattern,
    "json": json_text,
    "cdi": cdi_document,
    "argv": command_line,
    "cache": compiled_cache,
    "registry": cached_registry,
    "hookargs": hook_arguments,
    "state": container_state,
}
"""Name on the command line -> target."""
