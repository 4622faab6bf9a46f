"""The message for a device that cannot be resolved: the whole of it, for each cause."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.cdi.document import document
from ocishim.cdi.registry import registry, unresolved
from ocishim.errors import UnresolvedDeviceError
from tests import words
from tests.specdirs import SpecDirs, spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIST = "run 'pyshimctl cdi list'"
VALIDATE = "run 'pyshimctl cdi validate @/etc/acme.yaml'"
BOTH = "looked in @/etc (1 file), @/run (1 file)"


@pytest.fixture(name="dirs")
def _dirs(tmp_path: Path) -> SpecDirs:
    return SpecDirs(tmp_path)


@pytest.fixture(name="fails", params=["no cache", "warm"])
def _fails(request: pytest.FixtureRequest, dirs: SpecDirs) -> Callable[..., tuple[str, str]]:
    def fails(*names: str, spec_dirs: list[str] | None = None) -> tuple[str, str]:
        paths = spec_dirs or dirs.paths
        cache = Cache(str(dirs.root / "cache")) if request.param == "warm" else None
        registry.load(paths, cache)
        with pytest.raises(UnresolvedDeviceError) as caught:
            registry.load(paths, cache).resolve(list(names))
        root = str(dirs.root)
        return caught.value.message.replace(root, "@"), caught.value.hint.replace(root, "@")

    return fails


def two_vendors(dirs: SpecDirs) -> None:
    dirs.write("etc/acme.yaml", spec("acme.com/gpu", "0", "1", "all"))
    dirs.write("run/b.yaml", spec("nvidia.com/gpu", "0", "GPU-1d1d3726"))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        pytest.param("k8s.gpu.acme.com/claim=4711-gpu-0",
                     "only its driver can write it again: delete the pod, so that its claim is "
                     "prepared anew", id="a claim after a reboot"),
        pytest.param("k8s.device-plugin.acme.com/gpu=0",
                     "restart the device plugin's or driver's pod on this node, which writes it "
                     "again", id="a plugin's"),
        pytest.param("acne.com/gpu=9", LIST, id="anybody's"),
    ],
)  # fmt: skip
def test_whose_spec_is_missing(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], name: str, step: str
) -> None:
    two_vendors(dirs)
    assert fails(name)[1] == step


@pytest.mark.parametrize(
    ("names", "reasons"),
    [
        pytest.param(
            ["acme.com/gpu=7"],
            "acme.com/gpu has no device 7, nearest acme.com/gpu=0, acme.com/gpu=1, acme.com/gpu=all",
            id="no such device",
        ),
        pytest.param(
            ["acme.com/gpu=7", "acme.com/gpu=0", "acme.com/gpu=8"],
            "acme.com/gpu has no device 7, 8, "
            "nearest acme.com/gpu=0, acme.com/gpu=1, acme.com/gpu=all",
            id="two of one kind",
        ),
        pytest.param(
            ["acme.com/nic=eth0"], "acme.com has no class nic, it has gpu", id="wrong class"
        ),
        pytest.param(
            ["acne.com/gpu=9"],
            "no spec is of vendor acne.com, kinds are acme.com/gpu, nvidia.com/gpu",
            id="wrong vendor",
        ),
        pytest.param(
            ["k8s.nvidia.com/gpu=GPU-1d1d3726"],
            "no spec is of vendor k8s.nvidia.com, kinds are acme.com/gpu, nvidia.com/gpu, "
            "nearest nvidia.com/gpu=GPU-1d1d3726",
            id="the device under another kind",
        ),
        pytest.param(
            ["gpu0", "a b"],
            '"gpu0", "a b" is not of the form vendor/class=name',
            id="not qualified",
        ),
    ],
)
def test_not_defined(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], names: list[str], reasons: str
) -> None:
    two_vendors(dirs)
    missing = ", ".join(name for name in names if name != "acme.com/gpu=0")
    message, hint = fails(*names)
    assert message == f"unresolvable CDI devices {missing}: {reasons}; {BOTH}"
    assert hint == LIST


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("acme.com/x=0", "acme.com has no class x, it has a0, a1, a2 and 3 more", id="class"),
        pytest.param("nvidia.com/gpu=0", "no spec is of vendor nvidia.com, kinds are acme.com/a0, "
            "acme.com/a1, acme.com/a2 and 3 more", id="vendor"),
    ],
)  # fmt: skip
def test_more_kinds_than_are_told(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], name: str, words: str
) -> None:
    for number in range(6):
        dirs.write(f"etc/{number}.yaml", spec(f"acme.com/a{number}", "0"))
    assert words in fails(name)[0]


KNOWN = ": known are cdiVersion, kind, annotations, devices, containerEdits"
VERSIONS = "known are 0.3.0, 0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0, 1.1.0"
EDITS = 'failed add device "0": invalid device "0":'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param("cdiVersion", "bad: 1\ncdiVersion",
            f"unknown field 'bad'{KNOWN} (cdiVersion 0.6.0)", id="unknown field"),
        pytest.param("0.6.0", "1.7.0", f"invalid version \"1.7.0\" in 'cdiVersion': {VERSIONS}",
            id="version"),
        pytest.param("cdiVersion: 0.6.0\n", "", f"invalid version \"\" in 'cdiVersion': {VERSIONS}",
            id="no version"),
        pytest.param("0.6.0", "0.6.0\ncontainerEdits: {additionalGids: [1]}",
            "the spec version must be at least v0.7.0 for 'containerEdits.additionalGids' "
            "(cdiVersion 0.6.0)", id="old for gids"),
        pytest.param("    env:", "    netDevices: [{hostInterfaceName: a, name: b}]\n    env:",
            "the spec version must be at least v1.1.0 for 'devices[0].containerEdits.netDevices' "
            "(cdiVersion 0.6.0)", id="old for a device's"),
        pytest.param("0.6.0", "0.4.0",
            "the spec version must be at least v0.5.0 for 'devices[0].name' (cdiVersion 0.4.0)",
            id="old for a name"),
        pytest.param("    env:", "    deviceNodes: [{path: /a, type: d}]\n    env:",
            f'{EDITS} device "/a": invalid type "d" in '
            f"'devices[0].containerEdits.deviceNodes[0].type': known are b, c, u and p (cdiVersion "
            f"0.6.0)", id="type"),
        pytest.param("    env:", "    deviceNodes: [{path: /a, permissions: rx}]\n    env:",
            f'{EDITS} device "/a": invalid permissions "rx" in '
            f"'devices[0].containerEdits.deviceNodes[0].permissions': expected letters of rwm, or "
            f"none (cdiVersion 0.6.0)", id="permissions"),
        pytest.param("    env:", "    hooks: [{hookName: prestop, path: /a}]\n    env:",
            f'{EDITS} invalid hook name "prestop" in '
            f"'devices[0].containerEdits.hooks[0].hookName': known are prestart, createRuntime, "
            f"createContainer, startContainer, poststart, poststop (cdiVersion 0.6.0)", id="hook"),
        pytest.param("    env:", "    hooks: [{hookName: prestart, path: /a, env: [D]}]\n    env:",
            f'{EDITS} invalid hook "prestart": invalid environment variable "D" in '
            f"'devices[0].containerEdits.hooks[0].env[0]': expected NAME=VALUE (cdiVersion 0.6.0)",
            id="hook's variable"),
        pytest.param("0.6.0", "0.7.0\ncontainerEdits: {intelRdt: {closID: a/b}}",
            "invalid ClosID in 'containerEdits.intelRdt.closID': expected the name of a folder in "
            "resctrl, or / (cdiVersion 0.7.0)", id="closID"),
        pytest.param("D=0", "D",
            f'{EDITS} invalid container edits: invalid environment variable "D" in '
            f"'devices[0].containerEdits.env[0]': expected NAME=VALUE (cdiVersion 0.6.0)",
            id="variable"),
        pytest.param("- D=0", "- [D]",
            "expected string, found array in 'devices[0].containerEdits.env[0]' (cdiVersion 0.6.0)",
            id="wrong type"),
        pytest.param("- D=0", "- 'D",
            words.of_yaml(spec("acme.com/gpu", "0").replace("- D=0", "- 'D")), id="no YAML"),
    ],
)  # fmt: skip
def test_its_file_is_rejected(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], old: str, new: str, reason: str
) -> None:
    two_vendors(dirs)
    dirs.write("etc/acme.yaml", spec("acme.com/gpu", "0").replace(old, new))
    message, hint = fails("acme.com/gpu=0")
    assert message == (
        "unresolvable CDI devices acme.com/gpu=0: @/etc/acme.yaml, which mentions acme.com/gpu, "
        f"is rejected: {reason}; {BOTH}"
    )
    assert hint == VALIDATE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"kind": "gpu"},
            "invalid vendor. empty name in 'kind': expected vendor/class, such as acme.com/gpu"
            " (cdiVersion 0.6.0)",
            id="no vendor",
        ),
        pytest.param(
            {"kind": "acme.com/1"},
            'invalid class. "1", should start with letter'
            " in 'kind': expected vendor/class, such as acme.com/gpu"
            " (cdiVersion 0.6.0)",
            id="no class",
        ),
        pytest.param(
            {"cdiVersion": "0.2.0"},
            "the spec version must be at least v0.3.0 in 'cdiVersion' (cdiVersion 0.2.0)",
            id="a version that was never good",
        ),
    ],
)
def test_rejection(changes: dict[str, str], reason: str) -> None:
    device = {"name": "a", "containerEdits": {"env": ["A=b"]}}
    text = {"cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [device], **changes}
    with pytest.raises(document.CDISpecError) as e:
        document.load(json.dumps(text).encode(), "/a.json")
    assert unresolved.rejection("/a.json", e.value.record()) == reason


def test_another_vendors_rejected_file_is_not_blamed(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]]
) -> None:
    two_vendors(dirs)
    dirs.write("etc/acme.yaml", spec("acme.com/gpu", "0") + "bad: 1\n")
    message, hint = fails("nvidia.com/gpu=7")
    assert "acme" not in message.replace("acme.yaml", "")
    assert hint == LIST


@pytest.mark.parametrize(
    ("target", "why"),
    [
        pytest.param("/nonexistent", "a symlink to nowhere", id="dangling"),
        pytest.param("x.yaml", "too many levels of symbolic links", id="loop"),
        pytest.param("/proc", "is a directory", id="directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_suspect(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], target: str, why: str
) -> None:
    two_vendors(dirs)
    (dirs.etc / "x.yaml").symlink_to(target)
    message, hint = fails("acme.com/nic=0")
    assert message == (
        "unresolvable CDI devices acme.com/nic=0: acme.com has no class nic, it has gpu; "
        f"@/etc/x.yaml cannot be read: {why}; looked in @/etc (2 files), @/run (1 file)"
    )
    assert hint == "run 'pyshimctl cdi validate @/etc/x.yaml'"


def test_a_fifo_keeps_nobody_waiting(dirs: SpecDirs, fails: Callable[..., tuple[str, str]]) -> None:
    os.mkfifo(dirs.etc / "bad.yaml")
    message, _ = fails("acme.com/gpu=0")
    assert "@/etc/bad.yaml cannot be read: not a regular file; " in message


def test_a_conflict_names_all_files(dirs: SpecDirs, fails: Callable[..., tuple[str, str]]) -> None:
    two_vendors(dirs)
    dirs.write("etc/acme2.yaml", spec("acme.com/gpu", "0"))
    message, hint = fails("acme.com/gpu=0")
    assert message == (
        "unresolvable CDI devices acme.com/gpu=0: acme.com/gpu=0 is defined in both "
        "@/etc/acme.yaml and @/etc/acme2.yaml, and so neither counts; "
        "looked in @/etc (2 files), @/run (1 file)"
    )
    assert hint == "remove one of the two files"


def test_several_causes_are_told_in_order_of_the_request(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]]
) -> None:
    two_vendors(dirs)
    dirs.write("run/c.yaml", spec("broken.com/x", "0") + "bad: 1\n")
    message, _hint = fails("z.com/f=1", "broken.com/x=0", "acme.com/gpu=2")
    assert message == (
        "unresolvable CDI devices z.com/f=1, broken.com/x=0, acme.com/gpu=2: "
        "no spec is of vendor z.com, kinds are acme.com/gpu, nvidia.com/gpu; "
        "@/run/c.yaml, which mentions broken.com/x, is rejected: "
        f"unknown field 'bad'{KNOWN} (cdiVersion 0.6.0); "
        "acme.com/gpu has no device 2, nearest acme.com/gpu=0, acme.com/gpu=1, acme.com/gpu=all; "
        "looked in @/etc (1 file), @/run (2 files)"
    )


@pytest.mark.parametrize(
    ("change", "looked"),
    [
        pytest.param(lambda _d: None, "@/etc (0 files), @/run (0 files)", id="no specs"),
        pytest.param(lambda d: d.run.rmdir(), "@/etc (0 files), @/run (missing)", id="missing"),
        pytest.param(
            lambda d: (d.etc.rmdir(), d.etc.write_text("")),
            "@/etc (unreadable: not a directory), and so not in @/run",
            id="unreadable",
        ),
    ],
)
def test_the_state_of_the_spec_dirs(
    dirs: SpecDirs,
    fails: Callable[..., tuple[str, str]],
    change: Callable[[SpecDirs], object],
    looked: str,
) -> None:
    change(dirs)
    message, hint = fails("acme.com/gpu=0")
    assert message == (
        f"unresolvable CDI devices acme.com/gpu=0: no spec defines any device; looked in {looked}"
    )
    assert hint == "generate the vendor's spec, or check cdi.spec_dirs"


def test_no_spec_dir_is_configured() -> None:
    with pytest.raises(UnresolvedDeviceError) as caught:
        registry.load([], None).resolve(["acme.com/gpu=0"])
    assert caught.value.message == (
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; "
        "looked in no spec dir: none is configured"
    )


def test_hundreds_of_names_and_files_make_no_novel(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]]
) -> None:
    for number in range(40):
        dirs.write(f"etc/{number}.yaml", spec(f"v{number}.com/{'long' * 20}", "0") + "bad: 1\n")
    names = [f"v{number % 60}.com/{'long' * 20}=0" for number in range(500)]
    message, _hint = fails(*names)
    assert len(message.encode()) < 1500
    shown = message.partition(" and ")[0].removeprefix("unresolvable CDI devices ").split(", ")
    assert shown == names[: len(shown)]
    assert f" and {500 - len(shown)} more: @/etc/0.yaml, which mentions v0.com/" in message
    assert "; looked in @/etc (40 files), @/run (0 files)" in message


def test_ten_thousand_candidates_are_no_reason_to_wait(dirs: SpecDirs) -> None:
    many = [f"gpu-{number:05}" for number in range(10_000)]
    dirs.write("etc/a.yaml", spec("acme.com/gpu", *many))
    loaded = registry.load(dirs.paths, None)
    with pytest.raises(UnresolvedDeviceError) as raised:
        loaded.resolve(["acme.com/gpu=gpu-0421x"])
    message = raised.value.message
    assert "nearest acme.com/gpu=gpu-04" in message


def test_one_line_whatever_the_paths_are(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]]
) -> None:
    two_vendors(dirs)
    os.symlink("nowhere", dirs.etc / "two\nlines\x1b[31m.yaml")
    message, hint = fails("acme.com/nic=0")
    assert message.isprintable()
    assert "@/etc/two\\x0alines\\x1b[31m.yaml cannot be read" in message
    assert hint.isprintable()


@pytest.mark.parametrize("phrase", ["permission denied", "no such file or directory"])
def test_no_words_by_which_engines_classify(
    dirs: SpecDirs, fails: Callable[..., tuple[str, str]], phrase: str
) -> None:
    dirs.run.rmdir()
    (dirs.etc / "x.yaml").symlink_to("/nonexistent")
    message, hint = fails("acme.com/nic=0")
    assert phrase not in (message + hint).lower()


@pytest.mark.parametrize(("names", "end"), [
    pytest.param(["v.com/c=" + "a" * 5000], "aaa...", id="one"),
    pytest.param(["v.com/c=" + "a" * 5000, "v.com/c=b"], "aaa... and 1 more",
        id="the first of two"),
    pytest.param(["v.com/c=b", "v.com/c=" + "a" * 5000], "=b and 1 more", id="the second"),
])  # fmt: skip
def test_names_that_are_too_long(names: list[str], end: str) -> None:
    sentence = unresolved._sentence(names)
    assert sentence.startswith("unresolvable CDI devices v.com/c=")
    assert sentence.endswith(end)
    assert len(sentence) < 850
