"""Decide what happens to the hooks of one container: hardened, skipped, fused, by whom run.

Works on the edited copy of the OCI spec and returns what it decided as sentences; nothing is run.
"""

from __future__ import annotations

from ocishim import posixos as os
from ocishim.errors import DocumentError, HookError
from ocishim.hookplan import knownhooks
from ocishim.lowlevel import quirks
from ocishim.oci import marks
from ocishim.oci import spec as oci_spec
from ocishim.rootfs import readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.lowlevel.lowlevel import Version
    from ocishim.settings.config import Config

TAKEN = "pyshimCreateContainer"
"""The property of `hooks` that remembers, for another create, what pyshim took and ran itself."""
_RUN_AT_CREATE = ("prestart", "createRuntime", "createContainer")
LISTS = (*_RUN_AT_CREATE, "startContainer", "poststart", "poststop")
_IN_THE_CONTAINER = ("createContainer", "startContainer")
"""Run by the container's first process, whose environment may be the image's (CVE-2025-23266)."""


class HookPlan:
    """executor: who runs createContainer hooks. taken: those pyshim is to run itself, in order.

    identity: st_dev and st_ino of the rootfs they are for.
    layer: True when they write to a private layer over the rootfs; stacked: when that has to be
    on the host, because gVisor opens the root of a pod's further containers at `start`.
    sentences: what was decided, for people. warnings: what the operator should know even when
    nothing fails.
    """

    __slots__ = ("executor", "identity", "layer", "sentences", "stacked", "taken", "warnings")

    def __init__(self) -> None:
        self.executor = quirks.RUNTIME
        self.identity: tuple[int, int] | None = None
        self.layer = False
        self.stacked = False
        self.taken: list[dict[str, Any]] = []
        self.sentences: list[str] = []
        self.warnings: list[str] = []


def lists(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the non-empty hook lists of `spec` by name.

    Raises DocumentError for a hook that is no object: a runtime would run those before it first.
    """
    hooks = spec.get("hooks")
    if not isinstance(hooks, dict):
        return {}
    found = {}
    for name in LISTS:
        entries = hooks.get(name)
        if not isinstance(entries, list) or not entries:
            continue
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise DocumentError(f"config.json: expected object in 'hooks.{name}[{index}]'")
        found[name] = entries
    return found


def harden(spec: dict[str, Any], config: Config) -> list[str]:
    """Give the hooks of `spec` what complete() says; return what was done, as sentences.

    Before anything is injected: what is compared with a hook that is there must look like it.
    """
    return [
        f"{name} hook {hook.get('path')} gets a minimal environment"
        for name, hooks in lists(spec).items()
        for hook in hooks
        if complete(name, hook, config)
    ]


def complete(name: str, hook: dict[str, Any], config: Config) -> bool:
    """Make one hook of the list `name` what it will be; True when its environment changed.

    A timeout only for createContainer hooks that keep their program: a chain has its own.
    """
    native = config.native and knownhooks.parse(hook)
    if name == "createContainer" and not native and hook.get("timeout") is None:
        hook["timeout"] = config.timeout
    return name in _IN_THE_CONTAINER and knownhooks.harden(hook)


def restore(spec: dict[str, Any]) -> None:
    """Give `spec` back the hooks an earlier create took, so that this one decides afresh."""
    hooks = spec.get("hooks")
    if not isinstance(hooks, dict) or not isinstance(hooks.get(TAKEN), list):
        return
    taken = hooks.pop(TAKEN)
    later = [hook for hook in hooks.get("createContainer") or () if hook not in taken]
    hooks["createContainer"] = taken + later


class Planner:
    """The facts one decision needs; `decide` edits the spec it is given."""

    __slots__ = ("bundle", "config", "hook_program", "version")

    def __init__(self, config: Config, bundle: str, hook_program: str, version: Version) -> None:
        self.config = config
        self.bundle = bundle
        self.hook_program = hook_program
        self.version = version

    def decide(self, spec: dict[str, Any], injected: dict[str, str]) -> HookPlan:
        """Edit the hooks of `spec`, which are hardened already.

        injected: programs of the hooks that were just injected, which must exist, and the CDI
        spec each comes from.
        Raises HookError before anything has run.
        """
        plan = HookPlan()
        hooks = lists(spec).get("createContainer", [])
        if hooks:
            plan.identity = readonly.identity(spec, self.bundle)
            kept = self._without_unwritable(spec, hooks, plan)
            spec["hooks"]["createContainer"] = self._taken_over(spec, kept, plan)
        self._check_programs(spec, injected)
        if plan.executor == quirks.SHIM:
            self._take(spec, plan)
        return plan

    def _without_unwritable(
        self, spec: dict[str, Any], hooks: list[dict[str, Any]], plan: HookPlan
    ) -> list[dict[str, Any]]:
        elsewhere = readonly.elsewhere(spec) if self.version.kind == "runsc" else ""
        reason = elsewhere or self._readonly_reason(spec)
        if reason and not elsewhere and self.config.readonly_rootfs == "overlay":
            if any(_writes(hook) or not knownhooks.parse(hook) for hook in hooks):
                plan.layer = True
                plan.stacked = self.version.kind == "runsc" and marks.in_pod(spec)
                plan.sentences.append(f"hooks write to a layer over the rootfs: {reason}")
            return hooks
        if not reason or not any(_writes(hook) for hook in hooks):
            return hooks
        kept: list[dict[str, Any]] = []
        skipped: list[str] = []
        for hook in hooks:
            parts = knownhooks.parse(hook)
            staying = [part for part in parts if not part.writes]
            skipped += [part.name for part in parts if part.writes]
            if len(staying) == len(parts):  # also of a hook nobody knows: none of none
                kept.append(hook)
            elif staying:
                kept.append(self._chain(spec, staying, knownhooks.timeout_of(hook, 0)))
        names = ", ".join(dict.fromkeys(skipped))
        plan.warnings.append(
            f"CDI hooks skipped, links and library cache are missing: {names}: {reason}; "
            + ("no setting helps" if elsewhere else self._other_setting(spec))
        )
        return kept

    def _readonly_reason(self, spec: dict[str, Any]) -> str:
        """Return why hooks must not write, "" when they may."""
        reason = readonly.unwritable(readonly.rootfs_path(spec, self.bundle))
        if not reason and readonly.asked_readonly(spec):
            if self.config.readonly_rootfs == "when-writable":
                return ""
            reason = "root.readonly is true in config.json"
        return reason

    def _other_setting(self, spec: dict[str, Any]) -> str:
        serving = '"when-writable" or "overlay"'
        if readonly.unwritable(readonly.rootfs_path(spec, self.bundle)):
            serving = '"overlay"'
        return f"hooks.readonly_rootfs = {serving} in {self.config.path} runs them"

    def _taken_over(
        self, spec: dict[str, Any], hooks: list[dict[str, Any]], plan: HookPlan
    ) -> list[dict[str, Any]]:
        """Fuse the known hooks and choose the executor."""
        if self.config.native:
            timeout = self.config.timeout
            hooks = knownhooks.fuse(hooks, lambda *args: self._chain(spec, *args), timeout)
        if hooks:
            plan.executor, why = quirks.choose(
                self.config.executor, self.version, root_readonly=readonly.asked_readonly(spec)
            )
            plan.sentences.append(f"createContainer hooks run by the {plan.executor}: {why}")
        for hook in hooks:
            plan.sentences += [f"hook {part.describe()}" for part in knownhooks.parse(hook)] or [
                f"hook {hook.get('path')} keeps its program"
            ]
        return hooks

    def _take(self, spec: dict[str, Any], plan: HookPlan) -> None:
        """Take from the low-level runtime the hooks that pyshim runs before it.

        What a hook mounts would be gone before the container is there: such hooks stay with the
        runtime, and with gVisor, which does not run them, there is nothing for them to mount on.
        """
        hooks = spec["hooks"]
        mounting: list[dict[str, Any]] = []
        for hook in hooks["createContainer"]:
            parts = knownhooks.parse(hook)
            staying = [part for part in parts if not part.writes]
            if not staying:
                plan.taken.append(hook)
            elif len(staying) == len(parts):
                mounting.append(hook)
            else:
                timeout = knownhooks.timeout_of(hook, 0)
                writing = [part for part in parts if part.writes]
                plan.taken.append(self._chain(spec, writing, timeout))
                mounting.append(self._chain(spec, staying, timeout))
        for hook in plan.taken:
            self._quieten(hook)
        hooks[TAKEN] = hooks.pop("createContainer")
        if self.version.kind == "runsc":
            for hook in mounting:
                names = ", ".join(part.name for part in knownhooks.parse(hook))
                plan.sentences.append(f"hook {names} is skipped: it only mounts, gVisor has it")
        elif mounting:
            hooks["createContainer"] = mounting

    def _quieten(self, hook: dict[str, Any]) -> None:
        """Have a chain leave its failure to us, who log it."""
        args = hook.get("args") or []
        ours = hook.get("path") == self.hook_program and args[1:2] == [knownhooks.CHAIN]
        if ours and "--errors" not in args:
            args[2:2] = ["--errors", "caller"]

    def _chain(
        self, spec: dict[str, Any], parts: list[knownhooks.Part], timeout: int
    ) -> dict[str, Any]:
        """Return the one hook that runs `parts` natively."""
        from ocishim.oci.container import Container  # noqa: PLC0415 - only where hooks are

        rootfs = readonly.rootfs_path(spec, self.bundle)
        args = ["pyshim-hook", knownhooks.CHAIN, "--rootfs", rootfs]
        args += ["--rootfs-id", "{}:{}".format(*readonly.identity(spec, self.bundle))]
        args += Container.of(spec).options()
        args += ["--timeout", str(timeout or self.config.timeout)]
        args += self.config.log_flags()
        for index, part in enumerate(parts):
            args += [knownhooks.NEXT] if index else []
            args += [part.name, *part.args]
        return {
            "path": self.hook_program,
            "args": args,
            "env": list(knownhooks.MINIMAL_ENV),
            "timeout": timeout or self.config.timeout,
        }

    def _check_programs(self, spec: dict[str, Any], injected: dict[str, str]) -> None:
        """Refuse what is known to fail: a program that is not there or cannot be reached."""
        for name, hooks in lists(spec).items():
            if name not in _RUN_AT_CREATE:
                continue
            for hook in hooks:
                path = hook.get("path")
                ours = path == self.hook_program
                if isinstance(path, str) and (ours or path in injected):
                    _check_program(f"{name} hook {path}", path, injected.get(path, ""))
                    if ours:
                        knownhooks.must_be_utf8(path, *hook["args"])
                    if ours and oci_spec.has_user_namespace(spec):
                        _check_reachable(path)


def _writes(hook: dict[str, Any]) -> bool:
    return any(part.writes for part in knownhooks.parse(hook))


def _check_program(hook: str, path: str, cdi_spec: str) -> None:
    subject = f"{cdi_spec}: {hook}" if cdi_spec else hook
    if not os.path.isabs(path) or "\0" in path:
        raise HookError(f"{subject}: the path is not absolute", hint="correct the CDI spec")
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        there = "is not an executable file" if os.path.exists(path) else "does not exist"
        hint = "install it, or generate the CDI spec again" if cdi_spec else "install pyshim again"
        raise HookError(f"{subject}: the program {there}", hint=hint)


def _check_reachable(path: str) -> None:
    """The container's root is another user here: every folder above must let others through."""
    folder = os.path.dirname(os.path.realpath(path))
    while folder != "/":
        if not os.stat(folder).st_mode & 0o001:
            raise HookError(
                f"the container has a user namespace, and {folder} keeps others out, so its root "
                f"cannot run {path}",
                hint="install pyshim in a folder everybody can enter",
            )
        folder = os.path.dirname(folder)
