"""A file written twice within a tick of the clock, and a clock that steps back."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.cdi.registry import entries, registry, scan, specfile
from tests.specdirs import Lab, SpecDirs, spec, values

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities in which no time passes, as for a file written twice within one tick."""

    def pack(stat: os.stat_result) -> bytes:
        return scan._IDENTITY.pack(1, 1, stat.st_size, 1, 1)

    monkeypatch.setattr(scan, "pack", pack)


def test_a_write_within_the_tick_of_reading_is_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_clock(monkeypatch)
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    assert lab.values() == ["D=0a"]
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="b"))
    assert lab.values() == ["D=0a"], "without the rule it is missed, or this test tests nothing"
    for entry in lab.entries("cdi-"):
        os.unlink(lab.folder / entry)
    monkeypatch.setattr(specfile, "is_settled", lambda _changed, _now: False)
    assert lab.values() == ["D=0b"]
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="c"))
    assert lab.values() == ["D=0c"]
    assert lab.values() == ["D=0c"]
    assert lab.parsed == [], "it is read again, and found to be the same"


S = 1_000_000_000


@pytest.mark.parametrize(
    ("changed", "now", "is_settled"),
    [
        pytest.param(5 * S + 1, 5 * S + 1, False, id="this moment"),
        pytest.param(5 * S + 1, 5 * S + 10_000_000, False, id="within a tick of 10 ms"),
        pytest.param(5 * S + 1, 5 * S + 20_000_002, True, id="two ticks ago"),
        pytest.param(9 * S + 1, 5 * S, False, id="in the future: the clock stepped back"),
        pytest.param(5 * S, 6 * S + 900_000_000, False, id="a clock of whole seconds"),
        pytest.param(5 * S, 7 * S + 1, True, id="whole seconds, two ago"),
    ],
)
def test_when_a_file_can_no_longer_change_unseen(
    changed: int, now: int, *, is_settled: bool
) -> None:
    assert specfile.is_settled(changed, now) is is_settled


def test_after_the_clock_stepped_back_files_are_read_until_it_has_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirs, cache = SpecDirs(tmp_path), Cache(str(tmp_path / "cache"))
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * S)
    _stopped_clock(monkeypatch)
    assert values(registry.load(dirs.paths, cache)) == ["D=0a"]
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="b"))
    assert values(registry.load(dirs.paths, cache)) == ["D=0b"]
    assert not any(name.startswith(entries.INDEX) for name in cache.names())
    monkeypatch.setattr(time, "time_ns", lambda: now + 3600 * S)
    assert values(registry.load(dirs.paths, cache)) == ["D=0b"]
    assert any(name.startswith(entries.INDEX) for name in cache.names())
