"""The registry finds what the reference would find: files, priorities, conflicts, errors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.cdi.registry import entries, registry
from ocishim.errors import UnresolvedDeviceError
from tests.specdirs import SpecDirs, spec

if TYPE_CHECKING:
    from pathlib import Path

GPU0 = "acme.com/gpu=0"


@pytest.fixture(name="dirs")
def _dirs(tmp_path: Path) -> SpecDirs:
    return SpecDirs(tmp_path)


@pytest.fixture(name="load", params=["no cache", "first use", "warm"])
def _load(request: pytest.FixtureRequest, dirs: SpecDirs) -> Load:
    return Load(request.param, dirs)


class Load:
    """The registry as it is without a cache, on first use of one, and from a compiled one."""

    def __init__(self, how: str, dirs: SpecDirs) -> None:
        self.how = how
        self.dirs = dirs

    def __call__(self, paths: list[str] | None = None) -> registry.Registry:
        if paths is None:
            paths = self.dirs.paths
        if self.how == "no cache":
            return registry.load(paths, None)
        cache = Cache(str(self.dirs.root / "cache"))
        first = registry.load(paths, cache)
        return registry.load(paths, cache) if self.how == "warm" else first


def env(found: entries.Found) -> tuple[list[str], list[str]]:
    return found.common.get("env", []), found.edits["env"]


def messages(loaded: registry.Registry, root: Path) -> dict[str, list[str]]:
    """The load errors with the root cut off."""
    return {
        os.path.relpath(path, root): [e.message.replace(f"{root}/", "") for e in errors]
        for path, errors in loaded.load_errors.items()
    }


def test_a_device_comes_with_its_file_version_and_edits(dirs: SpecDirs, load: Load) -> None:
    path = dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", "1", env="x"))
    (found,) = load().resolve(["acme.com/gpu=1"])
    assert (found.name, found.path, found.cdi_version) == ("acme.com/gpu=1", path, "0.6.0")
    assert found.common == {"env": ["C=x"]}
    assert found.edits == {"env": ["D=1x"]}


def test_order_and_repeats_are_those_of_the_request(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", "1"))
    dirs.write(
        "run/b.json",
        '{"cdiVersion":"0.6.0","kind":"b.c/d","devices":[{"name":"x","containerEdits":{"env":["A=b"]}}]}',
    )
    names = ["acme.com/gpu=1", "b.c/d=x", GPU0, "acme.com/gpu=1"]
    assert [found.name for found in load().resolve(names)] == names
    assert load().resolve([]) == []


def test_devices_are_sorted(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/b.yaml", spec("acme.com/gpu", "1", "0"))
    dirs.write("etc/a.yaml", spec("b.c/d", "x"))
    assert load().devices() == [GPU0, "acme.com/gpu=1", "b.c/d=x"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("a.yaml", True),
        ("a.json", True),
        (".hidden.yaml", True),
        (".yaml", True),
        ("a.json.yaml", True),
        ("\N{SNOWMAN}.yaml", True),
        ("a.yml", False),
        ("a.YAML", False),
        ("a.yaml~", False),
        ("a.yaml.tmp", False),
        ("yaml", False),
    ],
)
def test_which_file_names_count(dirs: SpecDirs, load: Load, name: str, *, counts: bool) -> None:
    (dirs.etc / name).write_text(spec("acme.com/gpu", "0"))
    assert load().devices() == ([GPU0] if counts else [])


def test_a_file_name_that_is_no_text_is_read_too(dirs: SpecDirs, load: Load) -> None:
    path = os.fsencode(dirs.etc) + b"/\xff.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(spec("acme.com/gpu", "0"))
    (found,) = load().resolve([GPU0])
    assert os.fsencode(found.path) == path


def test_files_are_read_in_the_order_of_their_bytes(dirs: SpecDirs, load: Load) -> None:
    # As text an undecodable byte (a lone surrogate) would sort before U+FF5E, whose bytes begin
    # with 0xef.
    for name in (b"\xff.yaml", "\uff5e.yaml".encode(), b"a.yaml"):
        with open(os.fsencode(dirs.etc) + b"/" + name, "w", encoding="utf-8") as file:
            file.write(spec("acme.com/gpu", "0"))
    paths = [os.fsencode(os.path.basename(path)) for path in load().load_errors]
    assert paths == ["\uff5e.yaml".encode(), b"a.yaml", b"\xff.yaml"]


def test_directories_named_like_specs_are_passed_over(dirs: SpecDirs, load: Load) -> None:
    (dirs.etc / "sub.yaml").mkdir()
    (dirs.etc / "sub.yaml" / "a.yaml").write_text(spec("acme.com/gpu", "0"))
    assert load().devices() == []
    assert load().load_errors == {}


def test_a_later_dir_wins_with_its_own_edits(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", "1", env="low"))
    dirs.write("run/a.yaml", spec("acme.com/gpu", "0", env="high"))
    first, second = load().resolve([GPU0, "acme.com/gpu=1"])
    assert env(first) == (["C=high"], ["D=0high"])
    assert env(second) == (["C=low"], ["D=1low"])
    assert load().load_errors == {}


def test_a_bad_file_of_higher_priority_does_not_shadow(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", env="low"))
    dirs.write("run/a.yaml", spec("acme.com/gpu", "0") + "unknown: 1\n")
    assert env(load().resolve([GPU0])[0]) == (["C=low"], ["D=0low"])
    assert list(load().load_errors) == [str(dirs.run / "a.yaml")]


def test_files_of_one_dir_conflict_and_the_device_is_gone(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", "1"))
    dirs.write("etc/b.yaml", spec("acme.com/gpu", "0", "2"))
    loaded = load()
    assert loaded.devices() == ["acme.com/gpu=1", "acme.com/gpu=2"]
    text = 'conflicting device "acme.com/gpu=0" (specs "etc/b.yaml", "etc/a.yaml")'
    assert messages(loaded, dirs.root) == {"etc/a.yaml": [text], "etc/b.yaml": [text]}
    assert {e.kind for errors in loaded.load_errors.values() for e in errors} == {"conflict"}


def test_of_three_in_conflict_each_is_compared_with_the_first(dirs: SpecDirs, load: Load) -> None:
    for name in ("a", "b", "c"):
        dirs.write(f"etc/{name}.yaml", spec("acme.com/gpu", "0"))
    text = 'conflicting device "acme.com/gpu=0" (specs "etc/{}.yaml", "etc/a.yaml")'
    assert messages(load(), dirs.root) == {
        "etc/a.yaml": [text.format("b"), text.format("c")],
        "etc/b.yaml": [text.format("b")],
        "etc/c.yaml": [text.format("c")],
    }


def test_a_conflict_of_low_priority_removes_what_high_priority_defines(
    dirs: SpecDirs, load: Load
) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    dirs.write("etc/b.yaml", spec("acme.com/gpu", "0"))
    dirs.write("run/c.yaml", spec("acme.com/gpu", "0"))
    assert load().devices() == []


def test_one_file_under_two_names_conflicts(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    (dirs.etc / "b.yaml").symlink_to("a.yaml")
    assert load().devices() == []


def test_one_dir_listed_twice_does_not_conflict(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    assert load([str(dirs.etc), f"{dirs.run}/../etc/."]).devices() == [GPU0]


@pytest.mark.parametrize("spelling", ["{}/../etc", "/{}", "{}//.", "///{}/"])
def test_paths_are_those_of_the_cleaned_dir(dirs: SpecDirs, load: Load, spelling: str) -> None:
    path = dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    assert load([spelling.format(dirs.etc)]).resolve([GPU0])[0].path == path


def test_a_spec_dir_that_is_a_symlink_is_followed(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    (dirs.root / "link").symlink_to("etc")
    (found,) = load([str(dirs.root / "link")]).resolve([GPU0])
    assert found.path == str(dirs.root / "link" / "a.yaml")


def test_a_missing_dir_is_passed_over(dirs: SpecDirs, load: Load) -> None:
    dirs.write("run/a.yaml", spec("acme.com/gpu", "0"))
    (dirs.root / "dangling").symlink_to("nowhere")
    missing = [str(dirs.root / "none"), str(dirs.root / "dangling")]
    assert load([*missing, str(dirs.run)]).devices() == [GPU0]


@pytest.mark.parametrize("obstacle", ["file", "fifo", "loop"])
def test_a_dir_that_cannot_be_read_ends_the_scan(dirs: SpecDirs, load: Load, obstacle: str) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    dirs.write("run/b.yaml", spec("acme.com/gpu", "1"))
    path = dirs.root / "obstacle"
    if obstacle == "file":
        path.write_text(spec("acme.com/gpu", "2"))
    elif obstacle == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("obstacle")
    loaded = load([str(dirs.etc), str(path), str(dirs.run)])
    assert loaded.devices() == [GPU0]
    assert loaded.load_errors == {}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param("/nonexistent/x", "open etc/b.yaml: no such file or directory", id="dangling"),
        pytest.param(
            "b.yaml",
            'failed to read CDI Spec "etc/b.yaml": open etc/b.yaml: too many levels of symbolic links',
            id="loop",
        ),
        pytest.param(
            "/proc",
            'failed to read CDI Spec "etc/b.yaml": read etc/b.yaml: is a directory',
            id="directory",
        ),
        pytest.param(
            "/dev/null", 'failed to parse CDI Spec "etc/b.yaml", no Spec data', id="masked"
        ),
        pytest.param(
            "/dev/zero",
            'failed to read CDI Spec "etc/b.yaml": open etc/b.yaml: not a regular file',
            id="device",
        ),
        pytest.param(
            "fifo",
            'failed to read CDI Spec "etc/b.yaml": open etc/b.yaml: not a regular file',
            id="fifo",
        ),
    ],
)
def test_a_name_behind_which_no_spec_is(
    dirs: SpecDirs, load: Load, target: str, message: str
) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    os.mkfifo(dirs.etc / "fifo")
    (dirs.etc / "b.yaml").symlink_to(target)
    loaded = load()
    assert loaded.devices() == [GPU0]
    assert messages(loaded, dirs.root) == {"etc/b.yaml": [message]}


def test_a_load_error_has_its_facts(dirs: SpecDirs, load: Load) -> None:
    path = dirs.write("etc/a.yaml", spec("acme.com/gpu", "0").replace("D=0", "no assignment"))
    ((error,),) = load().load_errors.values()
    assert error.message == (
        'invalid CDI Spec: failed add device "0": invalid device "0": '
        'invalid container edits: invalid environment variable "no assignment"'
    )
    assert (error.kind, error.path, error.cdi_version) == ("env", path, "0.6.0")
    assert error.field == "devices[0].containerEdits.env[0]"


@pytest.mark.parametrize(
    "name",
    ["", "acme.com/gpu", "acme.com/gpu=", "acme.com/gpu=0\t0", "\n", "0", "\udcff", GPU0 + "\n"],
)
def test_names_are_looked_up_by_exact_text(dirs: SpecDirs, load: Load, name: str) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    with pytest.raises(UnresolvedDeviceError) as caught:
        load().resolve([GPU0, name])
    assert caught.value.message.startswith(f"unresolvable CDI devices {name}: ")


def test_all_missing_devices_are_named_in_order_with_repeats(dirs: SpecDirs, load: Load) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0"))
    with pytest.raises(UnresolvedDeviceError) as caught:
        load().resolve(["z.y/x=1", GPU0, "b.c/d=2", "z.y/x=1"])
    assert caught.value.message.startswith("unresolvable CDI devices z.y/x=1, b.c/d=2, z.y/x=1: ")
