"""The compiled cache gives back what it was given, or nothing."""

from __future__ import annotations

import errno
import marshal
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim import cache as cache_module
from ocishim import posixos
from ocishim.cache import Cache, digest, identity

if TYPE_CHECKING:
    from pathlib import Path

KEY = ["/etc/cdi", (1, 2, 3)]
VALUE = {"env": ["A=1"], "fileMode": 438, "big": 1 << 80, "bytes": b"\xff", "none": None}
REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(cache_module.__file__)))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path / "pyshim"


@pytest.fixture(name="cache")
def _cache(folder: Path) -> Cache:
    return Cache(str(folder))


def filled(cache: Cache) -> Cache:
    cache.put("entry", KEY, VALUE)
    assert cache.get("entry", KEY) == VALUE
    return cache


def test_a_value_comes_back_for_an_equal_key(cache: Cache) -> None:
    cache.put("entry", KEY, VALUE)
    assert cache.get("entry", ["/etc/cdi", (1, 2, 3)]) == VALUE


def test_folder_and_file_are_private(cache: Cache, folder: Path) -> None:
    old = os.umask(0)
    try:
        filled(cache)
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert (folder / "entry").stat().st_mode & 0o7777 == 0o600
    assert os.listdir(folder) == ["entry"]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(["/etc/cdi", (1, 2, 4)], id="other identity"),
        pytest.param(["/etc/cdi", [1, 2, 3]], id="list for tuple"),
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
    ],
)
def test_another_key_gives_nothing(cache: Cache, key: object) -> None:
    assert filled(cache).get("entry", key) is None


def test_a_name_that_was_never_put_gives_nothing(cache: Cache) -> None:
    assert cache.get("entry", KEY) is None
    assert filled(cache).get("other", KEY) is None


def test_several_entries_in_one_file_are_read_one_by_one(cache: Cache) -> None:
    places = cache.put_all("spec", [("", "common"), ("gpu0", {"n": 0}), ("gpu1", {"n": 1})])
    assert cache.get("spec", "gpu1", places[2]) == {"n": 1}
    assert cache.get("spec", "", places[0]) == "common"
    assert cache.get("spec", "gpu0", places[2]) is None
    assert cache.get("spec", "gpu1", (places[2][0] + 1, places[2][1])) is None
    assert cache.get("spec", "gpu1", (places[2][0], 1 << 20)) == {"n": 1}
    assert cache.get("spec", "") is None, "the whole file is not one entry"


@pytest.mark.parametrize(
    ("name", "value"),
    [("FORMAT", 99), ("__version__", "9.9.9")],
    ids=["format", "pyshim's version"],
)
def test_an_entry_of_another_version_is_not_unmarshalled(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    filled(cache)
    data = (folder / "entry").read_bytes()
    other = cache_module.MARK.replace(
        str(getattr(cache_module, name)).encode(), str(value).encode()
    )
    assert other != cache_module.MARK
    (folder / "entry").write_bytes(data.replace(cache_module.MARK, other))

    def refuse(_data: object) -> None:
        pytest.fail("unmarshalled")

    monkeypatch.setattr(marshal, "loads", refuse)
    assert cache.get("entry", KEY) is None


def test_the_mark_names_the_marshal_format() -> None:
    assert str(marshal.version).encode() in cache_module.MARK.split()


def test_a_file_truncated_at_any_byte_gives_nothing(cache: Cache, folder: Path) -> None:
    data = entry_bytes(filled(cache), folder)
    for size in range(len(data)):
        (folder / "entry").write_bytes(data[:size])
        assert cache.get("entry", KEY) is None, size


def test_a_file_damaged_at_any_byte_gives_nothing(cache: Cache, folder: Path) -> None:
    data = entry_bytes(filled(cache), folder)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        (folder / "entry").write_bytes(damaged)
        assert cache.get("entry", KEY) is None, position


def entry_bytes(_cache: Cache, folder: Path) -> bytes:
    return (folder / "entry").read_bytes()


@settings(deadline=None)  # other work may have the machine
@given(st.binary(max_size=300))
def test_any_bytes_behind_the_mark_give_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-bytes"
    folder.mkdir(mode=0o700, exist_ok=True)
    for prefix in (b"", cache_module.MARK):
        (folder / "entry").write_bytes(prefix + data)
        assert Cache(str(folder)).get("entry", KEY) is None


plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(deadline=None)  # other work may have the machine
@given(key=plain, value=plain)
def test_any_plain_value_makes_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, key: object, value: object
) -> None:
    cache = Cache(str(tmp_path_factory.getbasetemp() / "round-trip"))
    cache.put("entry", key, value)
    assert cache.get("entry", key) == value


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o750, 0o755, 0o701])
def test_a_folder_others_may_enter_is_not_used(cache: Cache, folder: Path, mode: int) -> None:
    filled(cache)
    folder.chmod(mode)
    assert cache.get("entry", KEY) is None
    cache.put("more", KEY, VALUE)
    assert os.listdir(folder) == ["entry"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_others_may_write_is_not_used(cache: Cache, folder: Path, mode: int) -> None:
    filled(cache)
    (folder / "entry").chmod(mode)
    assert cache.get("entry", KEY) is None


@pytest.mark.root
@pytest.mark.parametrize("what", ["folder", "entry"])
def test_what_belongs_to_somebody_else_is_not_used(cache: Cache, folder: Path, what: str) -> None:
    filled(cache)
    os.chown(folder if what == "folder" else folder / "entry", 1000, 1000)
    assert cache.get("entry", KEY) is None
    cache.put("more", KEY, VALUE)
    assert (folder / "more").exists() == (what == "entry")


def test_a_folder_that_is_a_symlink_is_not_used(tmp_path: Path) -> None:
    filled(Cache(str(tmp_path / "real")))
    (tmp_path / "link").symlink_to("real")
    link = Cache(str(tmp_path / "link"))
    assert link.get("entry", KEY) is None
    link.put("more", KEY, VALUE)
    assert os.listdir(tmp_path / "real") == ["entry"]


def test_an_entry_that_is_a_symlink_is_not_followed(cache: Cache, folder: Path) -> None:
    filled(cache)
    (folder / "entry").rename(folder / "elsewhere")
    (folder / "entry").symlink_to("elsewhere")
    assert cache.get("entry", KEY) is None
    cache.put("entry", KEY, "new")
    assert cache.get("entry", KEY) == "new"
    assert cache.get("elsewhere", KEY) == VALUE, "the link was replaced, not followed"


@pytest.mark.parametrize("plant", ["fifo", "folder", "socket"])
def test_an_entry_that_is_no_file_is_not_opened_for_long(
    cache: Cache, folder: Path, plant: str
) -> None:
    folder.mkdir(mode=0o700)
    path = str(folder / "entry")
    {"fifo": os.mkfifo, "folder": os.mkdir, "socket": _bind}[plant](path)
    assert cache.get("entry", KEY) is None


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


@pytest.mark.parametrize("directory", ["", "/proc/pyshim", "/dev/null", "/dev/null/pyshim"])
def test_a_folder_that_cannot_be_made_costs_nothing(directory: str) -> None:
    cache = Cache(directory)
    cache.put("entry", KEY, VALUE)
    assert cache.get("entry", KEY) is None
    assert cache.names() == []
    cache.remove("entry")


@pytest.mark.parametrize("name", ["x" * 300, "a/b", ".."])
def test_a_name_that_is_no_file_name_costs_nothing(cache: Cache, folder: Path, name: str) -> None:
    cache.put(name, KEY, VALUE)
    assert cache.get(name, KEY) is None
    assert os.listdir(folder) == []


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_failed_write_leaves_the_old_entry_and_no_litter(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    filled(cache)

    def fail(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(posixos, call, fail)
    cache.put("entry", KEY, "new")
    monkeypatch.undo()
    assert cache.get("entry", KEY) == VALUE
    assert os.listdir(folder) == ["entry"]


def test_a_short_write_is_continued(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(posixos, "write", lambda fd, data: write(fd, bytes(data[:7])))
    cache.put("entry", KEY, VALUE)
    assert cache.get("entry", KEY) == VALUE


def test_the_left_over_of_a_killed_process_with_our_pid_is_no_obstacle(
    cache: Cache, folder: Path
) -> None:
    filled(cache)
    (folder / f"entry.{os.getpid()}.tmp").write_bytes(b"half")
    cache.put("entry", KEY, "new")
    assert cache.get("entry", KEY) == "new"
    assert os.listdir(folder) == ["entry"]


def test_readers_see_the_old_or_the_new_entry_while_it_is_replaced(cache: Cache) -> None:
    cache.put("entry", KEY, [0] * 5000)
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache.put("entry", KEY, [number] * 5000)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _try in range(300):
            value = cache.get("entry", KEY)
            assert isinstance(value, list)
            assert len(set(value)) == 1
    finally:
        stop.set()
        writer.join()


_KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ocishim import cache, posixos
steps = iter(range(int(sys.argv[3])))
def counted(call):
    def step(*arguments, **more):
        if next(steps, None) is None:
            os.kill(os.getpid(), 9)
        return call(*arguments, **more)
    return step
for name in ("mkdir", "open", "write", "close", "rename", "unlink"):
    setattr(posixos, name, counted(getattr(posixos, name)))
cache.Cache(sys.argv[2]).put("entry", 1, "new" * 1000)
print("done")
"""


def test_killed_between_any_two_calls_the_entry_is_old_or_new(cache: Cache, folder: Path) -> None:
    cache.put("entry", 1, "old")
    for step in range(20):
        argv = [sys.executable, "-c", _KILLED, REPOSITORY, str(folder), str(step)]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert cache.get("entry", 1) in {"old", "new" * 1000}
        if done.stdout:
            break
    assert step > 3, "it was never killed on the way"
    assert cache.get("entry", 1) == "new" * 1000


def test_names_remove_and_age(cache: Cache, folder: Path) -> None:
    filled(cache)
    cache.put("other", KEY, VALUE)
    assert sorted(cache.names()) == ["entry", "other"]
    cache.remove("other")
    assert cache.names() == ["entry"]
    os.utime(folder / "entry", (1000, 1000))
    assert cache.age("entry") > 1_000_000
    os.utime(folder / "entry", (1 << 33, 1 << 33))
    assert cache.age("entry") < 0
    assert cache.age("other") == 0


def test_identity_sees_what_mtime_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("one")
    os.utime(path, ns=(10, 10))
    before = identity(path.stat())
    other = tmp_path / "b.yaml"
    other.write_text("two")
    os.utime(other, ns=(10, 10))
    other.rename(path)
    assert before[2:4] == identity(path.stat())[2:4] == (3, 10)
    assert before != identity(path.stat())


def test_digest_tells_contents_apart() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert len(digest(b"")) == 16


def test_a_file_larger_than_any_entry_is_not_read(cache: Cache, folder: Path) -> None:
    """A hole of 1 TiB, for one."""
    cache.put("entry", "key", 1)
    with (folder / "entry").open("r+b") as file:
        file.truncate(1 << 40)
    assert cache.get("entry", "key") is None
