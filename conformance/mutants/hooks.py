"""Wrong with hooks: left out, in another order, with another environment, for another time."""

from __future__ import annotations

import os
from typing import Any

from mutants.call import Call, mutant

RUNTIME = ("prestart", "createRuntime")
CREATE = (*RUNTIME, "createContainer")


def _move(spec: dict[str, Any], kind: str, other: str) -> None:
    hooks = spec.get("hooks") or {}
    if kind in hooks:
        hooks[other] = [*hooks.get(other, []), *hooks.pop(kind)]


def _drop(call: Call, kind: str) -> None:
    call.edit(lambda spec: (spec.get("hooks") or {}).pop(kind, None))


def _wrap(hook: dict[str, Any], script: str) -> None:
    """Run a busybox hook by a shell: "$0" is busybox, "$@" its arguments with the applet."""
    args = hook.get("args") or [hook["path"]]
    hook["args"] = ["sh", "-c", script, hook["path"], *args]
    hook["path"] = "/bin/sh"


@mutant("hooks/called[poststart]", "cdi/hook[poststart]", seen=("cdi",))
def poststart_left_out(call: Call) -> None:
    _drop(call, "poststart")
    call.edit_edits(
        lambda edits: (
            edits.get("hooks", []).clear() if "'poststart'" in str(edits.get("hooks")) else None
        )
    )


@mutant("hooks/before-program")
def start_container_left_out(call: Call) -> None:
    _drop(call, "startContainer")


@mutant(
    "hooks/writes-rootfs[ordinary]",
    "cdi-hooks/application-profile[0]",
    "read-only/result[root.readonly link]",
    seen=("cdi-hooks", "read-only", "hostile"),
)
def create_container_left_out(call: Call) -> None:
    _drop(call, "createContainer")


@mutant("hooks/order[prestart]", "hooks/order[poststop]")
def order_reversed(call: Call) -> None:
    def change(spec: dict[str, Any]) -> None:
        for kind in (*RUNTIME, "poststop"):
            (spec.get("hooks") or {}).get(kind, []).reverse()

    call.edit(change)


@mutant("hooks/order-of-kinds")
def prestart_last(call: Call) -> None:
    call.edit(lambda spec: _move(spec, "prestart", "createRuntime"))


@mutant("hooks/when[poststop]")
def poststop_at_create(call: Call) -> None:
    call.edit(lambda spec: _move(spec, "poststop", "createRuntime"))


@mutant("hooks/namespace[createContainer]", "hooks/sees-mounts[bound file]")
def create_container_outside(call: Call) -> None:
    call.edit(lambda spec: _move(spec, "createContainer", "createRuntime"))


@mutant("hooks/state[createRuntime status]")
def state_is_running(call: Call) -> None:
    script = '/bin/sed s/creating/running/ | "$0" "$@"'
    call.edit_hooks(lambda _, hook: _wrap(hook, script), "createRuntime")


@mutant("hooks/state-ends[createRuntime]")
def state_has_no_end(call: Call) -> None:
    call.edit_hooks(
        lambda _, hook: _wrap(hook, '(/bin/cat; /bin/sleep 20) | "$0" "$@"'), "createRuntime"
    )


@mutant("hooks/args[createContainer empty]")
def empty_args_dropped(call: Call) -> None:
    call.edit_hooks(lambda _, hook: hook.update(args=[arg for arg in hook.get("args", []) if arg]))


@mutant("hooks/stdin-unread[createRuntime]")
def state_must_be_read(call: Call) -> None:
    def change(_: str, hook: dict[str, Any]) -> None:
        if "cat" not in str(hook.get("args")):
            hook["path"] = "/bin/false"

    call.edit_hooks(change, "createRuntime")


@mutant("hooks/env[createRuntime]")
def env_grows(call: Call) -> None:
    call.edit_hooks(lambda _, hook: hook.get("env", []).append("EXTRA=1"), "createRuntime")


@mutant("hooks/env-guard[prestart]")
def env_is_the_containers(call: Call) -> None:
    env = call.spec["process"]["env"] if call.creates else []
    call.edit_hooks(lambda _, hook: hook.setdefault("env", env), "prestart")


@mutant("hostile/environment[LD_PRELOAD]", "hooks/env-guard[createContainer]", seen=("hooks",))
def env_is_the_images(call: Call) -> None:
    env = call.spec["process"]["env"] if call.creates else []
    call.edit_hooks(lambda _, hook: hook.setdefault("env", env), "createContainer")


@mutant("hooks/path[createRuntime]", "hooks/missing[createRuntime]")
def path_by_name(call: Call) -> None:
    def change(spec: dict[str, Any]) -> None:
        hooks = spec.get("hooks") or {}
        hooks["createRuntime"] = [
            hook
            for hook in hooks.get("createRuntime", [])
            if os.path.exists("/bin/" + os.path.basename(hook["path"]))
        ]

    if call.creates and (call.spec.get("hooks") or {}).get("createRuntime"):
        call.edit(change)


@mutant("hooks/unknown-property[poststop]", "injection/unknown-survives[hook]", seen=("injection",))
def unknown_property_refused(call: Call) -> int | None:
    known = {"path", "args", "env", "timeout"}
    hooks = (call.spec.get("hooks") or {}).values() if call.creates else ()
    strange = any(set(hook) - known for list_ in hooks for hook in list_ if isinstance(hook, dict))
    return 1 if strange else None


@mutant("hooks/failure[createRuntime exit 1]", "hooks/failure-stops-the-rest[createRuntime]")
def failure_ignored(call: Call) -> None:
    call.edit_hooks(lambda _, hook: _wrap(hook, '"$0" "$@" || true'), "createRuntime")


@mutant("hooks/timeout[createRuntime]", "hooks/timeout-not-reached[createRuntime]")
def timeout_in_twentieths(call: Call) -> None:
    def change(_: str, hook: dict[str, Any]) -> None:
        if hook.get("timeout"):
            _wrap(hook, f'exec /usr/bin/timeout {hook["timeout"] / 20} "$0" "$@"')

    call.edit_hooks(change, "createRuntime")
