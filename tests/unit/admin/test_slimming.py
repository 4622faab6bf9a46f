"""What slimming.py leaves out, and that a program does the same without it."""

from __future__ import annotations

import marshal
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from ocishim.admin import slimming

REPOSITORY = Path(__file__).parents[3]
SOURCE = b'''"""Module."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nowhere import Nothing

COUNT: int = 3
later: Nothing


class Thing:
    """Class."""

    size: int

    def grow(self, by: Nothing = 2, *more: Nothing, fast: bool = False, **rest: Nothing) -> Nothing:
        """Method."""
        total: Nothing = by
        other: Nothing
        if TYPE_CHECKING:
            from nowhere import Other
        else:
            other = total + COUNT
        return (lambda x: other * x)(len(more) + fast + len(rest) + 1)


class Empty(Exception):
    """Only a docstring."""


async def wait(for_what: Nothing) -> Nothing:
    """Coroutine."""


def fail() -> Nothing:
    number: int
    raise Empty(errno.ENOENT)
'''


@pytest.fixture(name="module")
def _module() -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "module"}
    exec(slimming.compiled(SOURCE, "/module.py"), scope)
    return scope


def test_it_does_the_same(module: dict[str, Any]) -> None:
    thing = module["Thing"]()
    assert (thing.grow(), thing.grow(1, 2, 3, fast=True, a=1)) == (5, 20)
    assert issubclass(module["Empty"], Exception)
    assert module["wait"].__code__.co_flags & 0x80  # CO_COROUTINE (inspect)


def test_what_is_left_out(module: dict[str, Any]) -> None:
    assert "__annotations__" not in module
    assert not {"annotations", "later"} & set(module)
    for one in (module["Thing"], module["Thing"].grow, module["Empty"], module["wait"]):
        assert not one.__doc__
        assert not getattr(one, "__annotations__", None)
    names = set(strings(slimming.compiled(SOURCE, "/module.py")))
    assert not {name for name in names if "Nothing" in name or "nowhere" in name}


def strings(code: CodeType) -> list[str]:
    found = [*code.co_names]
    for one in code.co_consts:
        if isinstance(one, CodeType):
            found += strings(one)
        elif isinstance(one, str):
            found.append(one)
    return found


def test_tracebacks_name_file_and_line(module: dict[str, Any]) -> None:
    with pytest.raises(module["Empty"]) as caught:
        module["fail"]()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    line = SOURCE.split(b"\n").index(b"    raise Empty(errno.ENOENT)") + 1
    assert (last.filename, last.lineno, last.name) == ("/module.py", line, "fail")


def test_ours_lose_nothing_they_read() -> None:
    """None of ours asks for annotations, whole modules are a fifth smaller."""
    was, now = 0, 0
    for path in (*REPOSITORY.glob("ocishim/*.py"), *REPOSITORY.glob("hooks/*.py")):
        source = path.read_bytes()
        assert b"__annotations__" not in source
        assert b"get_type_hints" not in source
        was += len(marshal.dumps(compile(source, str(path), "exec", dont_inherit=True, optimize=2)))
        now += len(marshal.dumps(slimming.compiled(source, str(path))))
    assert now < 0.95 * was
