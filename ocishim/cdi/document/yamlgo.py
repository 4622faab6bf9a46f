"""YAML as the CDI reference reads it: go-yaml v2, strict, then keys made strings.

load() gives plain values (dict, list, str, int, float, bool, None). What differs from PyYAML's
own loaders: only the first document counts; a key given twice is an error, also through a merge
key; anchors may be redefined; scalars resolve by go-yaml's table; aliases are limited by its
ratio. Scanning is libyaml's, of which go-yaml is a port; the places where the port is stricter
are marked below and in yamlmend.py. Which values a CDI spec may hold is coerce.py's question.

Sources: go-yaml v2 decode.go, resolve.go, readerc.go; sigs.k8s.io/yaml v1.4 yaml.go. Pure.
"""

from __future__ import annotations

from yaml import events as ev
from yaml.error import YAMLError

from ocishim import jsonio
from ocishim.cdi.document import goscalars, yamlmend, yamlscalars
from ocishim.cdi.document.goscalars import DialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# A CDI spec is seven levels deep; whatever is deeper than this is refused later anyway.
_MAX_DEPTH = 64
_TOO_DEEP = "nested too deeply"
# The reader of go-yaml looks ahead by so many bytes, and so complains about what is in there.
_CHUNK = 512
_RAW_BUFFER = 16384


def load(data: bytes, *, strict: bool = True) -> Any:
    """The first document in `data`; None when it is empty.

    Not `strict`, a key may be given again and the last one counts (yaml.Unmarshal).

    Raises DialectError with a reason and, where it is known, a line. Time and memory are
    proportional to the size of `data`, aliases included.
    """
    data, hides = yamlmend.hide_marks(_decode(data), data)
    for _ in range(yamlmend.LIMIT):
        try:
            return _Builder(data, strict=strict, hides=hides).document()
        except YAMLError as e:
            text = _decode(data)
            mended = yamlmend.mend(text, e)
            if mended is None:
                raise DialectError(_reason(e, text)) from None
        if not hides:
            yamlmend.refuse_private(_decode(data))
        data, hides = mended, True
    raise DialectError("too many places where libyaml is stricter than its port")


def _reason(error: YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if mark and _opened(text[: mark.index].rpartition("\n")[2]) > _MAX_DEPTH:
        # The scanner runs ahead on a line, and meets a limit of its own before ours is counted.
        problem = _TOO_DEEP
    elif mark and text[mark.index : mark.index + 1] == "\t":
        problem = f"{problem}: a tab, and YAML indents by spaces"
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _opened(line: str) -> int:
    """How many collections `line` begins and does not end, more or less: it may have texts."""
    begun = line.count("[") + line.count("{") + line.count("- ")
    return begun - line.count("]") - line.count("}")


class _Chunks:
    """`data` in the pieces go-yaml reads, so that text far behind the document is not judged."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def read(self, size: int = _RAW_BUFFER, /) -> bytes:
        kept = _RAW_BUFFER - size
        piece = self.data[self.position : self.position + max(_CHUNK - kept, 1)]
        self.position += len(piece)
        return piece


class _Anchor:
    """A node that an alias may name: its value, and how many decodings it stands for."""

    __slots__ = ("count", "done", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.count = 0
        self.done = False


class _Builder:
    """Builds the value of one document from libyaml's events."""

    def __init__(self, data: bytes, *, strict: bool, hides: bool) -> None:
        self.strict = strict
        self.hides = hides
        self.slashes = _Slashes(data)
        self.next: Callable[[], Any] = _parser(data).get_event
        self.anchors: dict[str, _Anchor] = {}
        self.decoded = 1
        self.aliased = 0
        self.mixed: list[dict[Any, Any]] = []
        self.flow = 0

    def document(self) -> Any:
        self.next()
        start = self.next()
        if not isinstance(start, ev.DocumentStartEvent):
            return None
        if start.version not in (None, (1, 1)):
            raise DialectError("found incompatible YAML document")
        value = self.node(self.next(), 0)
        self.next()
        for mapping in self.mixed:
            _name_keys(mapping)
        return value

    def node(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is ev.AliasEvent:
            return self.alias(event)
        self.count()
        anchor = None
        if event.anchor is not None:
            anchor = self.anchors[event.anchor] = _Anchor()
        before = self.decoded - 1
        value = self.scalar(event) if kind is ev.ScalarEvent else self.collection(event, depth)
        if anchor:
            anchor.value, anchor.count, anchor.done = value, self.decoded - before, True
        return value

    def count(self) -> None:
        self.decoded += 1
        if self.aliased > 100:
            yamlscalars.check_aliases(self.decoded, self.aliased)

    def alias(self, event: Any) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            raise DialectError(f"unknown anchor '{event.anchor}' referenced")
        if not anchor.done:
            raise DialectError(f"anchor '{event.anchor}' value contains itself")
        self.decoded += 1 + anchor.count
        self.aliased += anchor.count
        yamlscalars.check_aliases(self.decoded, self.aliased)
        return anchor.value

    def scalar(self, event: Any) -> Any:
        if self.hides:
            event.value = yamlmend.show(event.value)
        self.slashes.check(event)
        # Between brackets "?" ends a plain scalar, and nothing that may follow one begins so.
        if self.flow and not event.style and "?" in event.value:
            raise DialectError(f"line {event.start_mark.line + 1}: did not expect '?' here")
        if event.tag is None and not event.implicit[0]:
            return event.value
        return yamlscalars.resolve(event.tag or "", event.value)

    def collection(self, event: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise DialectError(f"line {event.start_mark.line + 1}: {_TOO_DEEP}")
        self.flow += bool(event.flow_style)
        is_mapping = type(event) is ev.MappingStartEvent
        value = self.mapping(depth + 1) if is_mapping else self.sequence(depth + 1)
        self.flow -= bool(event.flow_style)
        return value

    def sequence(self, depth: int) -> list[Any]:
        items = []
        event = self.next()
        while type(event) is not ev.SequenceEndEvent:
            items.append(self.node(event, depth))
            event = self.next()
        return items

    def mapping(self, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        mixed = False
        event = self.next()
        while type(event) is not ev.MappingEndEvent:
            line = event.start_mark.line + 1
            if _is_merge(event):
                self.merge(event, result, depth)
            else:
                key = self.node(event, depth)
                if type(key) is not str:
                    key, mixed = _typed_key(key), True
                self.put(result, key, self.node(self.next(), depth), line)
            event = self.next()
        if mixed or any(type(key) is not str for key in result):
            self.mixed.append(result)
        return result

    def merge(self, event: Any, result: dict[Any, Any], depth: int) -> None:
        if event.anchor is not None:
            anchor = self.anchors[event.anchor] = _Anchor()
            anchor.value, anchor.count, anchor.done = "<<", 1, True
        value = self.next()
        line = value.start_mark.line + 1
        found = self.node(value, depth)
        # Backwards: of several the first counts.
        for source in reversed(found) if type(value) is ev.SequenceStartEvent else [found]:
            if not isinstance(source, dict):
                raise DialectError("map merge requires map or sequence of maps as the value")
            for key, item in source.items():
                self.put(result, key, item, line)

    def put(self, result: dict[Any, Any], key: Any, value: Any, line: int) -> None:
        if self.strict and key in result:
            name = key if isinstance(key, str) else goscalars.key_text(key[1])
            raise DialectError(f"line {line}: key '{name}' already set in map")
        result[key] = value


def _is_merge(event: Any) -> bool:
    return (
        type(event) is ev.ScalarEvent
        and event.value == "<<"
        and (event.implicit[0] or event.tag == "tag:yaml.org,2002:merge")
    )


def _typed_key(key: Any) -> tuple[str, Any]:
    """A key that is no string, so that 1, 1.0 and true stay three keys, as they are in Go."""
    if (
        key is None
        or isinstance(key, (dict, list))
        or (type(key) is int and key >> 63 not in (0, -1))
    ):
        raise DialectError(f"invalid map key: {jsonio.type_name(key)}")
    # A new object for nan, which equals nothing, itself included.
    return (type(key).__name__, key if key == key else float("nan"))  # noqa: PLR0124


def _name_keys(mapping: dict[Any, Any]) -> None:
    items = list(mapping.items())
    mapping.clear()
    for key, value in items:
        mapping[key if isinstance(key, str) else goscalars.key_text(key[1])] = value


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


class _Slashes:
    r"""Refuses the escape \/, which libyaml reads as JSON does and its Go port does not know."""

    def __init__(self, data: bytes) -> None:
        # The parser's marks count characters, a byte order mark not among them.
        self.text = _decode(data) if b"\\" in data and b"/" in data else ""

    def check(self, event: Any) -> None:
        if self.text and event.style == '"':
            source = self.text[event.start_mark.index : event.end_mark.index]
            if "\\/" in source.replace("\\\\", ""):
                line = event.start_mark.line + 1
                raise DialectError(f"line {line}: found unknown escape character")


def _parser(data: bytes) -> Any:
    try:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]  # noqa: PLC0415
    except ImportError:
        # PyYAML without its C part: ten times slower, and stricter in rare places.
        from yaml import SafeLoader  # noqa: PLC0415

        return SafeLoader(data)
    return CParser(_Chunks(data))
