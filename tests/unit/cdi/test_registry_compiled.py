"""The compiled registry sees every change and parses nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim import cache as cache_module
from ocishim.cache import Cache
from ocishim.cdi import document, registry, scan, specfile
from ocishim.errors import UnresolvedDeviceError
from tests.specdirs import SpecDirs, spec

if TYPE_CHECKING:
    from pathlib import Path

GPU0 = "acme.com/gpu=0"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(cache_module.__file__)))


class Lab:
    """Spec dirs with a cache; counts what is parsed and takes every file for settled."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dirs = SpecDirs(root)
        self.folder = root / "cache"
        self.cache = Cache(str(self.folder))
        self.parsed: list[str] = []
        parse = document.load

        def counted(data: bytes, path: str) -> dict[str, object]:
            self.parsed.append(os.path.basename(path))
            return parse(data, path)

        monkeypatch.setattr(document, "load", counted)
        monkeypatch.setattr(specfile, "is_settled", lambda _changed, _now: True)

    def load(self) -> registry.Registry:
        self.parsed.clear()
        return registry.load(self.dirs.paths, self.cache)

    def values(self, name: str = GPU0) -> list[str]:
        """The D=... of a device; [] if it cannot be resolved."""
        return values(self.load(), name)

    def entries(self, prefix: str) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.startswith(prefix))


def values(loaded: registry.Registry, name: str = GPU0) -> list[str]:
    try:
        env: list[str] = loaded.resolve([name])[0].edits["env"]
    except UnresolvedDeviceError:
        return []
    return env


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def test_a_second_use_parses_nothing(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    lab.dirs.write("run/b.yaml", spec("b.c/d", "0") + "bad: 1\n")
    assert lab.values() == ["D=0"]
    assert lab.parsed == ["a.yaml", "b.yaml"]
    assert lab.values() == ["D=0"]
    assert len(lab.load().load_errors) == 1
    assert lab.parsed == []


def test_only_a_changed_file_is_parsed_again(lab: Lab) -> None:
    for number in range(5):
        lab.dirs.write(f"etc/{number}.yaml", spec("acme.com/gpu", str(number)))
    lab.load()
    lab.dirs.write("etc/3.yaml", spec("acme.com/gpu", "3", env="new"))
    assert lab.values("acme.com/gpu=3") == ["D=3new"]
    assert lab.parsed == ["3.yaml"]
    assert lab.values("acme.com/gpu=2") == ["D=2"]
    assert lab.parsed == []


def test_a_file_written_again_with_the_same_content_is_not_parsed(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    lab.load()
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    assert lab.values() == ["D=0"]
    assert lab.parsed == []


def test_files_that_come_go_and_move(lab: Lab) -> None:
    assert lab.values() == []
    path = lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    assert lab.values() == ["D=0a"]
    lab.dirs.write("run/b.yaml", spec("acme.com/gpu", "0", env="b"))
    assert lab.values() == ["D=0b"]
    os.rename(lab.dirs.run / "b.yaml", lab.dirs.etc / "b.yaml")
    assert lab.values() == [], "now they conflict"
    os.unlink(path)
    assert lab.values() == ["D=0b"]
    os.rename(lab.dirs.etc, lab.dirs.root / "gone")
    assert lab.values() == []
    os.rename(lab.dirs.root / "gone", lab.dirs.etc)
    assert lab.values() == ["D=0b"]


def test_a_spec_dir_symlink_that_points_elsewhere_is_seen(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    lab.dirs.write("run/a.yaml", spec("acme.com/gpu", "0", env="b"))
    link = lab.dirs.root / "link"
    for target, value in (("etc", "D=0a"), ("run", "D=0b"), ("etc", "D=0a")):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert values(registry.load([str(link)], lab.cache)) == [value]


def test_a_spec_symlink_that_points_elsewhere_is_seen(lab: Lab) -> None:
    (lab.dirs.root / "one").write_text(spec("acme.com/gpu", "0", env="1"))
    (lab.dirs.root / "two").write_text(spec("acme.com/gpu", "0", env="2"))
    link = lab.dirs.etc / "a.yaml"
    for target, value in (("one", ["D=01"]), ("none", []), ("two", ["D=02"]), ("one", ["D=01"])):
        link.unlink(missing_ok=True)
        link.symlink_to(f"../{target}")
        assert lab.values() == value


def test_a_write_in_place_that_restores_size_and_mtime_is_seen(lab: Lab) -> None:
    path = lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    before = os.stat(path)
    lab.load()
    time.sleep(0.02)  # a new tick of the kernel's clock, and so a new ctime
    with open(path, "r+", encoding="utf-8") as file:
        file.write(spec("acme.com/gpu", "0", env="b"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (before.st_size, before.st_ino) == (os.stat(path).st_size, os.stat(path).st_ino)
    assert lab.values() == ["D=0b"]


def test_a_file_replaced_by_an_older_one_is_seen(lab: Lab) -> None:
    path = lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    lab.load()
    lab.dirs.write("etc/b.tmp", spec("acme.com/gpu", "0", env="b"))
    os.utime(lab.dirs.etc / "b.tmp", (1000, 1000))
    os.rename(lab.dirs.etc / "b.tmp", path)
    assert lab.values() == ["D=0b"]


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
    assert not any(name.startswith(registry.INDEX) for name in cache.names())
    monkeypatch.setattr(time, "time_ns", lambda: now + 3600 * S)
    assert values(registry.load(dirs.paths, cache)) == ["D=0b"]
    assert any(name.startswith(registry.INDEX) for name in cache.names())


def test_a_file_that_could_not_be_opened_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    with monkeypatch.context() as patch:
        patch.setattr(specfile, "_contents", _refuse)
        assert lab.values() == []
        ((error,),) = lab.load().load_errors.values()
        assert error.message.endswith("a.yaml: permission denied")
    assert lab.values() == ["D=0"]


def _refuse(_path: str) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_file_that_vanishes_between_listing_and_reading(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    look = scan.scan

    def then_vanish(spec_dirs: list[str]) -> scan.Scan:
        found = look(spec_dirs)
        os.unlink(path)
        return found

    monkeypatch.setattr(registry, "scan", then_vanish)
    loaded = lab.load()
    monkeypatch.undo()
    assert loaded.devices() == []
    ((error,),) = loaded.load_errors.values()
    assert error.message == f"open {path}: no such file or directory"


def test_a_file_replaced_between_listing_and_reading_makes_no_index(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    look = scan.scan

    def then_replace(spec_dirs: list[str]) -> scan.Scan:
        found = look(spec_dirs)
        os.rename(path, path + ".old")
        lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="b"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(registry, "scan", then_replace)
        assert lab.values() == ["D=0b"]
    assert lab.entries(registry.INDEX) == []
    assert lab.values() == ["D=0b"]


@pytest.mark.parametrize("harm", ["removed", "empty", "another spec's"])
def test_lost_edits_are_read_from_the_file_again(lab: Lab, harm: str) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    lab.dirs.write("etc/b.yaml", spec("acme.com/gpu", "1", env="b"))
    lab.load()
    one, two = lab.entries(specfile.ENTRY)
    data = {"removed": None, "empty": (b"", b""), "another spec's": None}[harm]
    if harm == "another spec's":
        data = ((lab.folder / two).read_bytes(), (lab.folder / one).read_bytes())
    for name, content in zip((one, two), data or (None, None), strict=True):
        (lab.folder / name).unlink()
        if content is not None:
            (lab.folder / name).write_bytes(content)
    assert lab.values() == ["D=0"]
    assert lab.parsed == ["a.yaml"], "only the spec that was asked for"
    assert lab.values() == ["D=0"]
    assert lab.parsed == [], "what was lost is kept again"


def test_edits_lost_while_the_file_changes_come_from_the_new_file(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    lab.load()
    loaded = lab.load()
    for name in lab.entries(specfile.ENTRY):
        os.unlink(lab.folder / name)
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "1", "0", env="b"))
    assert values(loaded) == ["D=0b"]


def test_only_the_requested_devices_edits_are_loaded(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", *map(str, range(100)), env="x"))
    lab.load()
    (entry,) = lab.entries(specfile.ENTRY)
    data = bytearray((lab.folder / entry).read_bytes())
    place = data.index(b"D=99x")
    data[place] ^= 1
    (lab.folder / entry).write_bytes(data)
    assert lab.values() == ["D=0x"]
    assert lab.parsed == []
    assert lab.values("acme.com/gpu=99") == ["D=99x"]
    assert lab.parsed == ["a.yaml"]


def test_two_configurations_keep_a_registry_each(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    lab.dirs.write("run/b.yaml", spec("acme.com/gpu", "0", env="b"))
    for _round in range(2):
        lab.parsed.clear()
        assert values(registry.load([str(lab.dirs.etc)], lab.cache)) == ["D=0a"]
        assert values(registry.load([str(lab.dirs.run)], lab.cache)) == ["D=0b"]
    assert lab.parsed == []


def test_entries_of_specs_that_are_gone_do_not_pile_up(lab: Lab) -> None:
    lab.dirs.write("run/other.yaml", spec("b.c/d", "x"))
    registry.load([str(lab.dirs.run)], lab.cache)
    os.unlink(lab.dirs.run / "other.yaml")
    for number in range(150):
        lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env=str(number)))
        assert lab.values() == [f"D=0{number}"]
        assert len(lab.entries(specfile.ENTRY)) < 80
    lab.dirs.write("run/other.yaml", spec("b.c/d", "x"))
    lab.parsed.clear()
    loaded = registry.load([str(lab.dirs.run)], lab.cache)
    assert loaded.resolve(["b.c/d=x"])
    assert lab.parsed == [], "what another configuration's table speaks of is kept"


@pytest.mark.parametrize(("age", "stays"), [(5, True), (600, False), (-600, False)])
def test_left_over_temporary_files_are_removed(lab: Lab, age: int, *, stays: bool) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    lab.load()
    left_over = lab.folder / "cdi-spec-1.99999.tmp"
    left_over.write_bytes(b"half")
    written = time.time() - age
    os.utime(left_over, (written, written))
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "1"))
    lab.load()
    assert left_over.exists() is stays


_WARM = """
import sys
sys.path.insert(0, sys.argv[1])
from ocishim.cache import Cache
from ocishim.cdi import registry
found = registry.load([sys.argv[2]], Cache(sys.argv[3])).resolve(sys.argv[4:])
modules = [m for m in sys.modules if m.startswith("ocishim")]
heavy = ["yaml", "re", "enum", "json", "typing", "dataclasses", "collections", "functools"]
print(sorted(modules), [m for m in sys.modules if m in heavy], found[0].edits["env"])
"""


def test_a_warm_look_up_loads_four_modules(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    etc = str(lab.dirs.etc)
    registry.load([etc], lab.cache)
    argv = [sys.executable, "-I", "-S", "-c", _WARM, REPOSITORY, etc, str(lab.folder), GPU0]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    modules = ["ocishim", "ocishim.cache", "ocishim.cdi"]
    modules += ["ocishim.cdi.registry", "ocishim.cdi.scan"]
    assert done.stdout == f"{modules} [] ['D=0']\n"


names = st.sampled_from(["a.yaml", "b.yaml", "c.json", "ignored.txt"])
places = st.tuples(st.sampled_from(["etc", "run"]), names).map("/".join)
contents = st.sampled_from(
    [
        *(spec("acme.com/gpu", *ds, env=e) for ds in ("0", "1", "01") for e in ("", "x", "y")),
        "not a spec",
        "",
    ]
)
steps = st.one_of(
    st.tuples(st.just("write"), places, contents),
    st.tuples(st.just("in place"), places, contents),
    st.tuples(st.just("remove"), places, st.none()),
    st.tuples(st.just("touch"), places, st.integers(0, 1 << 33)),
    st.tuples(st.just("move"), places, places),
    st.tuples(st.just("harm"), st.integers(0, 9), st.integers(0, 4000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_whatever_happens_the_cache_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, object, object]]
) -> None:
    root = tmp_path_factory.mktemp("history")
    dirs, cache = SpecDirs(root), Cache(str(root / "cache"))
    for what, where, argument in history:
        _happen(root, what, where, argument)
        cached, plain = registry.load(dirs.paths, cache), registry.load(dirs.paths, None)
        assert _everything(cached) == _everything(plain)


def _happen(root: Path, what: str, where: object, argument: object) -> None:
    path = root / str(where)
    try:
        if what == "write":
            (root / "new").write_text(str(argument))
            os.rename(root / "new", path)
        elif what == "in place":
            path.write_text(str(argument))
        elif what == "remove":
            path.unlink()
        elif what == "touch":
            os.utime(path, (int(str(argument)), int(str(argument))))
        elif what == "move":
            os.rename(path, root / str(argument))
        else:
            entries = sorted((root / "cache").iterdir())
            os.truncate(entries[int(str(where)) % len(entries)], int(str(argument)))
    except (FileNotFoundError, ZeroDivisionError):
        pass  # nothing to remove, touch, move or harm yet


def _everything(loaded: registry.Registry) -> str:
    devices = loaded.devices()
    found = [[f.name, f.path, f.common, f.edits] for f in loaded.resolve(devices)]
    errors = {path: [e.message for e in es] for path, es in loaded.load_errors.items()}
    return json.dumps([devices, found, errors])
