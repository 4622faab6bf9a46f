"""Hooks: six kinds, and for each its order, namespace, state, arguments, environment and end."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from kit.case import SPEC, area, check, equal

if TYPE_CHECKING:
    from kit.lab import Bundle, Done, Lab

case = area("hooks")
CONFIG = SPEC + "config.md POSIX-platform Hooks"
LIFE = SPEC + "runtime.md Lifecycle"
AT_CREATE = ("prestart", "createRuntime", "createContainer")
AT_START = ("startContainer", "poststart")
KINDS = (*AT_CREATE, *AT_START, "poststop")
EACH = {kind: kind for kind in KINDS}
# Hooks before poststop; createContainer's files lie outside of the rootfs, before the pivot.
STATUS = {
    "prestart": "creating",
    "createRuntime": "creating",
    "createContainer": "creating",
    "startContainer": "created",
    "poststart": "running",
    "poststop": "stopped",
}


def hook(
    lab: Lab,
    kind: str,
    script: str,
    *,
    ignore: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Return a hook that runs the shell `script`: $B is busybox, $O a folder it can write to.

    It reads its state first, unless told to `ignore` it.
    """
    inside = kind == "startContainer"
    program, out = ("/bin/busybox", "/out") if inside else (lab.busybox, lab.out)
    # crun 1.8.1 fails if a hook ends before it has its state: stdin-unread asks for that alone.
    read = "" if "$B cat >" in script or ignore else "$B cat > /dev/null; "
    text = f"B={program}; O={out}; {read}{script}"
    return {"path": program, "args": ["sh", "-c", text], "env": ["A=1"], **more}


def life(lab: Lab, hooks: dict[str, Any], script: str = "true") -> tuple[Bundle, list[Done]]:
    """Lead a container with these hooks through its life; return what the commands gave."""
    bundle = prepare(lab, hooks, script)
    calls = [lab.create(bundle)]
    if calls[-1].status == 0:
        calls.append(lab.call("start", lab.id))
        if calls[-1].status == 0:
            lab.wait_for("stopped")
    calls.append(lab.call("delete", "--force", lab.id))
    return bundle, calls


def prepare(lab: Lab, hooks: dict[str, Any], script: str) -> Bundle:
    bundle = lab.bundle(script, hooks=hooks, annotations={"org.example.key": "value"})
    os.mkdir(f"{bundle.rootfs}/out")
    return bundle


def seen(lab: Lab, bundle: Bundle, kind: str, name: str) -> str:
    """Return what a hook wrote to $O/name."""
    folder = f"{bundle.rootfs}/out" if kind == "startContainer" else lab.out
    check(os.path.exists(f"{folder}/{name}"), f"the {kind} hook left no {name}: it did not run")
    return lab.read(f"{folder}/{name}")


def record(lab: Lab, kind: str, script: str, name: str = "seen", **more: Any) -> str:
    """Run one hook of this kind through a whole life; return what it wrote."""
    bundle, calls = life(lab, {kind: [hook(lab, kind, script, **more)]})
    check(all(call.status == 0 for call in calls), f"failed: {calls}")
    return seen(lab, bundle, kind, name)


@case("called", "The hooks MUST be invoked by the runtime.", LIFE, EACH)
def called(lab: Lab, kind: str) -> None:
    equal(record(lab, kind, "echo here >> $O/seen"), "here\n", "what the hook wrote, once")


@case("order", "Hooks MUST be called in the listed order.", CONFIG, EACH)
def order(lab: Lab, kind: str) -> None:
    hooks = [hook(lab, kind, f"echo {number} >> $O/seen") for number in range(4)]
    bundle, _ = life(lab, {kind: hooks})
    equal(seen(lab, bundle, kind, "seen").split(), ["0", "1", "2", "3"], "order")


@case(
    "order-of-kinds",
    "The `prestart` hooks MUST be called before the `createRuntime` hooks. "
    "The `createContainer` hooks MUST be called after the `createRuntime` hooks.",
    CONFIG,
)
def order_of_kinds(lab: Lab) -> None:
    outside = [kind for kind in KINDS if kind != "startContainer"]
    life(lab, {kind: [hook(lab, kind, f"echo {kind} >> $O/seen")] for kind in reversed(outside)})
    equal(lab.read(f"{lab.out}/seen").split(), outside, "order")


@case(
    "when",
    "as part of the `create` operation ... as part of the `start` operation ... after "
    "the container is deleted but before the `delete` operation returns",
    CONFIG,
    EACH,
)
def when(lab: Lab, kind: str) -> None:
    bundle = prepare(lab, {kind: [hook(lab, kind, "echo here > $O/seen")]}, "sleep 30")
    folder = f"{bundle.rootfs}/out" if kind == "startContainer" else lab.out
    ran = []
    for args in (["create", "--bundle", bundle.path], ["start"], ["delete", "--force"]):
        equal(lab.call(*args, lab.id).status, 0, f"{args[0]}'s exit status")
        ran.append(os.path.exists(f"{folder}/seen"))
    first = 0 if kind in AT_CREATE else 1 if kind in AT_START else 2
    equal(ran, [step >= first for step in range(3)], "ran after create, start, delete")


@case(
    "before-program",
    "startContainer hooks MUST be called before the user-specified process is "
    "executed as part of the `start` operation.",
    CONFIG,
)
def before_program(lab: Lab) -> None:
    item = hook(lab, "startContainer", "echo hook >> $O/seen")
    bundle, _ = life(lab, {"startContainer": [item]}, "echo program >> /out/seen")
    equal(lab.read(f"{bundle.rootfs}/out/seen").split(), ["hook", "program"], "order")


PROPERTIES = ("id", "bundle", "ociVersion", "annotations", "status")


@case(
    "state",
    "The state of the container MUST be passed to hooks over stdin",
    CONFIG,
    {f"{kind} {name}": (kind, name) for kind in KINDS for name in PROPERTIES},
)
def state(lab: Lab, what: tuple[str, str]) -> None:
    kind, name = what
    given = json.loads(record(lab, kind, "$B cat > $O/seen"))
    wanted = {
        "id": lab.id,
        "bundle": f"{lab.dir}/bundle",
        "annotations": "value",
        "status": STATUS[kind],
    }
    check(name in given, f"no {name} in {given}")
    value = given[name]
    if name == "ociVersion":
        check(isinstance(value, str) and value[:1] == "1", f"ociVersion {value!r}")
    else:
        value = value.get("org.example.key") if name == "annotations" else value
        equal(value, wanted[name], name)


@case(
    "state-ends",
    "passed over stdin: a hook that reads to the end is not kept waiting",
    CONFIG,
    EACH,
)
def state_ends(lab: Lab, kind: str) -> None:
    started = time.monotonic()
    text = record(lab, kind, "$B cat > $O/seen; $B cat >> $O/seen", timeout=20)
    json.loads(text)  # one document, nothing behind it
    check(time.monotonic() - started < 15, "it waited for more")


@case("stdin-unread", "passed to hooks over stdin: nothing obliges a hook to read it", CONFIG, EACH)
def stdin_unread(lab: Lab, kind: str) -> None:
    hooks = [hook(lab, kind, f"echo {n} >> $O/seen", ignore=True) for n in range(5)]
    bundle, calls = life(lab, {kind: hooks})
    check(all(call.status == 0 for call in calls), f"failed: {calls}")
    equal(seen(lab, bundle, kind, "seen").split(), ["0", "1", "2", "3", "4"], "hooks")


@case(
    "args",
    "args with the same semantics as IEEE Std 1003.1-2008 execv's argv",
    CONFIG,
    {
        f"{kind} {label}": (kind, text)
        for kind in KINDS
        for label, text in {"blanks": "a  b", "empty": "", "special": "$x '\"*\n\\"}.items()
    },
)
def args(lab: Lab, what: tuple[str, str]) -> None:
    kind, text = what
    item = hook(lab, kind, 'printf "%s|" "$@" > $O/seen')
    item["args"] += ["argv0", text, "last"]
    bundle, _ = life(lab, {kind: [item]})
    equal(seen(lab, bundle, kind, "seen"), f"{text}|last|", "arguments")


@case("env", "env with the same semantics as IEEE Std 1003.1-2008's environ", CONFIG, EACH)
def env(lab: Lab, kind: str) -> None:
    given = ["ONE=1", "EMPTY=", "SPACE=a b", "EQUALS=a=b"]
    # The shell's own, as it was given: /proc is the runtime's before the pivot.
    proc = f"{lab.dir}/bundle/rootfs/proc" if kind == "createContainer" else "/proc"
    text = record(lab, kind, f"$B cat {proc}/$$/environ > $O/seen; $B true", env=given)
    have = [item for item in text.split("\0") if item]
    equal(sorted(have), sorted(given), "environment")


@case(
    "env-guard",
    "a hook without env gets nothing of the container's environment",
    "CVE-2025-23266",
    {kind: kind for kind in KINDS if kind != "startContainer"},
)
def env_guard(lab: Lab, kind: str) -> None:
    item = hook(lab, kind, "$B cat /proc/self/environ > $O/seen")
    del item["env"]
    bundle = prepare(lab, {kind: [item]}, "true")
    spec = bundle.spec
    spec["process"]["env"].append("IMAGE_SAYS=LD_PRELOAD")
    bundle.write(spec)
    lab.creates(bundle)
    lab.starts()
    lab.wait_for("stopped")
    lab.call("delete", lab.id)
    check("IMAGE_SAYS" not in seen(lab, bundle, kind, "seen"), "the image's environment is there")


@case(
    "namespace",
    "The hooks MUST be executed in the runtime namespace / the container namespace.",
    CONFIG,
    EACH,
)
def namespace(lab: Lab, kind: str) -> None:
    found = record(lab, kind, "$B readlink /proc/self/ns/mnt > $O/seen")
    host = os.readlink("/proc/self/ns/mnt")
    container = kind in ("createContainer", "startContainer")
    equal(found.strip() != host, container, "it runs in another mount namespace than the runtime")


@case(
    "path",
    "The value of `path` MUST resolve in the runtime namespace / container namespace.",
    CONFIG,
    EACH,
)
def path(lab: Lab, kind: str) -> None:
    """A program that is there only on one side."""
    script = "#!/bin/sh\ncat > /dev/null\necho here > "
    bundle = prepare(lab, {kind: [{"path": "/run/only", "env": ["A=1"]}]}, "true")
    inside = kind == "startContainer"
    if inside:
        os.mkdir(f"{bundle.rootfs}/run")
    program = f"{bundle.rootfs}/run/only" if inside else "/run/only"
    with open(program, "w", encoding="utf-8") as file:
        file.write(script + ("/out/seen\n" if inside else f"{lab.out}/seen\n"))
    os.chmod(program, 0o755)
    lab.creates(bundle)
    lab.starts()
    lab.wait_for("stopped")
    equal(lab.call("delete", lab.id).status, 0, "delete's exit status")
    equal(seen(lab, bundle, kind, "seen"), "here\n", "what the hook wrote")


@case(
    "sees-mounts",
    "after the runtime environment has been created ... but before the "
    "`pivot_root` or any equivalent operation has been executed",
    CONFIG,
    {"bound file": "/bound", "rootfs": "/bin/busybox", "in order": "/etc/inner"},
)
def sees_mounts(lab: Lab, name: str) -> None:
    root = f"{lab.dir}/bundle/rootfs"
    script = f"$B test -e {root}{name} && $B cat {root}/bound > $O/seen"
    bundle = prepare(lab, {"createContainer": [hook(lab, "createContainer", script)]}, "true")
    with open(f"{lab.dir}/source", "w", encoding="utf-8") as file:
        file.write("from the host\n")
    os.mkdir(f"{lab.dir}/folder")
    open(f"{lab.dir}/folder/inner", "w").close()
    spec = bundle.spec
    for source, target in (("source", "/bound"), ("folder", "/etc")):
        spec["mounts"].append(
            {
                "source": f"{lab.dir}/{source}",
                "destination": target,
                "type": "bind",
                "options": ["bind", "ro"],
            }
        )
    bundle.write(spec)
    lab.creates(bundle)
    equal(seen(lab, bundle, "createContainer", "seen"), "from the host\n", "the bound file")


@case(
    "writes-rootfs",
    "before the `pivot_root`: what the hook writes to the rootfs is the container's",
    CONFIG,
    {"ordinary": False, "root.readonly": True},
)
def writes_rootfs(lab: Lab, readonly: bool) -> None:  # noqa: FBT001
    script = f"echo made > {lab.dir}/bundle/rootfs/made"
    bundle = lab.bundle(
        "cat /made",
        hooks={"createContainer": [hook(lab, "createContainer", script)]},
        readonly=readonly,
    )
    equal(lab.runs(bundle).out, "made\n", "what the container reads")


@case(
    "unknown-property",
    "MUST NOT generate an error if they encounter an unknown property",
    SPEC + "config.md Extensibility",
    {kind: kind for kind in KINDS},
)
def unknown_property(lab: Lab, kind: str) -> None:
    equal(record(lab, kind, "echo here > $O/seen", future={"a": [1]}), "here\n", "the hook")
