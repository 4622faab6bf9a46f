"""Several hooks in one process: order, merging, the first failure, what is reported."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ocishim import hooks
from ocishim.errors import HookError, PyshimError, UnsafePathError, UsageError
from ocishim.hooks import chain
from ocishim.hooks.outcome import Outcome
from ocishim.oci import hooktable
from ocishim.rootfs.rootfs import Rootfs
from tests.trees import make_tree, names


class Recorder(ModuleType):
    """A hook module that notes what it is asked to do."""

    def __init__(self, name: str, done: list[str]) -> None:
        super().__init__(f"ocishim.hooks.{name}")
        self.done = done
        self.error: Exception | None = None
        self.outcomes: list[Outcome] = []

    def parse(self, args: list[str]) -> list[str]:
        if "bad" in args:
            raise UsageError("flag '--bad' is bad")
        return args

    def apply(self, _rootfs: Rootfs, request: list[str]) -> list[Outcome]:
        if self.error:
            raise self.error
        self.done.append(f"{self.__name__.removeprefix('ocishim.hooks.')} {' '.join(request)}")
        return self.outcomes


class Merger(Recorder):
    def merge(self, requests: list[list[str]]) -> list[str]:
        return [word for request in requests for word in request]


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, done: list[str]) -> dict[str, Recorder]:
    made = {"one": Recorder("one", done), "two": Recorder("two", done), "all": Merger("all", done)}
    for name, module in made.items():
        monkeypatch.setitem(hooktable.HOOKS, name, hooktable.Row())
        monkeypatch.setitem(sys.modules, f"ocishim.hooks.{name}", module)
        monkeypatch.setattr(hooks, name, module, raising=False)
    return made


@pytest.fixture
def rootfs(tmp_path: Path) -> Iterator[Rootfs]:
    with Rootfs.open_dir(str(make_tree(tmp_path / "root"))) as rootfs:
        yield rootfs


class Said(list[tuple[str, str]]):
    def __call__(self, level: str, message: str) -> None:
        self.append((level, message))


def _run(rootfs: Rootfs, *words: str) -> Said:
    said = Said()
    chain.apply(rootfs, chain.parse(chain.split(list(words)), said), said)
    return said


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], []),
        (["a"], [["a"]]),
        (["a", "-x", "1", "--next", "b"], [["a", "-x", "1"], ["b"]]),
        (["--next", "a", "--next", "--next", "b", "--next"], [["a"], ["b"]]),
    ],
)
def test_split(words: list[str], parts: list[list[str]]) -> None:
    assert chain.split(words) == parts


@pytest.mark.parametrize(
    ("words", "result"),
    [
        pytest.param("one a --next two b --next one c", ["one a", "two b", "one c"], id="order"),
        pytest.param("all a --next one b --next all c", ["one b", "all a c"],
            id="at the last place"),
        pytest.param("all a --next one b", ["all a", "one b"], id="a single one stays"),
        pytest.param("all a --next all b --next all c", ["all a b c"], id="three"),
        pytest.param("all a --next one b --next all c --next two d", ["one b", "all a c", "two d"],
                     id="what follows stays behind"),
        pytest.param("one --next future x --next two", ["one ", "two "], id="unknown left out"),
        pytest.param("future", [], id="only unknown"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("modules")
def test_order_and_merging(rootfs: Rootfs, done: list[str], words: str, result: list[str]) -> None:
    _run(rootfs, *words.split())
    assert done == result


@pytest.mark.usefixtures("modules")
def test_an_unknown_hook_is_a_warning(rootfs: Rootfs) -> None:
    assert _run(rootfs, "future", "--x", "--next", "one") == [
        ("warning", "hook 'future' is not known and is left out")
    ]


def test_changes_are_reported(rootfs: Rootfs, modules: dict[str, Recorder]) -> None:
    modules["one"].outcomes = [Outcome("did it"), Outcome("could not", warning=True)]
    assert _run(rootfs, "one") == [("debug", "one: did it"), ("warning", "one: could not")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HookError("exit status 1: its last line"), "exit status 1: its last line"),
        (UnsafePathError("'x' is a fifo, not a regular file"), "'x' is a fifo, not a regular file"),
        (PyshimError("no room", hint="make some"), "no room (make some)"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.ENOENT, "No such file", "/a"), "/a: No such file"),
        (OSError("odd"), "odd"),
        (HookError("two\nlines"), "two lines"),
    ],
)
def test_the_first_failure_ends_the_chain(
    rootfs: Rootfs, modules: dict[str, Recorder], done: list[str], error: Exception, reason: str
) -> None:
    modules["two"].error = error
    with pytest.raises(HookError) as caught:
        _run(rootfs, "one", "--next", "two", "--next", "all")
    assert str(caught.value) == f"createContainer hook two failed: {reason}"
    assert done == ["one "]


@pytest.mark.usefixtures("modules")
def test_all_is_parsed_before_anything_is_done(rootfs: Rootfs, done: list[str]) -> None:
    with pytest.raises(HookError) as caught:
        _run(rootfs, "one", "--next", "two", "bad")
    assert str(caught.value) == "createContainer hook two failed: flag '--bad' is bad"
    assert done == []


def test_real_hooks_share_one_rootfs(rootfs: Rootfs) -> None:
    said = _run(
        rootfs, "create-symlinks", "--link", "t::/d/l", "--next", "chmod", "--mode", "700",
        "--path", "/d",
    )  # fmt: skip
    assert said == [
        ("debug", "create-symlinks: /d/l -> t: linked"),
        ("debug", "chmod: /d: mode 0o700 set"),
    ]
    assert names(Path(rootfs.path)) == ["d", "d/l"]


@pytest.mark.parametrize("name", sorted(hooktable.HOOKS))
def test_every_hook_has_its_module(name: str) -> None:
    module = chain.load(name)
    assert name == module.NAME
    assert callable(module.parse)
    assert callable(module.apply)
    with pytest.raises(UsageError, match="unknown flag '--no-such-flag'"):
        module.parse(["--no-such-flag", "x"])
