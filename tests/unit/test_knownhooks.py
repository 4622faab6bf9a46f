"""Hooks pyshim knows: recognised at whatever path, hardened, neighbours fused, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocishim.errors import UsageError
from ocishim.hookplan import knownhooks
from ocishim.hookplan.knownhooks import Part, Planned
from ocishim.hooks import chain, flags
from ocishim.oci import hooktable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def hook(line: str, **more: Any) -> Any:
    """A hook whose path is the first word and whose args are all of them."""
    words = line.split()
    return {"path": words[0], "args": [words[0].rpartition("/")[2], *words[1:]], **more}


LINKS = Part("create-symlinks", ["--link", "a::/b"])
CACHE = Part("update-ldcache", ["--folder", "/lib"])

KNOWN = [
    pytest.param("/usr/bin/nvidia-cdi-hook create-symlinks --link a::/b", [LINKS],
        id="nvidia-cdi-hook"),
    pytest.param("/usr/bin/nvidia-ctk hook create-symlinks --link a::/b", [LINKS],
        id="nvidia-ctk hook"),
    pytest.param("/usr/bin/pyshim-hook create-symlinks --link a::/b", [LINKS], id="pyshim-hook"),
    pytest.param(
        "/var/lib/kubelet/plugins/gpu.nvidia.com/nvidia-cdi-hook update-ldcache --folder /lib",
        [CACHE], id="the DRA driver's copy"),
    pytest.param("/no/such/place/nvidia-cdi-hook update-ldcache --folder /lib", [CACHE],
        id="a program that is not there"),
    pytest.param("nvidia-cdi-hook update-ldcache --folder /lib", [CACHE], id="a relative path"),
    pytest.param("/x/nvidia-cdi-hook --debug update-ldcache --folder /lib", [CACHE],
        id="a switch before the name"),
    pytest.param("/x/nvidia-ctk --quiet hook -d update-ldcache --folder /lib", [CACHE],
        id="switches anywhere before"),
    pytest.param("/x/nvidia-cdi-hook update-ldcache", [Part("update-ldcache", [])], id="no flags"),
    pytest.param(
        "/x/pyshim-hook chain --rootfs /r --timeout 5 create-symlinks --link a::/b --next "
        "update-ldcache --folder /lib", [LINKS, CACHE], id="a chain"),
    pytest.param("/x/pyshim-hook chain update-ldcache --folder /lib", [CACHE], id="a chain of one"),
]  # fmt: skip

UNKNOWN = [
    pytest.param(hook("/x/nvidia-cdi-hook create-symlinks --link a"), id="a value of no use"),
    pytest.param(hook("/x/nvidia-cdi-hook update-ldcache --ldconfig-path="), id="an empty value"),
    pytest.param(hook("/x/nvidia-cdi-hook chmod --path /a"), id="without what it needs"),
    pytest.param(hook("/usr/bin/vendor-hook create-symlinks --link a::/b"), id="another program"),
    pytest.param(hook("/usr/bin/nvidia-cdi-hook apply-cuda-memory-limits"), id="a newer name"),
    pytest.param(
        hook("/usr/bin/nvidia-ctk hook create-symlinks --csv-filename /f"), id="an older flag"
    ),
    pytest.param(hook("/x/nvidia-cdi-hook chmod --mode 1 --path /a --user 0"), id="a newer flag"),
    pytest.param(hook("/x/nvidia-cdi-hook update-ldcache --folder"), id="no value"),
    pytest.param(hook("/x/nvidia-cdi-hook update-ldcache /lib"), id="a word that is no flag"),
    pytest.param(
        hook("/x/nvidia-cdi-hook update-ldcache --container-spec /s"), id="a state from a file"
    ),
    pytest.param(
        hook("/x/pyshim-hook chain chmod --mode 1 --next update-ldcache --future x"),
        id="a newer pyshim's flag",
    ),
    pytest.param(hook("/usr/bin/nvidia-cdi-hook"), id="no name"),
    pytest.param(hook("/usr/bin/nvidia-cdi-hook --version"), id="only a switch"),
    pytest.param(hook("/usr/bin/nvidia-ctk system create-dev-char-symlinks"), id="another command"),
    pytest.param(
        hook("/usr/bin/nvidia-ctk create-symlinks --link a::/b"), id="nvidia-ctk without hook"
    ),
    pytest.param(hook("/usr/bin/nvidia-container-runtime-hook prestart"), id="the legacy hook"),
    pytest.param(
        hook("/x/nvidia-cdi-hook create-symlinks --link --next"), id="our own separator as a value"
    ),
    pytest.param(
        hook("/x/pyshim-hook chain create-symlinks --next future-hook --x"),
        id="a newer pyshim's chain",
    ),
    pytest.param(hook("/x/pyshim-hook chain --rootfs /r"), id="a chain of nothing"),
    pytest.param({"path": "/x/nvidia-cdi-hook"}, id="no args"),
    pytest.param({"path": "/x/nvidia-cdi-hook", "args": None}, id="args null"),
    pytest.param({"path": "/x/nvidia-cdi-hook", "args": "create-symlinks"}, id="args no list"),
    pytest.param({"path": "/x/nvidia-cdi-hook", "args": ["x", 1]}, id="args no strings"),
    pytest.param({"args": ["nvidia-cdi-hook", "create-symlinks"]}, id="no path"),
    pytest.param({"path": None, "args": ["x", "create-symlinks"]}, id="path null"),
    pytest.param({}, id="empty"),
]


def test_the_static_file_alone_is_known() -> None:
    args = ["pyshim-hook", "chain", "update-ldcache", "--folder", "/lib"]
    assert knownhooks.parse({"path": "/opt/pyshim", "args": args}) == [CACHE]
    assert knownhooks.parse({"path": "/opt/pyshim", "args": ["pyshim", *args[1:]]}) == []


@pytest.mark.parametrize(("line", "parts"), KNOWN)
def test_known(line: str, parts: list[Part]) -> None:
    assert knownhooks.parse(hook(line)) == parts


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_unknown(unknown: Any) -> None:
    assert knownhooks.parse(unknown) == []


def test_every_hook_the_peer_has() -> None:
    peers = {
        "create-symlinks", "update-ldcache", "enable-cuda-compat", "chmod",
        "disable-device-node-modification", "update-application-profile", "create-soname-symlinks",
    }  # fmt: skip
    assert peers <= hooktable.HOOKS.keys()
    assert [name for name in peers if not hooktable.HOOKS[name].writes] == [
        "disable-device-node-modification",
    ]


class Seen(Exception):  # noqa: N818 - what a hook asks its flags for
    pass


@pytest.mark.parametrize("name", sorted(hooktable.HOOKS))
def test_the_flags_are_the_hooks_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def parse(_args: list[str], known: tuple[str, ...]) -> NoReturn:
        raise Seen(known)

    monkeypatch.setattr(flags, "parse", parse)
    with pytest.raises(Seen) as seen:
        chain.load(name).parse([])
    assert hooktable.HOOKS[name].flags == seen.value.args[0]


ODD = (
    "", " ", "x", "/x", "a::/b", "a::b", "::/b", "a::", "a::/", "a::/..", "a::b::c", "644", "07777",
    "10000", "0o644", "u+x", "/a#b", "/a=b", "/a\nb", " /a", "a,b", "--", "/sbin/ldconfig",
)  # fmt: skip
"""Values of flags, each of which some flag takes and another does not."""


@given(st.data())
def test_known_is_what_the_hook_takes(data: st.DataObject) -> None:
    """What pyshim takes over would do: else the vendor's program is left what it was."""
    name = data.draw(st.sampled_from(sorted(hooktable.HOOKS)))
    row = hooktable.HOOKS[name]
    words = st.sampled_from(
        [f"--{flag}" for flag in row.flags] + [f"-{flag}" for flag in row.flags]
    )
    args: list[str] = []
    for _ in range(data.draw(st.integers(0, 3)) if row.flags else 0):
        flag, value = data.draw(words), data.draw(st.sampled_from(ODD))
        args += [f"{flag}={value}"] if data.draw(st.booleans()) else [flag, value]
    if row.takes(args):
        chain.load(name).parse(args)
    else:
        assert any(_is_refused(name, one) for one in _each(args))


def _is_refused(name: str, args: list[str]) -> bool:
    try:
        chain.load(name).parse(args)
    except UsageError:
        return True
    return False


def _each(args: list[str]) -> Iterator[list[str]]:
    """The whole, and each flag with its value alone: the last of several hides the others."""
    yield args
    words = iter(args)
    for word in words:
        mode = ["--mode", "1"] if word.lstrip("-").startswith("path") else []
        yield [word, *([] if "=" in word else [next(words)]), *mode]


@given(st.lists(st.sampled_from(
    ["--some", "-some", "--more", "---more", "some", "--some=", "--more=x=y", "--other", "-", "", "x"]
)))  # fmt: skip
def test_what_a_hook_takes(args: list[str]) -> None:
    """As the hook itself reads it: create and explain must not see it otherwise."""
    try:
        flags.parse(args, ("some", "more"))
    except UsageError:
        taken = False
    else:
        taken = True
    assert hooktable.Row("some", "more").takes(args) == taken


@pytest.mark.parametrize(("hook", "lacks"), [
    pytest.param({}, True, id="absent"),
    pytest.param({"env": None}, True, id="null"),
    pytest.param({"env": []}, True, id="empty, which Go programs leave out"),
    pytest.param({"env": ["A=1"]}, False, id="its own"),
    pytest.param({"env": ["LD_PRELOAD=/x"]}, False, id="its own, whatever it is"),
])  # fmt: skip
def test_lacks_an_environment(hook: Any, lacks: bool) -> None:  # noqa: FBT001
    assert knownhooks.lacks_environment(hook) == lacks


A, B, C = (
    "/x/nvidia-cdi-hook chmod --mode=1", "/x/nvidia-cdi-hook chmod --mode=2",
    "/y/nvidia-ctk hook chmod --mode=3",
)  # fmt: skip
L, M = "/x/nvidia-cdi-hook update-ldcache", "/x/nvidia-cdi-hook update-ldcache --folder /m"
V, W = "/vendor v", "/vendor w"

FUSED = [
    pytest.param([], [], id="nothing"),
    pytest.param([V], [V], id="one that is not known"),
    pytest.param([A], [["chmod --mode=1"]], id="one that is"),
    pytest.param([A, B, C], [["chmod --mode=1", "chmod --mode=2", "chmod --mode=3"]],
        id="neighbours"),
    pytest.param([A, V, B], [["chmod --mode=1"], V, ["chmod --mode=2"]],
        id="the order relative to others stays"),
    pytest.param([V, A, B, W, C, V],
        [V, ["chmod --mode=1", "chmod --mode=2"], W, ["chmod --mode=3"], V], id="in between"),
    pytest.param([A, A, B, A], [["chmod --mode=1", "chmod --mode=2"]],
        id="duplicates: the first stays"),
    pytest.param([A, V, A], [["chmod --mode=1"], V], id="a duplicate on the other side"),
    pytest.param([A, V, A, W], [["chmod --mode=1"], V, W],
        id="a chain of duplicates alone is none"),
    pytest.param([V, V], [V, V], id="others are not ours to remove"),
    pytest.param([A, L, B, L, C],
        [["chmod --mode=1", "chmod --mode=2", "update-ldcache", "chmod --mode=3"]],
        id="of update-ldcache the last"),
    pytest.param([L, A, V, B, L],
        [["update-ldcache", "chmod --mode=1"], V, ["chmod --mode=2", "update-ldcache"]],
        id="of update-ldcache the last of its neighbours"),
    pytest.param([L, M, L], [["update-ldcache --folder /m", "update-ldcache"]],
        id="other folders, another hook"),
    pytest.param(["/x/pyshim-hook chain --rootfs /r chmod --mode=1 --next chmod --mode=2", C],
        [["chmod --mode=1", "chmod --mode=2", "chmod --mode=3"]],
        id="a chain takes its neighbours in"),
]  # fmt: skip


def fused(lines: list[str], timeouts: dict[str, Any] | None = None) -> list[Any]:
    hooks = [
        hook(line, **({"timeout": (timeouts or {})[line]} if line in (timeouts or {}) else {}))
        for line in lines
    ]
    return fuse(hooks, lambda parts, timeout: {"parts": parts, "timeout": timeout})


def fuse(hooks: list[Any], make: Callable[[list[Part], int], Any]) -> list[Any]:
    made = knownhooks.fuse(map(Planned, hooks), lambda *args: Planned(make(*args)), 10)
    return [one.hook for one in made]


@pytest.mark.parametrize(("lines", "expected"), FUSED)
def test_fuse(lines: list[str], expected: list[Any]) -> None:
    found = [
        [part.describe() for part in made["parts"]]
        if "parts" in made
        else " ".join([made["path"], *made["args"][1:]])
        for made in fused(lines)
    ]
    assert found == expected


@pytest.mark.parametrize(("timeouts", "expected"), [
    pytest.param({}, [10, 10], id="none: the configured one"),
    pytest.param({A: 3}, [10, 10], id="the longest of a chain"),
    pytest.param({A: 3, B: 4}, [4, 10], id="all set"),
    pytest.param({A: 30, C: 7}, [30, 7], id="each chain its own"),
    pytest.param({A: 0, B: -1, C: "x"}, [10, 10], id="none that counts"),
])  # fmt: skip
def test_timeouts(timeouts: dict[str, Any], expected: list[int]) -> None:
    found = [made["timeout"] for made in fused([A, B, V, C], timeouts) if "parts" in made]
    assert found == expected


def test_fusing_twice_is_fusing_once() -> None:
    """What comes out of fuse() goes through it unchanged: a second create finds the same."""

    def chain(parts: list[Part], timeout: int) -> Any:
        words = " --next ".join(part.describe() for part in parts)
        return hook(
            f"/p/pyshim-hook chain --rootfs /r --timeout {timeout} {words}", timeout=timeout
        )

    for lines, _ in (row.values for row in FUSED):
        hooks = [hook(line) for line in lines]  # type: ignore[union-attr]
        once = fuse(hooks, chain)
        assert fuse(once, chain) == once
