"""What create does to a bundle: nothing lost, nothing doubled, nothing half done.

Through the real program, with a probe in the low-level runtime's place.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocishim import jsonio
from ocishim.cache import Cache, identity
from ocishim.cdi import edits, hostdev
from ocishim.cdi.registry import registry
from ocishim.create import plan
from ocishim.hookplan import knownhooks
from ocishim.oci import hookchanges
from ocishim.oci import spec as oci_spec
from ocishim.oci.bundle import Bundle
from ocishim.settings import config, defaults
from tests.conftest import need
from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from pathlib import Path

ASK = {"cdi.k8s.io/x": "acme.com/gpu=0"}
BOTH = {"cdi.k8s.io/x": "acme.com/gpu=0,acme.com/gpu=1"}


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.add_spec("acme.json", ACME)
    return box


def create(box: Box, bundle: Path | str = "bundle") -> bytes:
    """Call create; return config.json as the low-level runtime finds it."""
    done = box.call("create", "--bundle", str(bundle), "c")
    assert (done.status, done.err) == (0, "probe's error\n"), done
    return (box.folder / bundle / "config.json").read_bytes()


def is_extension(old: Any, new: Any, where: str = "") -> None:
    """Assert that `new` is `old` with members added behind and list items added anywhere."""
    assert type(old) is type(new), where
    if isinstance(old, dict):
        assert list(new)[: len(old)] == list(old), where
        for key, value in old.items():
            is_extension(value, new[key], f"{where}.{key}")
    elif isinstance(old, list):
        rest = list(new)
        for index, item in enumerate(old):
            assert item in rest, f"{where}[{index}]"
            # CDI sorts mounts by depth; all else keeps its order.
            del rest[rest.index(item) if where == ".mounts" else 0 : rest.index(item) + 1]
    else:
        assert old == new, where


@pytest.mark.parametrize("engine", ["containerd", "docker", "podman"])
def test_lossless(box: Box, data: Path, engine: str) -> None:
    """An engine's own config.json, with what no specification knows and numbers of all kinds."""
    spec = json.loads((data / "engines" / f"{engine}.config.json").read_text())
    spec.pop("hooks", None)
    spec["root"] = {"path": "rootfs", "future": [None, {}, [], "", False, 0]}
    spec["annotations"] = {"other": "kept", **ASK}
    spec["zz"] = {"b": 1, "a": 18446744073709551615}
    spec["process"]["new.property"] = {"x": ["\u00e9\U0001f600", "\ud800"]}
    spec["mounts"][0]["unknown"] = True
    text = json.dumps(spec, ensure_ascii=False)[:-1]
    text += ', "numbers": [1.0, 1.50, 1E3, 1e-07, -0, 123456789012345678901234567890]}'
    box.bundle(text.encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"\\ud800"))
    old = jsonio.loads((box.folder / "bundle/config.json").read_bytes(), "old")
    written = create(box)
    new = jsonio.loads(written, "new")
    is_extension(old, new)
    assert b'"numbers":[1.0,1.50,1E3,1e-07,-0,123456789012345678901234567890]' in written
    assert new["ociVersion"] == spec["ociVersion"]
    assert {"GPU=0", "ACME=yes"} <= set(new["process"]["env"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_KNOWN = {"process", "mounts", "linux", "hooks", "annotations", "root", "ociVersion"}


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(top=st.dictionaries(st.text().filter(lambda key: key not in _KNOWN), _JSON, max_size=4),
       process=st.dictionaries(st.text(min_size=1).map(lambda key: "x" + key), _JSON, max_size=3),
       linux=st.dictionaries(st.text(min_size=1).map(lambda key: "x" + key), _JSON, max_size=3),
       mount=_JSON, env=st.lists(st.text(max_size=6), max_size=4))  # fmt: skip
def test_unknown_properties_survive(  # noqa: PLR0917
    box: Box, top: Any, process: Any, linux: Any, mount: Any, env: list[str]
) -> None:
    """Whatever else a spec holds, in whatever order; environment entries without "=" too."""
    spec = oci(annotations=ASK)
    spec = {**top, **spec}
    spec["process"].update(process)
    spec["process"]["env"] = env
    spec["linux"].update(linux)
    spec["mounts"][0]["x"] = mount
    path = box.bundle(spec)
    # In this process: sixty starts of Python would take too long.
    old = Bundle(str(path))
    made = planned(box, old)
    old.replace(made.spec)
    new = Bundle(str(path))
    kept = {key: value for key, value in new.spec.items() if key != "hooks"}
    assert [key for key in kept if key in spec] == list(spec)
    for key in top:
        assert kept[key] == old.spec[key]
    for key in process:
        assert kept["process"][key] == old.spec["process"][key]
    for key in linux:
        assert kept["linux"][key] == old.spec["linux"][key]
    assert old.spec["mounts"][0] in kept["mounts"]
    assert kept["process"]["env"][: len(env)] == [
        {"GPU": "GPU=0", "ACME": "ACME=yes"}.get(entry.partition("=")[0], entry) if "=" in entry else entry
        for entry in old.spec["process"]["env"]
    ]  # fmt: skip
    assert planned(box, new).spec == new.spec, "a second time changes nothing"


def planned(box: Box, bundle: Bundle, **values: Any) -> plan.Plan:
    """What create decides, in this process."""
    chosen = {"cdi.spec_dirs": [str(box.spec_dir)], **values}
    made = config.Config({**defaults.DEFAULTS, **chosen}, "/c.toml", Cache(str(box.cache)))
    return plan.plan(bundle, made, str(box.runtime), str(box.bin / "pyshim-hook"))


NOTHING_TO_DO = [
    pytest.param({}, id="no annotations"),
    pytest.param({"annotations": {"a": "b"}}, id="other annotations"),
    pytest.param({"annotations": {}, "hooks": {}}, id="empty"),
    pytest.param({"annotations": None, "hooks": None}, id="null"),
    pytest.param({"hooks": {"createContainer": [], "prestart": None}}, id="empty lists of hooks"),
    pytest.param(
        {"annotations": {**ASK, "io.kubernetes.cri.container-type": "sandbox"}}, id="sandbox"
    ),
    pytest.param(
        {"hooks": {"poststop": [{"path": "/x", "env": ["A=1"]}]}}, id="a hook with an environment"
    ),
    pytest.param({"root": None}, id="no root, no hooks"),
    pytest.param({"mounts": "?", "process": 3, "linux": []}, id="odd types nobody needs to read"),
]


@pytest.mark.parametrize("members", NOTHING_TO_DO)
def test_nothing_to_do_is_not_rewritten(box: Box, members: dict[str, Any]) -> None:
    path = box.bundle(oci(**members)) / "config.json"
    path.write_text(json.dumps(oci(**members), indent=3))
    before = identity(path.stat()), path.read_bytes()
    create(box)
    assert (identity(path.stat()), path.read_bytes()) == before
    assert sorted(os.listdir(path.parent)) == ["config.json", "rootfs"]


VENDOR = {"path": "/bin/true", "args": ["true", "engine"]}
LINKS = {
    "path": "/x/nvidia-cdi-hook",
    "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "e::/f"],
}
PARAMS = {
    "path": "/x/nvidia-cdi-hook",
    "args": ["nvidia-cdi-hook", "disable-device-node-modification"],
}

TWICE = [
    pytest.param({"annotations": ASK}, {}, id="one device"),
    pytest.param({"annotations": BOTH}, {}, id="two devices of one spec"),
    pytest.param({"annotations": {"cdi.k8s.io/x": "acme.com/gpu=0,acme.com/gpu=0"}}, {},
        id="one device twice"),
    pytest.param({"annotations": {**ASK, "cdi.k8s.io/y": "acme.com/gpu=0"}}, {},
        id="one device in two annotations"),
    pytest.param({"annotations": ASK}, {"hooks.native": False}, id="not native"),
    pytest.param({"annotations": ASK, "root": {"path": "rootfs", "readonly": True}}, {},
        id="read-only, skipped"),
    pytest.param({"annotations": ASK, "root": {"path": "rootfs", "readonly": True}},
        {"hooks.native": False}, id="read-only, skipped, not native"),
    pytest.param({"annotations": ASK, "root": {"path": "rootfs", "readonly": True},
        "hooks": {"createContainer": [PARAMS]}}, {}, id="read-only, one hook stays"),
    pytest.param({"annotations": ASK, "root": {"path": "rootfs", "readonly": True}},
        {"hooks.readonly_rootfs": "when-writable"}, id="read-only, run"),
    pytest.param({"annotations": ASK, "hooks": {"createContainer": [LINKS, VENDOR]}}, {},
        id="an engine's hooks before"),
    pytest.param(
        {"annotations": ASK, "hooks": {"createContainer": [VENDOR, LINKS, VENDOR, PARAMS]}}, {},
        id="an engine's hooks interleaved"),
    pytest.param({"annotations": ASK, "hooks": {"prestart": [VENDOR], "poststop": [VENDOR]}}, {},
        id="hooks of other kinds"),
    pytest.param({"hooks": {"createContainer": [VENDOR]}}, {}, id="only an engine's hook"),
    pytest.param({"hooks": {"createContainer": [LINKS, PARAMS, LINKS]}}, {}, id="only known hooks"),
    pytest.param({"annotations": ASK, "linux": {"namespaces": [{"type": "mount"}]}}, {},
        id="no resources"),
    pytest.param({"annotations": ASK, "linux": None, "mounts": None, "hooks": None}, {},
        id="null sections"),
    pytest.param({"annotations": ASK}, {"hooks.timeout": 77}, id="another timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "values"), TWICE)
def test_twice_is_once(box: Box, members: dict[str, Any], values: dict[str, Any]) -> None:
    box.settings(values)
    for program in ("nvidia-cdi-hook", "nvidia-ctk"):
        box.make_probe(program)
    box.add_spec("acme.json", json.dumps(ACME).replace("/usr/bin/nvidia", f"{box.folder}/nvidia"))
    path = box.bundle(oci(**members)) / "config.json"
    first = create(box)
    inode = path.stat().st_ino
    for _ in range(2):
        assert create(box) == first
        assert path.stat().st_ino == inode
    spec = json.loads(first)
    for hooks in (spec.get("hooks") or {}).values():
        texts = [json.dumps(hook) for hook in hooks or ()]
        own = [text for text in texts if "engine" not in text]
        assert len(set(own)) == len(own), "no hook is there twice"
    if "annotations" in members:
        env = spec["process"]["env"]
        assert len(set(env)) == len(env)
        assert sum(entry.startswith("GPU=") for entry in env) == 1
        assert [mount["destination"] for mount in spec["mounts"]].count("/opt/lib") == 1
        rules = [json.dumps(rule) for rule in spec["linux"]["resources"]["devices"]]
        assert len(set(rules)) == len(rules)
        assert len(spec["linux"]["devices"]) == 1


_HOOKS = [
    {
        "hookName": "createContainer",
        "path": "/x/nvidia-cdi-hook",
        "args": ["h", "create-symlinks", "--link", "a::/b"],
    },
    {"hookName": "createContainer", "path": "/bin/true", "args": ["true", "vendor"]},
    {
        "hookName": "createContainer",
        "path": "/x/nvidia-ctk",
        "args": ["h", "hook", "update-ldcache", "--folder", "/l"],
    },
    {
        "hookName": "createContainer",
        "path": "/x/nvidia-cdi-hook",
        "args": ["h", "disable-device-node-modification"],
    },
]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("readonly", [True, False])
def test_twice_is_once_in_every_order(box: Box, native: bool, readonly: bool) -> None:  # noqa: FBT001
    """Known hooks before and behind a vendor's, update-ldcache anywhere, some of them twice."""
    for program in ("nvidia-cdi-hook", "nvidia-ctk"):
        box.make_probe(program)
    for number, order in enumerate([*itertools.permutations(_HOOKS), (*_HOOKS, *_HOOKS[::-1])]):
        hooks = json.loads(json.dumps(order).replace("/x/", f"{box.folder}/"))
        box.add_spec("acme.json", {**ACME, "containerEdits": {"hooks": hooks}})
        spec = oci(annotations=BOTH, root={"path": "rootfs", "readonly": readonly})
        bundle = Bundle(str(box.bundle(spec, f"bundle{number}")))
        bundle.replace(planned(box, bundle, **{"hooks.native": native}).spec)
        again = Bundle(bundle.path)
        assert planned(box, again, **{"hooks.native": native}).spec == again.spec, order


@pytest.mark.parametrize("hooks", [None, {}, {"createContainer": []}, {"poststop": []}], ids=str)
def test_skipped_hooks_leave_no_trace(box: Box, hooks: Any) -> None:
    """An empty list is there afterwards only if it was there before."""
    box.add_spec("acme.json", {**ACME, "containerEdits": {"hooks": [_HOOKS[0], _HOOKS[2]]}})
    members = {} if hooks is None else {"hooks": hooks}
    spec = oci(annotations=ASK, root={"path": "rootfs", "readonly": True}, **members)
    made = planned(box, Bundle(str(box.bundle(spec))))
    assert len(made.warnings) == 1
    assert made.spec.get("hooks") == hooks


def by_engine(box: Box, spec: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """`spec` after the engine has injected these devices: the reference's algorithm."""
    found = registry.load([str(box.spec_dir)], None).resolve(names)
    merged = edits.merge(found)
    edited: dict[str, Any] = jsonio.copy(spec)
    oci_spec.apply(edited, edits.plan(edited, merged, hostdev.stat), once=False)
    return edited


@pytest.mark.parametrize("annotations", [ASK, BOTH], ids=["one device", "two devices"])
@pytest.mark.parametrize(
    "passed_on", [True, False], ids=["annotation passed on", "annotation dropped"]
)
def test_what_an_engine_has_injected(
    box: Box, annotations: dict[str, str], *, passed_on: bool
) -> None:
    """Only its hooks are taken over: known ones fused, the others given an environment."""
    asked = annotations if passed_on else {}
    engine = by_engine(box, oci(annotations=asked), annotations["cdi.k8s.io/x"].split(","))
    box.bundle(engine)
    made = json.loads(create(box))
    hooks = made.pop("hooks")
    raw = engine.pop("hooks")
    assert made == engine
    assert [hook["args"] for hook in raw["createContainer"]] == [
        hook["args"]
        for hook in ACME["containerEdits"]["hooks"]  # type: ignore[index]
    ]
    first, guarded, last = hooks["createContainer"]
    vendor = hookchanges.unguarded(guarded)
    assert [part.describe() for part in knownhooks.parse(first)] == ["create-symlinks --link a::/b"]
    assert [part.describe() for part in knownhooks.parse(last)] == [
        "update-ldcache --folder /opt/lib"
    ]
    assert vendor == {"path": "/bin/true", "args": ["true", "vendor"], "timeout": 10,
                      "env": list(knownhooks.MINIMAL_ENV)}  # fmt: skip
    assert list(hooks) == ["createContainer"]


def test_engine_or_pyshim_makes_no_difference(box: Box) -> None:
    spec = oci(annotations=BOTH)
    box.bundle(spec, "ours")
    box.bundle(by_engine(box, spec, BOTH["cdi.k8s.io/x"].split(",")), "theirs")
    ours, theirs = create(box, "ours"), create(box, "theirs")
    assert (
        ours.replace(b"/ours/", b"/B/").split(b"--rootfs-id")[0]
        == theirs.replace(b"/theirs/", b"/B/").split(b"--rootfs-id")[0]
    )


ENVIRONMENTS = [
    pytest.param({}, list(knownhooks.MINIMAL_ENV), id="absent"),
    pytest.param({"env": None}, list(knownhooks.MINIMAL_ENV), id="null"),
    pytest.param({"env": []}, list(knownhooks.MINIMAL_ENV), id="empty"),
    pytest.param({"env": ["A=1"]}, ["A=1"], id="its own"),
]


@pytest.mark.parametrize(("before", "after"), ENVIRONMENTS)
@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
@pytest.mark.parametrize("annotations", [{}, ASK], ids=["no device", "with a device"])
def test_no_hook_without_an_environment(
    box: Box, kind: str, before: dict[str, Any], after: list[str], annotations: dict[str, str]
) -> None:
    """CVE-2025-23266: runc before 1.3 gives such a hook the image's environment, as host root."""
    foreign = {"path": "/no/such/hook", "args": ["hook"], **before}
    spec = oci(annotations=annotations, hooks={kind: [foreign, {**foreign, "args": ["two"]}]})
    made = planned(box, Bundle(str(box.bundle(spec)))).spec["hooks"]
    made = {name: [hookchanges.unguarded(hook) for hook in found] for name, found in made.items()}
    assert [hook["env"] for hook in made[kind][:2]] == [after, after]
    assert [hook["path"] for hook in made[kind][:2]] == ["/no/such/hook"] * 2
    assert all(hook["env"] for hook in made[kind])


@pytest.mark.parametrize("env", [{}, {"env": None}, {"env": []}, {"env": ["A=1"]}])
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_the_other_stages_keep_their_environment(box: Box, kind: str, env: dict[str, Any]) -> None:
    """They run outside of the container, with the runtime's: HOME, XDG_RUNTIME_DIR."""
    foreign = {"path": "/no/such/hook", "args": ["hook"], **env}
    spec = oci(hooks={kind: [foreign]})
    assert planned(box, Bundle(str(box.bundle(spec)))).spec["hooks"][kind] == [foreign]


def test_a_hook_that_is_no_object(box: Box) -> None:
    """A runtime would run the ones before it first, with the image's environment."""
    box.bundle(oci(hooks={"createContainer": [VENDOR, None]}))
    done = box.call("create", "-b", "bundle", "c")
    assert (done.status, done.seen) == (1, None)
    assert done.err == (
        f"pyshim: {box.folder}/bundle/config.json: expected object, found null in 'hooks.createContainer[1]' "
        "(the engine and its plugins write this file: look there)\n"
    )


@pytest.mark.parametrize(("command", "executor", "warns"), [
    ("restore", "auto", True), ("restore", "shim", False), ("create", "auto", False),
])  # fmt: skip
def test_restore_onto_another_rootfs_is_told(
    box: Box, command: str, executor: str, *, warns: bool
) -> None:
    """Runc 5296: runtimes run no createContainer hooks there; ours run."""
    link = {"path": "/x/nvidia-cdi-hook", "args": ["h", "create-symlinks", "--link", "a::/made"]}
    box.bundle(oci(hooks={"createContainer": [link]}))
    box.settings({"hooks.executor": executor, "log.level": "warning"})
    assert box.call(command, "--bundle", "bundle", "c").status == 0
    told = box.log.read_text() if box.log.exists() else ""
    assert told.count("restore runs no createContainer hooks") == warns
    assert (box.folder / "bundle/rootfs/made").is_symlink() == (executor == "shim")


def test_run_and_restore_are_edited_like_create(box: Box) -> None:
    texts = set()
    for command in ("create", "run", "restore"):
        path = box.bundle(oci(annotations=ASK)) / "config.json"
        assert box.call(command, "--bundle", "bundle", "c").status == 0
        texts.add(path.read_bytes())
    assert len(texts) == 1
    assert b"GPU=0" in texts.pop()


@pytest.mark.parametrize(
    "how", ["relative", "absolute", "link", "dots through a link", "working directory"]
)
def test_the_bundle_is_found_where_the_kernel_finds_it(box: Box, how: str) -> None:
    """And its rootfs relative to where it really lies."""
    real = box.bundle(oci(annotations=ASK, root={"path": "../root of c"}), "real/deep/bundle")
    (real.parent / "root of c").mkdir()
    (box.folder / "link").symlink_to(real)
    (box.folder / "near").symlink_to(real.parent / "root of c")
    args, cwd = {
        "relative": (["-b", "real/deep/bundle"], None),
        "absolute": (["-b", str(real)], None),
        "link": (["-b", "link"], None),
        "dots through a link": (["--bundle=near/../bundle"], None),
        "working directory": ([], real),
    }[how]
    done = box.call("create", *args, "c", cwd=cwd)
    assert done.status == 0, done
    made = json.loads((real / "config.json").read_text())
    args = made["hooks"]["createContainer"][0]["args"]
    assert args[args.index("--rootfs") + 1] == str(real.parent / "root of c")


def test_the_callers_idea_of_the_working_directory_does_not_count(box: Box) -> None:
    """PWD is the caller's, and names the folder from which it started an engine."""
    here, there = (
        box.bundle(oci(annotations=ASK), "here/b"),
        box.bundle(oci(annotations=ASK), "there/b"),
    )
    script = f"import os; from ocishim.create.entry import main; main({str(box.pyshim)!r}, "
    for args in (["create", "--bundle", "b", "c"], ["create", "-b", "../b", "c"]):
        cwd = here.parent if "b" in args else here
        environment = {**box.environment(), "PWD": str(there.parent if "b" in args else there)}
        before = there.joinpath("config.json").read_bytes()
        done = box.start(sys.executable, "-c", f"{script}{args!r})", env=environment, cwd=cwd)
        assert done.status == 0, done
        assert there.joinpath("config.json").read_bytes() == before
        assert b"GPU=0" in here.joinpath("config.json").read_bytes()


STALE = {
    **ACME,
    "containerEdits": {
        "mounts": [{"hostPath": "/gone/lib.so.1", "containerPath": "/x", "options": ["bind"]}]
    },
}


@pytest.mark.parametrize(("setting", "warnings"), [("warn", 1), ("ignore", 0)])
def test_a_stale_spec_starts_all_the_same(box: Box, setting: str, warnings: int) -> None:
    """As the reference has it; "auto" and "error" are rows of test_errors.py."""
    box.add_spec("acme.json", STALE)
    box.settings({"cdi.stale": setting, "log.level": "warning"})
    box.bundle(oci(annotations=ASK))
    assert b"/gone/lib.so.1" in create(box)
    told = box.log.read_text().splitlines() if box.log.exists() else []
    assert [line.split(" ", 1)[1] for line in told] == warnings * [
        (
            f"warning container c: {box.spec_dir}/acme.json is stale: mount source /gone/lib.so.1 is gone "
            "('containerEdits.mounts[0].hostPath'); likely the driver was upgraded or removed: generate the spec again"
        )
    ]


def test_another_config_file(box: Box) -> None:
    """What crun reads with --config is what is edited."""
    box.bundle(oci(annotations=ASK))
    other = box.folder / "other.json"
    other.write_text(json.dumps(oci(annotations=ASK)))
    before = (box.folder / "bundle/config.json").read_bytes()
    assert box.call("create", "--bundle", "bundle", "--config", "other.json", "c").status == 0
    assert (box.folder / "bundle/config.json").read_bytes() == before
    assert b"GPU=0" in other.read_bytes()


def test_a_failure_leaves_the_bundle(box: Box) -> None:
    """And the low-level runtime does not run."""
    path = box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=7"})) / "config.json"
    before = (identity(path.stat()), path.read_bytes(), sorted(os.listdir(path.parent)))
    done = box.call("create", "-b", "bundle", "c")
    assert (done.status, done.seen) == (1, None)
    assert (identity(path.stat()), path.read_bytes(), sorted(os.listdir(path.parent))) == before


# --- killed at any moment ---------------------------------------------------------------------

_MEMORY = {"mmap", "munmap", "mprotect", "brk"}


def system_calls(box: Box) -> list[tuple[str, int]]:
    """The system calls of one create from the first look at its bundle on: (name, its number)."""
    trace = box.folder / "trace"
    subprocess.run(
        [need("strace"), "-f", "-qq", "-o", str(trace), str(box.pyshim), "create", "-b", "bundle", "c"],
        env=box.environment(), cwd=box.folder, check=True, capture_output=True,
    )  # fmt: skip
    counts: dict[str, int] = {}
    found = []
    seen = False
    main = ""
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        name = call.strip().partition("(")[0]
        main = main or pid
        if pid != main or not name.isidentifier():
            continue
        counts[name] = counts.get(name, 0) + 1
        seen = seen or "bundle/config.json" in call
        if seen and name not in _MEMORY:
            # strace does not count the execve that starts the program.
            found.append((name, counts[name] - (name == "execve")))
        if seen and name == "execve":
            break
    return found


def test_killed_between_any_two_system_calls(box: Box) -> None:
    """The file is the old one or the new one, and the next create works."""
    old = json.dumps(oci(annotations=ASK)).encode()
    path = box.bundle(old) / "config.json"
    new = create(box)
    assert new != old
    path.write_bytes(old)
    calls = system_calls(box)
    names = [name for name, _ in calls]
    assert {"rename", "write", "fchmod", "read"} <= set(names)
    # What happens before the scratch file is opened only reads; every third of those will do.
    start = len(names) - 1 - names[::-1].index("fchmod") - 12
    outcomes = set()
    for name, number in calls[:start:3] + calls[start:]:
        path.write_bytes(old)
        status = _kill_at(box, name, number)
        assert status == -signal.SIGKILL, (name, number, status)
        found = path.read_bytes()
        assert found in (old, new), (name, number)
        leftovers = len(os.listdir(path.parent)) > 2
        outcomes.add((found == new, leftovers))
        if leftovers or found == new:
            assert create(box) == new, (name, number)
            assert sorted(os.listdir(path.parent)) == ["config.json", "rootfs"]
    assert outcomes >= {(False, False), (False, True), (True, False)}


def _kill_at(box: Box, name: str, number: int) -> int:
    # Injected on entry: the call itself does not happen. strace ends as its child did.
    done = subprocess.run(
        [need("strace"), "-qq", "-o", "/dev/null", "-e", f"trace={name}",
         "-e", f"inject={name}:signal=KILL:when={number}",
         str(box.pyshim), "create", "-b", "bundle", "c"],
        env=box.environment(), cwd=box.folder, check=False, capture_output=True, timeout=300,
    )  # fmt: skip
    return done.returncode


@pytest.mark.root
def test_no_room_for_the_new_file(box: Box) -> None:
    """A full disk: an error that says so, the old file whole, nothing left."""
    old = json.dumps(oci(annotations=ASK, pad="x" * 4000)).encode()
    script = (
        'mount -t tmpfs -o size=16k tmpfs "$1" && mkdir "$1/rootfs" && cp config "$1/config.json" && '
        'head -c 8000 /dev/zero >"$1/zero"; "$2" create -b "$1" c; s=$?; cp "$1/config.json" after; '
        'ls -A "$1" >list; exit $s'
    )
    (box.folder / "config").write_bytes(old)
    (box.folder / "small").mkdir()
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", "small", str(box.pyshim)],
        env=box.environment(), cwd=box.folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "config.json: cannot be replaced: no space left on device" in done.stderr
    assert (box.folder / "after").read_bytes() == old
    assert (box.folder / "list").read_text().split() == ["config.json", "rootfs", "zero"]
