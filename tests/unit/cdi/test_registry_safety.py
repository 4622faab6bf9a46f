"""Whatever is done to the cache, the registry is right; it only takes longer."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from _imp import source_hash
from typing import TYPE_CHECKING

import pytest
import yaml

from ocishim import cache as cache_module
from ocishim.cache import Cache
from ocishim.cdi.registry import registry, specfile
from ocishim.linux import const, syscalls
from tests.isolated import isolated
from tests.specdirs import SpecDirs, spec

if TYPE_CHECKING:
    from pathlib import Path

GPU0 = "acme.com/gpu=0"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(cache_module.__file__)))


@pytest.fixture(name="dirs")
def _dirs(tmp_path: Path) -> SpecDirs:
    dirs = SpecDirs(tmp_path)
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0", "1", env="a"))
    dirs.write("run/b.yaml", spec("b.c/d", "x"))
    dirs.write("run/bad.yaml", "not a spec")
    return dirs


@pytest.fixture(name="_settled", autouse=True)
def _always_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specfile, "is_settled", lambda _changed, _now: True)


def check(dirs: SpecDirs, cache: Cache) -> None:
    """The registry with `cache` gives what the files say."""
    loaded = registry.load(dirs.paths, cache)
    gpu, other = loaded.resolve([GPU0, "b.c/d=x"])
    assert gpu.edits == {"env": ["D=0a"]}
    assert gpu.common == {"env": ["C=a"]}
    assert other.edits == {"env": ["D=x"]}
    assert list(loaded.load_errors) == [str(dirs.run / "bad.yaml")]


def test_every_cache_file_truncated_at_every_byte(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    cache = Cache(str(folder))
    check(dirs, cache)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(whole) == 4, "an index, a table and two specs"
    for path, data in whole.items():
        for size in range(0, len(data), 3):
            path.write_bytes(data[:size])
            check(dirs, cache)
        path.write_bytes(data)


def test_every_cache_file_swapped_for_another(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    cache = Cache(str(folder))
    check(dirs, cache)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path in whole:
        for other in whole.values():
            path.write_bytes(other)
            check(dirs, cache)


def plant(folder: Path, dirs: SpecDirs) -> None:
    """A cache whose every entry is well formed and gives the attacker's edits."""
    check(dirs, Cache(str(folder)))
    for path in folder.iterdir():
        data = path.read_bytes()
        for value in (b"D=0a", b"C=a"):
            data = data.replace(value, b"X" * len(value))
        path.write_bytes(_signed_again(data))


def _signed_again(data: bytes) -> bytes:
    """`data` with the checksum of each of its entries made right."""
    frames = data.split(cache_module.MARK)[1:]
    size = cache_module._START - len(cache_module.MARK)
    bodies = [frame[size:] for frame in frames]
    return b"".join(
        cache_module.MARK + source_hash(cache_module._SEED, body) + body for body in bodies
    )


def test_the_planted_cache_would_be_believed(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    plant(folder, dirs)
    loaded = registry.load(dirs.paths, Cache(str(folder)))
    assert loaded.resolve([GPU0])[0].edits == {"env": ["XXXX"]}


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o1777])
def test_a_cache_folder_open_to_others_is_not_believed(dirs: SpecDirs, mode: int) -> None:
    folder = dirs.root / "cache"
    plant(folder, dirs)
    folder.chmod(mode)
    check(dirs, Cache(str(folder)))


def test_a_cache_folder_that_is_a_symlink_is_not_believed(dirs: SpecDirs) -> None:
    plant(dirs.root / "planted", dirs)
    (dirs.root / "cache").symlink_to("planted")
    check(dirs, Cache(str(dirs.root / "cache")))


@pytest.mark.root
@pytest.mark.parametrize("whose", ["folder", "files"])
def test_what_belongs_to_another_user_is_not_believed(dirs: SpecDirs, whose: str) -> None:
    folder = dirs.root / "cache"
    plant(folder, dirs)
    for path in [folder] if whose == "folder" else list(folder.iterdir()):
        os.chown(path, 65534, 65534)
    check(dirs, Cache(str(folder)))


def test_marshal_data_that_kills_the_interpreter_is_not_loaded(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    cache = Cache(str(folder))
    check(dirs, cache)
    for path in folder.iterdir():
        # A reference to an object that is not finished: loading it has crashed interpreters.
        path.write_bytes(
            cache_module.MARK + b"\0" * 8 + b"\xdb\x01\0\0\0r\0\0\0\0" + marshal.dumps(1)
        )
    check(dirs, cache)


@isolated
def test_a_full_disk(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    folder.mkdir()
    syscalls.mount("tmpfs", str(folder), "tmpfs", 0, "size=8k,mode=0700")
    cache = Cache(str(folder))
    for number in range(20):
        dirs.write("etc/big.yaml", spec("big.com/gpu", *map(str, range(number * 10 + 1))))
        check(dirs, cache)
    assert os.statvfs(folder).f_bavail <= 1, "the disk was never full"
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


@isolated
def test_a_read_only_run(dirs: SpecDirs) -> None:
    run = dirs.root / "ro"
    run.mkdir()
    syscalls.mount("tmpfs", str(run), "tmpfs", const.MS_RDONLY, "mode=0755")
    cache = Cache(str(run / "pyshim"))
    check(dirs, cache)
    check(dirs, cache)
    assert os.listdir(run) == []


@isolated
def test_a_cache_that_has_become_read_only_is_still_read(dirs: SpecDirs) -> None:
    run = dirs.root / "ro"
    run.mkdir()
    syscalls.mount("tmpfs", str(run), "tmpfs", 0, "mode=0755")
    cache = Cache(str(run / "pyshim"))
    check(dirs, cache)
    syscalls.mount(None, str(run), None, const.MS_REMOUNT | const.MS_RDONLY)
    check(dirs, cache)
    dirs.write("etc/c.yaml", spec("c.d/e", "y"))
    check(dirs, cache)
    assert registry.load(dirs.paths, cache).resolve(["c.d/e=y"])


_KILLED = """
import os, sys
sys.path[:0] = sys.argv[1].split(":")
from ocishim import posixos
from ocishim.cache import Cache
from ocishim.cdi.document import document, rules, coerce, goscalars, yamlgo
from ocishim.cdi.registry import registry, specfile
specfile.is_settled = lambda changed, now: True
steps = iter(range(int(sys.argv[3])))
def counted(call):
    def step(*arguments, **more):
        if next(steps, None) is None:
            os.kill(os.getpid(), 9)
        return call(*arguments, **more)
    return step
for name in ("mkdir", "open", "write", "rename", "unlink", "pread"):
    for module in (os, posixos):
        setattr(module, name, counted(getattr(module, name)))
registry.load(sys.argv[4:], Cache(sys.argv[2])).resolve(["acme.com/gpu=0"])
print("done")
"""


def test_killed_at_any_point_the_next_run_is_right(dirs: SpecDirs) -> None:
    folder = dirs.root / "cache"
    check(dirs, Cache(str(folder)))
    for step in range(100):
        dirs.write("etc/new.yaml", spec("n.o/p", str(step)))  # so that there is work to do
        if step % 2:
            for path in folder.iterdir():
                path.unlink()
        argv = [sys.executable, "-c", _KILLED, _import_path(), str(folder), str(step), *dirs.paths]
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
        check(dirs, Cache(str(folder)))
        if done.stdout:
            break
    assert 10 < step < 99


def _import_path() -> str:
    return f"{REPOSITORY}:{os.path.dirname(os.path.dirname(yaml.__file__))}"


_CROWD = """
import os, sys
sys.path[:0] = sys.argv[1].split(":")
from ocishim.cache import Cache
from ocishim.cdi.registry import registry
path = sys.argv[3] + "/a.yaml"

def written():
    with open(path) as file:
        return int(file.read().rpartition("D=0v")[2])

def load():
    versions = set()
    for number in range(5000):
        if number >= 12 and len(versions) >= 3:
            return 0
        before = written()
        found = registry.load([sys.argv[3]], Cache(sys.argv[2])).resolve(["acme.com/gpu=0"])
        seen = int(found[0].edits["env"][0].removeprefix("D=0v"))
        if not before <= seen <= written():
            print(f"saw {seen}, the file said {before} before and {written()} after")
            return 1
        versions.add(seen)
    print("the file hardly changed")
    return 1

children = []
for _child in range(50):
    pid = os.fork()
    if not pid:
        status = 2
        try:
            status = load()
        finally:
            os._exit(status)
    children.append(pid)
version = 0
text = open(path).read().rpartition("D=0v")[0]
while children:
    version += 1
    with open(path + ".new", "w") as file:
        file.write(f"{text}D=0v{version}\\n")
    os.rename(path + ".new", path)
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid:
        children.remove(pid)
        if status:
            print("child's status", status)
print("done")
"""


def test_fifty_processes_at_once_while_a_file_changes(dirs: SpecDirs) -> None:
    dirs.write("etc/a.yaml", spec("acme.com/gpu", "0").replace("D=0", "D=0v0"))
    argv = [sys.executable, "-c", _CROWD, _import_path(), str(dirs.root / "cache"), str(dirs.etc)]
    done = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=120)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines == ["done"], done.stdout
    names = os.listdir(dirs.root / "cache")
    assert not [name for name in names if name.endswith(".tmp")]
