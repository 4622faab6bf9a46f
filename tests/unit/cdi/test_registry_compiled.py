"""The compiled registry sees every change and parses nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from ocishim import cache as cache_module
from ocishim.cdi.registry import entries, registry, scan, specfile
from tests.specdirs import Lab, spec, values

if TYPE_CHECKING:
    from pathlib import Path

GPU0 = "acme.com/gpu=0"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(cache_module.__file__)))


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
    assert lab.entries(entries.INDEX) == []
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


@pytest.mark.parametrize(
    ("devices", "expected"), [(("1", "0"), ["D=0b"]), (("1",), [])], ids=["there", "gone"]
)
def test_edits_lost_while_the_file_changes_come_from_the_new_file(
    lab: Lab, devices: tuple[str, ...], expected: list[str]
) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="a"))
    lab.load()
    loaded = lab.load()
    for name in lab.entries(specfile.ENTRY):
        os.unlink(lab.folder / name)
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", *devices, env="b"))
    assert values(loaded) == expected


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


def test_a_reader_that_was_installed_anew_reads_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    lab.load()
    monkeypatch.setattr(entries, "_READERS", [str(lab.dirs.root)])
    assert lab.values() == ["D=0"]
    assert lab.parsed == ["a.yaml"]
    assert lab.values() == ["D=0"]
    assert lab.parsed == []


_WARM = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from ocishim.cache import Cache
from ocishim.cdi.registry import registry
found = registry.load([sys.argv[2]], Cache(sys.argv[3])).resolve(sys.argv[4:])
modules = [m for m in sys.modules if m.startswith("ocishim")]
heavy = ["yaml", "re", "enum", "json", "typing", "dataclasses", "collections", "functools", "os"]
print(sorted(modules), [m for m in sys.modules if m in heavy], found[0].edits["env"])
"""


def _import_path() -> str:
    return f"{REPOSITORY}:{os.path.dirname(os.path.dirname(yaml.__file__))}"


def test_what_a_warm_look_up_loads(lab: Lab) -> None:
    lab.dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    time.sleep(0.05)  # until the file is settled
    paths = [_import_path(), str(lab.dirs.etc), str(lab.folder)]
    for _run in ("cold", "warm"):
        argv = [sys.executable, "-I", "-S", "-c", _WARM, *paths, GPU0]
        done = subprocess.run(argv, capture_output=True, check=True, text=True)
    modules = ["ocishim", "ocishim.cache", "ocishim.cdi", "ocishim.cdi.registry"]
    modules += [f"ocishim.cdi.registry.{name}" for name in ("entries", "registry", "scan")]
    modules += ["ocishim.posixos"]
    assert done.stdout == f"{modules} [] ['D=0']\n"
