"""What becomes of one container's hooks: skipped, fused, taken, by whom run; and what is said."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ocishim import jsonio
from ocishim.cache import Cache
from ocishim.errors import DocumentError, HookError
from ocishim.hookplan import hookplan, knownhooks
from ocishim.hookplan import lost as lost_links
from ocishim.lowlevel import lowlevel
from ocishim.oci import hookchanges
from ocishim.oci import spec as oci_spec
from ocishim.oci.hooktable import GUARD
from ocishim.settings import config, defaults
from tests import isolated

RUNC, CRUN, RUNSC = "runc version 1.1.5", "crun version 1.8.1", "runsc version 0.0~20240729.0"
NEW_RUNSC = "runsc version release-20260817.0"


def known(line: str, **more: Any) -> Any:
    return {
        "path": "/x/nvidia-cdi-hook",
        "args": ["nvidia-cdi-hook", *line.split()],
        "env": ["A=1"],
        **more,
    }


def vendor(name: str, **more: Any) -> Any:
    return {"path": f"/opt/{name}", "args": [name], "env": ["A=1"], **more}


LINKS, CACHE = known("create-symlinks --link a::/b"), known("update-ldcache --folder /l")
PARAMS, OTHER = known("disable-device-node-modification"), vendor("other")
PROFILE = known("update-application-profile")
OLDER = known("create-symlinks --csv-filename /f")


@pytest.fixture(name="bundle")
def _bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    program = tmp_path / "bin/pyshim-hook"
    program.parent.mkdir()
    program.touch(0o755)
    return tmp_path


def decide(
    bundle: Path,
    hooks: list[dict[str, Any]],
    version: str = RUNC,
    *,
    readonly: bool = False,
    injected: dict[str, str] | None = None,
    lists: dict[str, Any] | None = None,
    guards: bool = False,
    annotations: dict[str, str] | None = None,
    **values: Any,
) -> tuple[list[Any], hookplan.HookPlan, dict[str, Any]]:
    """The createContainer hooks that remain, in short; the plan; and the spec.

    guards: with those around vendors' hooks.
    """
    chosen = {key.replace("__", "."): value for key, value in values.items()}
    made = config.Config({**defaults.DEFAULTS, **chosen}, "/c.toml", Cache("/dev/null/nowhere"))
    spec = {"root": {"path": "rootfs", "readonly": readonly},
            "hooks": {"createContainer": [dict(hook) for hook in hooks], **(lists or {})},
            "annotations": annotations or {}}  # fmt: skip
    oci_spec.apply(spec, hookplan.harden(spec, made))
    program = str(bundle / "bin/pyshim-hook")
    planner = hookplan.Planner(made, str(bundle), program, lowlevel.parse_version(version))
    plan = planner.decide(spec, injected or {})
    oci_spec.apply(spec, plan.changes)
    if not guards:
        found = hookchanges.lists(spec).items()
        spec["hooks"] |= {
            name: [hookchanges.unguarded(hook) for hook in each] for name, each in found
        }
    return short(spec["hooks"].get("createContainer", [])), plan, spec


def short(hooks: list[Any]) -> list[Any]:
    """A chain as the list of its hooks' names, another hook as its program's name."""
    return [
        [part.name for part in knownhooks.parse(hook)]
        if hook["path"].endswith("pyshim-hook")
        else hook["args"][0]
        for hook in hooks
    ]


PLANS = [
    pytest.param([], {}, [], "runtime", 0, id="no hooks"),
    pytest.param([OTHER], {}, ["other"], "runtime", 0, id="a vendor's alone"),
    pytest.param([LINKS, OLDER], {}, [["create-symlinks"], "nvidia-cdi-hook"], "runtime", 0,
        id="a flag that is not known: a vendor's"),
    pytest.param([LINKS, CACHE], {}, [["create-symlinks", "update-ldcache"]], "runtime", 0,
        id="known ones are fused"),
    pytest.param([LINKS, OTHER, CACHE], {}, [["create-symlinks"], "other", ["update-ldcache"]],
        "runtime", 0, id="the order stays"),
    pytest.param([LINKS, CACHE], {"hooks__native": False}, ["nvidia-cdi-hook"] * 2, "runtime", 0,
        id="not native"),
    pytest.param([LINKS, CACHE], {"readonly": True}, [], "runtime", 1, id="read-only: skipped"),
    pytest.param([LINKS, OTHER], {"readonly": True}, ["other"], "runtime", 1,
        id="read-only: a vendor's stays"),
    pytest.param([LINKS, PARAMS], {"readonly": True}, [["disable-device-node-modification"]],
        "runtime", 1, id="read-only: what only mounts stays"),
    pytest.param([OTHER, PARAMS], {"readonly": True},
        ["other", ["disable-device-node-modification"]], "runtime", 0,
        id="read-only: nothing writes"),
    pytest.param([LINKS], {"readonly": True, "hooks__native": False}, [], "runtime", 1,
        id="read-only, not native: skipped"),
    pytest.param([LINKS], {"readonly": True, "hooks__readonly_rootfs": "when-writable"},
        [["create-symlinks"]], "runtime", 0, id="when-writable: run"),
    pytest.param([LINKS], {"readonly": True, "hooks__readonly_rootfs": "overlay"},
        [["create-symlinks"]], "runtime", 0, id="overlay: run"),
    pytest.param([LINKS], {"version": CRUN}, [["create-symlinks"]], "runtime", 0, id="old crun"),
    pytest.param([LINKS],
        {"version": CRUN, "readonly": True, "hooks__readonly_rootfs": "when-writable"}, [], "shim",
        0, id="old crun, read-only: taken"),
    pytest.param([LINKS, OTHER], {"version": RUNSC}, [], "shim", 0,
        id="old runsc: taken, a vendor's too"),
    pytest.param([LINKS, PARAMS], {"version": RUNSC}, [], "shim", 0,
        id="old runsc: what only mounts goes"),
    pytest.param([LINKS, PARAMS], {"hooks__executor": "shim"},
        [["disable-device-node-modification"]], "shim", 0, id="taken: what only mounts stays"),
    pytest.param([LINKS, CACHE], {"version": NEW_RUNSC}, [["create-symlinks", "update-ldcache"]],
        "runtime", 0, id="new runsc"),
    pytest.param([LINKS, PROFILE], {"version": NEW_RUNSC}, [], "shim", 0,
        id="new runsc: one looks for device nodes"),
    pytest.param([LINKS], {"version": RUNSC, "hooks__executor": "runtime"}, [["create-symlinks"]],
        "runtime", 0, id="runtime by setting"),
]  # fmt: skip


@pytest.mark.parametrize(("hooks", "how", "left", "executor", "warnings"), PLANS)
def test_plan(  # noqa: PLR0917
    bundle: Path,
    hooks: list[Any],
    how: dict[str, Any],
    left: list[Any],
    executor: str,
    warnings: int,
) -> None:
    found, plan, spec = decide(bundle, hooks, **how)
    assert found == left
    assert (plan.executor, len(plan.warnings)) == (executor, warnings)
    taken = spec["hooks"].get(hookchanges.TAKEN, [])
    assert (taken != []) == (executor == "shim")
    assert [name for name in short(plan.taken) if name] != [] or executor == "runtime"


@pytest.mark.parametrize(
    ("version", "mode", "users", "executor"),
    [
        pytest.param(CRUN, 0o700, True, "shim", id="crun"),
        pytest.param(CRUN, 0o711, True, "runtime", id="crun, open to others"),
        pytest.param(CRUN, 0o700, False, "runtime", id="crun, no user namespace"),
        pytest.param(RUNC, 0o700, True, "runtime", id="runc"),
    ],
)
def test_a_bundle_that_the_containers_root_may_not_enter(
    version: str,
    mode: int,
    users: bool,  # noqa: FBT001
    executor: str,
) -> None:
    """Crun enters it before it runs a hook: rootless Podman's --userns=auto, nomap, --uidmap."""
    namespaces = [{"type": "user"}] if users else []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        bundle = Path(folder, "above", "bundle")
        (bundle / "rootfs").mkdir(parents=True)
        bundle.parent.chmod(mode)
        made = config.Config(defaults.DEFAULTS, "/c.toml", Cache("/dev/null/nowhere"))
        planner = hookplan.Planner(made, str(bundle), "/bin/sh", lowlevel.parse_version(version))
        spec = {"root": {"path": "rootfs"}, "linux": {"namespaces": namespaces},
                "hooks": {"createContainer": [OTHER]}}  # fmt: skip
        plan = planner.decide(spec, {})
    assert plan.executor == executor
    told = f"fails where the container's root may not enter {bundle.parent}" in plan.sentences[0]
    assert told is (executor == "shim")


def test_what_was_taken_is_decided_afresh(bundle: Path) -> None:
    """Another create, perhaps on another runtime, starts from the same hooks."""
    _, _, spec = decide(bundle, [LINKS, OTHER, PARAMS], RUNSC)
    oci_spec.apply(spec, hookplan.restore(spec))
    assert short(spec["hooks"]["createContainer"]) == [
        ["create-symlinks"],
        "other",
        ["disable-device-node-modification"],
    ]
    assert hookchanges.TAKEN not in spec["hooks"]


def test_the_chain(bundle: Path) -> None:
    """Everything the hook needs is in its arguments: it reads neither state nor config.json."""
    _, _, spec = decide(
        bundle,
        [LINKS, known("update-ldcache", timeout=33)],
        log__file="/var/log/p",
        log__level="debug",
    )
    rootfs = bundle / "rootfs"
    status = rootfs.stat()
    assert spec["hooks"]["createContainer"] == [{
        "path": str(bundle / "bin/pyshim-hook"),
        "args": ["pyshim-hook", "chain", "--rootfs", str(rootfs),
                 "--rootfs-id", f"{status.st_dev}:{status.st_ino}", "--timeout", "33",
                 "--log", "/var/log/p", "--log-level", "debug",
                 "create-symlinks", "--link", "a::/b", "--next", "update-ldcache"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "timeout": 33,
    }]  # fmt: skip


@pytest.mark.parametrize(("native", "hook", "expected"), [
    pytest.param(True, vendor("v"), 10, id="none: the configured one"),
    pytest.param(True, vendor("v", timeout=None), 10, id="null: the configured one"),
    pytest.param(True, vendor("v", timeout=3), 3, id="its own"),
    pytest.param(True, vendor("v", timeout=0), 0, id="its own, however odd"),
    pytest.param(False, LINKS, 10, id="a known one that keeps its program"),
    pytest.param(True, known("chmod --mode 1", timeout=60), 60, id="a chain has its longest"),
    pytest.param(True, known("chmod --mode 1", timeout="x"), 10, id="a chain of none that counts"),
])  # fmt: skip
def test_timeout(bundle: Path, native: bool, hook: dict[str, Any], expected: int) -> None:  # noqa: FBT001
    _, _, spec = decide(bundle, [hook], hooks__native=native)
    assert [hook["timeout"] for hook in spec["hooks"]["createContainer"]] == [expected]


@pytest.mark.parametrize(("stage", "env"), [
    pytest.param("prestart", {}, id="prestart"),
    pytest.param("createRuntime", {}, id="createRuntime"),
    pytest.param("startContainer", {"env": list(knownhooks.MINIMAL_ENV)}, id="startContainer"),
    pytest.param("poststart", {}, id="poststart"),
    pytest.param("poststop", {}, id="poststop"),
])  # fmt: skip
def test_other_lists(bundle: Path, stage: str, env: dict[str, Any]) -> None:
    """No timeout; an environment only where the image's could come (CVE-2025-23266)."""
    _, _, spec = decide(bundle, [], lists={stage: [{"path": "/p"}]})
    assert spec["hooks"][stage] == [{"path": "/p", **env}]


def test_sentences(bundle: Path) -> None:
    _, plan, _ = decide(bundle, [LINKS, OTHER])
    assert plan.sentences == [
        "createContainer hooks run by the runtime: runc 1.1.5 runs createContainer hooks",
        "hook create-symlinks --link a::/b", "hook /opt/other keeps its program",
        "createContainer hook /opt/other is run by pyshim-hook, which ends it after 10 s",
    ]  # fmt: skip


def test_warning_for_root_readonly(bundle: Path) -> None:
    _, plan, _ = decide(bundle, [LINKS, CACHE, LINKS], readonly=True)
    assert plan.warnings == [
        (
            "CDI hooks skipped, links and library cache are missing: create-symlinks, update-ldcache: "
            "root.readonly is true in config.json; "
            'hooks.readonly_rootfs = "when-writable" or "overlay" in /c.toml runs them'
        )
    ]


@pytest.mark.root
@pytest.mark.parametrize("setting", ["skip", "when-writable", "overlay"])
@pytest.mark.parametrize("readonly", [True, False])
def test_a_file_system_that_cannot_be_written(bundle: Path, setting: str, readonly: bool) -> None:  # noqa: FBT001
    def child() -> None:
        from ocishim.linux import const, syscalls  # noqa: PLC0415

        rootfs = str(bundle / "rootfs")
        syscalls.mount("tmpfs", rootfs, "tmpfs", const.MS_RDONLY, "size=64k")
        left, plan, _ = decide(
            bundle, [LINKS, OTHER], readonly=readonly, hooks__readonly_rootfs=setting
        )
        if setting == "overlay":
            assert (left, plan.layer, plan.warnings) == ([["create-symlinks"], "other"], True, [])
            return
        assert left == ["other"]
        assert plan.warnings == [
            (
                "CDI hooks skipped, links and library cache are missing: create-symlinks: "
                f"the file system under {rootfs} is read-only; "
                'hooks.readonly_rootfs = "overlay" in /c.toml runs them'
            )
        ]

    isolated.run(child)


PROGRAMS = [
    pytest.param("missing",
        "/s.json: createContainer hook {}/p: the program does not exist (install it, or generate "
        "the CDI spec again)", id="missing"),
    pytest.param("not executable",
        "/s.json: createContainer hook {}/p: the program is not an executable file (install it, or "
        "generate the CDI spec again)", id="not executable"),
    pytest.param("folder",
        "/s.json: createContainer hook {}/p: the program is not an executable file (install it, or "
        "generate the CDI spec again)", id="a folder"),
    pytest.param("dangling",
        "/s.json: createContainer hook {}/p: the program does not exist (install it, or generate "
        "the CDI spec again)", id="a dangling link"),
    pytest.param("there", None, id="there"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message"), PROGRAMS)
def test_an_injected_hooks_program(bundle: Path, kind: str, message: str | None) -> None:
    path = bundle / "p"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind != "missing":
        path.touch(0o755 if kind == "there" else 0o644)
    hook = {"path": str(path), "args": ["p"], "env": ["A=1"]}
    if message is None:
        decide(bundle, [hook], injected={str(path): "/s.json"})
        return
    with pytest.raises(HookError) as caught:
        decide(bundle, [hook], injected={str(path): "/s.json"})
    assert str(caught.value) == message.replace("{}", str(bundle))
    decide(bundle, [hook])  # an engine's own hook is the runtime's business


@pytest.mark.parametrize("path", ["p", "./p", "/p\0q"])
def test_an_injected_hooks_path(bundle: Path, path: str) -> None:
    with pytest.raises(HookError, match="the path is not absolute"):
        decide(bundle, [{"path": path, "env": ["A=1"]}], injected={path: "/s.json"})


@pytest.mark.parametrize("name", ["startContainer", "poststart", "poststop"])
def test_programs_of_later_hooks_are_not_looked_for(bundle: Path, name: str) -> None:
    """A startContainer hook lies in the container, the others may be there by then."""
    decide(bundle, [], lists={name: [{"path": "/no/such"}]}, injected={"/no/such": "/s.json"})


def test_our_own_program_is_missing(bundle: Path) -> None:
    os.unlink(bundle / "bin/pyshim-hook")
    with pytest.raises(
        HookError, match=r"pyshim-hook: the program does not exist \(install pyshim again\)$"
    ):
        decide(bundle, [LINKS])


@pytest.mark.parametrize(
    "namespaces", [[], [{"type": "user"}], [{"type": "user", "path": "/p"}]], ids=str
)
def test_a_mapped_root_must_reach_our_program(
    tmp_path: Path, namespaces: list[dict[str, str]]
) -> None:
    """In a user namespace the container's root is nobody special on the host."""
    (tmp_path / "rootfs").mkdir()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "pyshim-hook"
    program.touch(0o755)
    made = config.Config(defaults.DEFAULTS, "/c.toml", Cache("/dev/null/nowhere"))
    planner = hookplan.Planner(made, str(tmp_path), str(program), lowlevel.parse_version(RUNC))
    spec = {
        "root": {"path": "rootfs"},
        "hooks": {"createContainer": [dict(LINKS)]},
        "linux": {"namespaces": namespaces},
    }
    if not namespaces:
        planner.decide(spec, {})
        return
    with pytest.raises(HookError) as caught:
        planner.decide(spec, {})
    assert str(caught.value) == (
        f"the container has a user namespace, and {closed} keeps others out, so its root cannot run "
        f"{program} (install pyshim in a folder everybody can enter)"
    )


@pytest.mark.parametrize(("hooks", "found"), [
    pytest.param(None, [],
        id="null"),  pytest.param([], [], id="no object"), pytest.param("x", [], id="a string"),
    pytest.param({"prestart": None, "poststop": []}, [], id="empty"),
    pytest.param({"prestart": "x"}, [], id="a list that is none: the runtime's to refuse"),
    pytest.param({"future": [{"path": "/x"}], "poststop": [{"path": "/y"}]}, ["poststop"],
        id="an unknown list"),
])  # fmt: skip
def test_lists(hooks: object, found: list[str]) -> None:
    assert list(hookchanges.lists({"hooks": hooks})) == found


@pytest.mark.parametrize(("entry", "found"), [
    (None, "null"), (1, "integer"), ("x", "string"), ([], "array"), (True, "boolean"),
])  # fmt: skip
def test_an_entry_that_is_no_object(entry: object, found: str) -> None:
    with pytest.raises(DocumentError) as caught:
        hookchanges.lists({"hooks": {"poststop": [{"path": "/x"}, entry]}})
    assert (
        str(caught.value) == f"config.json: expected object, found {found} in 'hooks.poststop[1]'"
    )


TMPFS = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}


@pytest.mark.parametrize(
    ("line", "mounts", "lost"),
    [
        pytest.param("create-symlinks --link ../card0::/dev/dri/by-path/pci-1", [TMPFS],
                     {"/dev": ["/dev/dri/by-path/pci-1"]}, id="by-path"),
        pytest.param("create-symlinks --link=a::dev/l --link b::/usr/l", [TMPFS],
                     {"/dev": ["dev/l"]}, id="one of two"),
        pytest.param("create-symlinks --link a::/devices/l", [TMPFS], {}, id="not below it"),
        pytest.param("create-symlinks --link a::/dev/shm/x/l",
                     [TMPFS, {**TMPFS, "destination": "/dev/shm/"}], {"/dev/shm": ["/dev/shm/x/l"]},
                     id="the deepest"),
        pytest.param("create-symlinks --link a::/dev/l", [{**TMPFS, "options": ["rbind"]}], {},
                     id="a bind mount is another matter"),
        pytest.param("create-symlinks --link a::/dev/l", [5, {"destination": 5, "type": "x"}], {},
                     id="no mounts"),
        pytest.param("create-symlinks --link a::/dev/l", [{**TMPFS, "options": 5}],
                     {"/dev": ["/dev/l"]}, id="options that are none"),
        pytest.param("update-ldcache --folder /dev/lib", [TMPFS], {}, id="another hook"),
    ],
)  # fmt: skip
def test_links_that_the_containers_mounts_will_hide(
    line: str, mounts: list[Any], lost: dict[str, list[str]]
) -> None:
    spec, parts = {"mounts": mounts}, knownhooks.parse(known(line))
    assert lost_links.links(spec, [*parts, *knownhooks.parse(vendor("x"))]) == lost
    assert lost_links.warnings(spec, parts, "runsc") == [
        f"links below the container's own {place} are missing: {', '.join(links)}: pyshim runs the "
        "hooks before runsc mounts it"
        for place, links in lost.items()
    ]


def guards(spec: dict[str, Any], stage: str = "createContainer") -> list[str]:
    """The programs that a guard runs."""
    found = spec["hooks"].get(stage, [])
    return [hook["args"][-2] for hook in found if hook["args"][1:2] == [GUARD]]


@pytest.mark.parametrize(("hooks", "how", "guarded"), [
    pytest.param([OTHER], {}, ["/opt/other"], id="a vendor's"),
    pytest.param([LINKS, OTHER, CACHE], {}, ["/opt/other"], id="between known ones"),
    pytest.param([OLDER], {}, ["--csv-filename"], id="a known one with a flag that is not"),
    pytest.param([vendor("v", timeout=0)], {}, [], id="without a timeout that counts"),
    pytest.param([vendor("v", args=[7])], {}, [], id="arguments that are no text"),
    pytest.param([OTHER, LINKS], {"hooks__native": False}, [], id="not native"),
    pytest.param([OTHER], {"hooks__executor": "shim"}, [], id="run by pyshim itself"),
])  # fmt: skip
def test_which_are_guarded(
    bundle: Path, hooks: list[Any], how: dict[str, Any], guarded: list[str]
) -> None:
    assert guards(decide(bundle, hooks, guards=True, **how)[2]) == guarded


@pytest.mark.parametrize(("version", "waits"), [(RUNC, True), (RUNSC, True), (CRUN, False)])
@pytest.mark.parametrize("stage", ["prestart", "createRuntime"])
def test_what_is_not_taken_over_is_guarded_whatever_it_is(
    bundle: Path, version: str, stage: str, *, waits: bool
) -> None:
    """A known hook in another list is its vendor's program, whatever stands beside it."""
    plain, other = known("update-ldcache", timeout=3), vendor("other", timeout=3)
    for hooks, programs in (
        ([other, plain], ["/opt/other", "nvidia-cdi-hook"]),
        ([plain], ["nvidia-cdi-hook"]),
    ):
        _, _, spec = decide(bundle, [], version, guards=True, lists={stage: jsonio.copy(hooks)})
        assert guards(spec, stage) == (programs if waits else [])


@pytest.mark.parametrize(
    ("version", "length", "guarded"),
    [
        pytest.param(CRUN, 40_000, True, id="crun"),
        pytest.param("youki version: 0.7.0", 40_000, True, id="youki"),
        pytest.param(CRUN, 4_000, False, id="crun, a short one"),
        pytest.param(RUNC, 4_000, True, id="runc, for its outputs"),
    ],
)
def test_a_hook_may_leave_a_long_state_unread(
    bundle: Path, version: str, length: int, *, guarded: bool
) -> None:
    """Crun and youki write it without a timeout: what no pipe holds is read by a guard."""
    notes = {f"a.com/{number}": "x" * 1000 for number in range(length // 1000)}
    _, _, spec = decide(bundle, [OTHER], version, guards=True, annotations=notes)
    assert guards(spec) == ["/opt/other"] * guarded


def test_a_guard(bundle: Path) -> None:
    """It hands on what it is not asked to change, and another create finds the hook as it was."""
    hook = {"path": "/opt/other", "env": ["A=1"], "timeout": 3, "x": 1}
    left = {"createContainer": [hook, {**hook, "args": ["other", "--", "a"]}], "prestart": [hook]}
    _, _, spec = decide(bundle, [], guards=True, lists=jsonio.copy(left), log__file="/var/log/x")
    first, second = spec["hooks"]["createContainer"]
    options = ["--timeout", "3", "--log", "/var/log/x", "--log-level", "info", "--", "/opt/other"]
    words = ["pyshim-hook", GUARD, "--stage", "createContainer", *options]
    ours = {"path": str(bundle / "bin/pyshim-hook"), "timeout": 5, "env": ["A=1"], "x": 1}
    assert (first, second) == (
        {**ours, "args": words},
        {**ours, "args": [*words, "other", "--", "a"]},
    )
    assert spec["hooks"]["prestart"][0]["args"][3] == "prestart"
    assert not hookchanges.RestoreHooks().present(spec)
    oci_spec.apply(spec, [hookchanges.RestoreHooks()])
    assert spec["hooks"] == left
    assert hookchanges.RestoreHooks().present(spec)


@pytest.mark.parametrize("args", [
    None, [], ["pyshim-hook", "guard"], ["pyshim-hook", "guard", "--"], ["pyshim-hook", "guard", "--", "/x"],
    ["pyshim-hook", "guard", "--timeout", "x", "--", "/x"], ["other", "guard", "--timeout", "3", "--", "/x"],
])  # fmt: skip
def test_what_is_no_guard_of_ours_stays(args: object) -> None:
    hook: Any = {"path": "/opt/pyshim-hook", "args": args}
    assert hookchanges.unguarded(hook) is hook


def test_without_a_program_to_guard_with_hooks_run_as_ever(bundle: Path) -> None:
    (bundle / "bin/pyshim-hook").chmod(0o644)
    assert decide(bundle, [OTHER], guards=True)[2]["hooks"]["createContainer"] == [
        {**OTHER, "timeout": 10}
    ]
