"""The fuzz targets for a moment: their seeds, what was found by them, and that each can find.

`make fuzz` has them for as long as one likes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ocishim import cache, jsonio
from ocishim.cdi.document import blocktext, document, jsontext, yamlgo
from ocishim.cdi.registry import registry
from ocishim.create import argv
from ocishim.hooks import elf, flags, ldcache, ldconf, program, wildcard
from ocishim.oci import state
from tests.fuzz import engines
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_a_moment(name: str) -> None:
    engines.by_hypothesis(TARGETS[name], SEEDS[name], 100)


def test_every_target_has_seeds() -> None:
    assert list(SEEDS) == list(TARGETS)
    assert all(SEEDS.values())


def nothing(*_: Any) -> Any:
    """Stand in for what does something."""


FAULTS = [
    # target, where a fault is planted, what stands there
    pytest.param("elf", elf, "_exactly", lambda read, size, at, _: read(size, at),
        id="elf: less than asked for"),
    pytest.param("elf", elf, "_PT_INTERP", 99, id="elf: a dynamic program is taken"),
    pytest.param("soname", elf, "_LONGEST_SONAME", 1 << 40, id="soname: of any length"),
    pytest.param("soname", elf, "_DT_SONAME", 5, id="soname: another tag"),
    pytest.param("ldcache", ldcache, "build", lambda _: b"", id="ldcache: nothing is written"),
    pytest.param("ldconf", ldconf, "entries", lambda data: [("folder", data)],
        id="ldconf: any folder"),
    pytest.param("ldconf", ldconf, "is_plain", lambda _: 1 / 0, id="ldconf: another kind of error"),
    pytest.param("pattern", wildcard, "_NOT", ("x",), id="pattern: another sign of negation"),
    pytest.param("pattern", wildcard, "_member", lambda p, at: (p[at], at + 1),
        id="pattern: no escapes"),
    pytest.param("json", jsonio, "_SPACE", " ", id="json: fewer blanks"),
    pytest.param("json", jsonio, "_without_halves", str, id="json: half a surrogate pair"),
    pytest.param("json", jsonio, "copy", nothing, id="json: no copy"),
    pytest.param("cdi", jsontext, "_is_plain", lambda _: True, id="cdi: JSON of any kind"),
    pytest.param("cdi", blocktext, "load", lambda _: {}, id="cdi: block YAML is empty"),
    pytest.param("cdi", document, "CDISpecError", KeyError, id="cdi: another kind of error"),
    pytest.param("argv", argv, "_parse_command", lambda _words, _at, found: setattr(found, "bundle", "?"),
                 id="argv: an invention"),
    pytest.param("cache", cache, "_unframe", lambda data, _key: data or None, id="cache: anything"),
    pytest.param("registry", registry, "_line", lambda *_: ["x"], id="registry: another device"),
    pytest.param("hookargs", program, "UsageError", RuntimeError,
        id="hookargs: another kind of error"),
    pytest.param("hookargs", flags, "UsageError", RuntimeError, id="hookargs: of the flags"),
    pytest.param("state", state, "DocumentError", RuntimeError, id="state: another kind of error"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "module", "attribute", "fault"), FAULTS)
def test_a_target_finds(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, attribute: str, fault: Any
) -> None:
    monkeypatch.setattr(module, attribute, fault)
    with pytest.raises(Exception):  # noqa: B017 - whatever a broken reader raises
        engines.by_hypothesis(TARGETS[name], SEEDS[name], 500)


def test_an_input_that_takes_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "SECONDS", 0)
    with pytest.raises(AssertionError, match="seconds"):
        engines.checked(yamlgo.load, b"a: 1")


def test_the_program_runs_a_target_and_tells(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "1", "--folder", str(tmp_path), "argv"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("argv ")
