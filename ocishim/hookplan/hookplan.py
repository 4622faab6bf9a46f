"""Decide what happens to the hooks of one container: hardened, skipped, fused, by whom run.

Reads the edited copy of the OCI spec and returns changes to it (oci/hookchanges.py) with the
reasons, as sentences; nothing is edited or run here.
"""

from __future__ import annotations

from ocishim.hookplan import knownhooks, runnable
from ocishim.hookplan.knownhooks import Planned
from ocishim.lowlevel import quirks
from ocishim.oci import hookchanges, marks
from ocishim.oci import spec as oci_spec
from ocishim.oci.hooktable import CHAIN, NEXT
from ocishim.rootfs import readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocishim.lowlevel.lowlevel import Version
    from ocishim.oci.changes import Change
    from ocishim.oci.types import Hook
    from ocishim.settings.config import Config

_IN_THE_CONTAINER = ("createContainer", "startContainer")
"""Run by the container's first process, whose environment may be the image's (CVE-2025-23266)."""


class HookPlan:
    """What becomes of the spec's hooks.

    changes: what is to be done to the spec, in order. executor: who runs createContainer hooks.
    taken: those pyshim is to run itself, in order. names: of all that run, whoever runs them.
    identity: st_dev and st_ino of the rootfs they are for.
    layer: True when they write to a private layer over the rootfs; stacked: when that has to be
    on the host, because gVisor opens the root of a pod's further containers at `start`.
    sentences: what was decided, for people. warnings: what the operator should know even when
    nothing fails.
    """

    __slots__ = (
        "changes", "executor", "identity", "layer", "names", "sentences", "stacked", "taken",
        "warnings",
    )  # fmt: skip

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.executor = quirks.RUNTIME
        self.identity: tuple[int, int] | None = None
        self.layer = False
        self.names: list[str] = []
        self.stacked = False
        self.taken: list[Hook] = []
        self.sentences: list[str] = []
        self.warnings: list[str] = []

    def add(self, change: Change) -> None:
        """Note a change, and what is to be said of it."""
        self.changes.append(change)
        self.sentences += change.sentences()


def restore(spec: dict[str, Any]) -> list[Change]:
    """Give `spec` back the hooks an earlier create took, so that this one decides afresh."""
    change = hookchanges.RestoreHooks()
    return [] if change.present(spec) else [change]


def harden(spec: dict[str, Any], config: Config) -> list[Change]:
    """Give the hooks of `spec` what missing() says.

    Before anything is injected: what is compared with a hook that is there must look like it.
    """
    return [
        hookchanges.CompleteHook(name, index, hook.get("path"), members)
        for name, hooks in hookchanges.lists(spec).items()
        for index, hook in enumerate(hooks)
        if (members := missing(name, hook, config, knownhooks.parse(hook)))
    ]


def missing(name: str, hook: Hook, config: Config, parts: list[knownhooks.Part]) -> Hook:
    """Return the members that one hook of the list `name` lacks: an environment, a timeout.

    parts: the known hooks that it stands for. A timeout only for createContainer hooks that keep
    their program: a chain has its own.
    """
    members: Hook = {}
    native = config.native and parts
    if name == "createContainer" and not native and hook.get("timeout") is None:
        members["timeout"] = config.timeout
    if name in _IN_THE_CONTAINER and knownhooks.lacks_environment(hook):
        members["env"] = list(knownhooks.MINIMAL_ENV)
    return members


class Planner:
    """The facts one decision needs."""

    __slots__ = ("bundle", "config", "hook_program", "runtime", "version")

    def __init__(self, config: Config, bundle: str, hook_program: str, version: Version) -> None:
        self.config = config
        self.bundle = bundle
        self.hook_program = hook_program
        self.version = version
        self.runtime = quirks.of(version)

    def decide(
        self, spec: dict[str, Any], injected: dict[str, str], mount_points: Sequence[str] = ()
    ) -> HookPlan:
        """Decide what becomes of the hooks of `spec`, which are hardened already.

        injected: programs of the hooks that were just injected, which must exist, and the CDI
        spec each comes from. mount_points: those that the rootfs has to have, if by a layer.
        Raises HookError before anything has run.
        """
        plan = HookPlan()
        if mount_points:
            self._make_mount_points(spec, mount_points, plan)
        left = hookchanges.lists(spec)
        hooks = [Planned(hook) for hook in left.get("createContainer", ())]
        if hooks:
            plan.identity = readonly.identity(spec, self.bundle)
            kept = self._without_unwritable(spec, hooks, plan)
            hooks = self._taken_over(spec, kept, plan)
            left = {**left, "createContainer": [one.hook for one in hooks]}
        runnable.check(spec, left, injected, self.hook_program)
        if plan.executor == quirks.SHIM:
            hooks = self._take(spec, hooks, plan)
            left = {**left, "createContainer": []}
        plan.names = [name for hook in hooks for name in hook.names()]
        if self.config.native and runnable.needs_guards(self.runtime, spec):
            self._guard(spec, left, plan)
        return plan

    def _guard(self, spec: dict[str, Any], left: dict[str, list[Hook]], plan: HookPlan) -> None:
        """Have pyshim-hook hold the timeout of other programs among the hooks that are `left`."""
        foreign = [
            (name, index, hook)
            for name in runnable.RUN_AT_CREATE
            for index, hook in enumerate(left.get(name, ()))
            if runnable.is_foreign(hook, self.hook_program)
        ]
        if foreign:
            from ocishim.hookplan import guarded  # noqa: PLC0415 - hooks of others are rare

            for change in guarded.changes(spec, foreign, self.hook_program, self.config):
                plan.add(change)

    def _make_mount_points(
        self, spec: dict[str, Any], mount_points: Sequence[str], plan: HookPlan
    ) -> None:
        """Plan a layer where the root cannot be written and lacks a mount point."""
        own_root = self.runtime.own_root
        rootfs = readonly.rootfs_path(spec, self.bundle)
        reason = readonly.why_readonly(rootfs)
        if not reason or (own_root and readonly.why_elsewhere(spec)):
            return
        if place := readonly.lacking(rootfs, spec, mount_points, own_root=own_root):
            self._lay(spec, plan, f"mount point {place} is made in a layer: {reason}")

    def _lay(self, spec: dict[str, Any], plan: HookPlan, sentence: str) -> None:
        plan.layer = True
        plan.stacked = self.runtime.own_root and marks.in_pod(spec)
        plan.sentences.append(sentence)

    def _without_unwritable(
        self, spec: dict[str, Any], hooks: list[Planned], plan: HookPlan
    ) -> list[Planned]:
        elsewhere = readonly.why_elsewhere(spec) if self.runtime.own_root else ""
        reason = elsewhere or self._readonly_reason(spec)
        if reason and not elsewhere and self.config.readonly_rootfs == "overlay":
            if any(hook.writing() or not hook.parts for hook in hooks):
                self._lay(spec, plan, f"hooks write to a layer over the rootfs: {reason}")
            return hooks
        skipped = dict.fromkeys(part.name for hook in hooks for part in hook.writing())
        if not reason or not skipped:
            return hooks
        kept: list[Planned] = []
        for hook in hooks:
            if not hook.writing():  # also a hook nobody knows
                kept.append(hook)
            elif staying := hook.writing(writes=False):
                kept.append(self._chain(spec, staying, knownhooks.timeout_of(hook.hook, 0)))
        change = hookchanges.SetHooks([one.hook for one in kept], [
            "CDI hooks skipped, links and library cache are missing: "
            f"{', '.join(skipped)}: {reason}; "
            + ("no setting helps" if elsewhere else self._other_setting(spec))
        ])  # fmt: skip
        plan.changes.append(change)
        plan.warnings += change.sentences()
        return kept

    def _readonly_reason(self, spec: dict[str, Any]) -> str:
        """Return why hooks must not write, "" when they may."""
        reason = readonly.why_readonly(readonly.rootfs_path(spec, self.bundle))
        if not reason and readonly.asked_readonly(spec):
            if self.config.readonly_rootfs == "when-writable":
                return ""
            reason = "root.readonly is true in config.json"
        return reason

    def _other_setting(self, spec: dict[str, Any]) -> str:
        serving = '"when-writable" or "overlay"'
        if readonly.why_readonly(readonly.rootfs_path(spec, self.bundle)):
            serving = '"overlay"'
        return f"hooks.readonly_rootfs = {serving} in {self.config.path} runs them"

    def _taken_over(
        self, spec: dict[str, Any], hooks: list[Planned], plan: HookPlan
    ) -> list[Planned]:
        """Fuse the known hooks and choose the executor."""
        if self.config.native:
            timeout = self.config.timeout
            hooks = knownhooks.fuse(hooks, lambda *args: self._chain(spec, *args), timeout)
        if hooks:
            mapped = self.runtime.enters_bundle and oci_spec.has_user_namespace(spec)
            plan.executor, why = quirks.choose(
                self.config.executor, self.version,
                root_readonly=readonly.asked_readonly(spec),
                closed=runnable.closed(self.bundle) if mapped else "",
                devices=next((p.name for hook in hooks for p in hook.parts if p.devices), ""),
            )  # fmt: skip
            plan.sentences.append(f"createContainer hooks run by the {plan.executor}: {why}")
        told = [sentence for hook in hooks for sentence in _told(hook)]
        plan.add(hookchanges.SetHooks([one.hook for one in hooks], told))
        return hooks

    def _take(self, spec: dict[str, Any], hooks: list[Planned], plan: HookPlan) -> list[Planned]:
        """Take from the low-level runtime the hooks that pyshim runs before it; return who runs.

        What a hook mounts would be gone before the container is there: such hooks stay with the
        runtime, and with gVisor, which does not run them, there is nothing for them to mount on.
        """
        taken: list[Planned] = []
        mounting: list[Planned] = []
        for hook in hooks:
            writing, staying = hook.writing(), hook.writing(writes=False)
            if writing and staying:
                timeout = knownhooks.timeout_of(hook.hook, 0)
                taken.append(self._chain(spec, writing, timeout))
                mounting.append(self._chain(spec, staying, timeout))
            else:
                (mounting if staying else taken).append(hook)
        from ocishim.hookplan import lost  # noqa: PLC0415 - only where pyshim runs hooks

        plan.taken = [self._quiet(one.hook) for one in taken]
        parts = [part for one in taken for part in one.parts]
        plan.warnings += lost.warnings(spec, parts, self.version.kind)
        if self.runtime.own_root:
            plan.add(hookchanges.TakeHooks([], [", ".join(one.names()) for one in mounting]))
            return taken
        plan.add(hookchanges.TakeHooks([one.hook for one in mounting], []))
        return taken + mounting

    def _quiet(self, hook: Hook) -> Hook:
        """Return `hook`; a chain that leaves its failure to us, who log it."""
        args = hook.get("args") or []
        ours = hook.get("path") == self.hook_program and args[1:2] == [CHAIN]
        if not ours or "--errors" in args:
            return hook
        return {**hook, "args": [*args[:2], "--errors", "caller", *args[2:]]}

    def _chain(self, spec: dict[str, Any], parts: list[knownhooks.Part], timeout: int) -> Planned:
        """Return the one hook that runs `parts` natively."""
        from ocishim.oci.container import Container  # noqa: PLC0415 - only where hooks are

        rootfs = readonly.rootfs_path(spec, self.bundle)
        args = ["pyshim-hook", CHAIN, "--rootfs", rootfs]
        args += ["--rootfs-id", "{}:{}".format(*readonly.identity(spec, self.bundle))]
        args += Container.of(spec).options()
        args += ["--timeout", str(timeout or self.config.timeout)]
        args += self.config.log_flags()
        for index, part in enumerate(parts):
            args += [NEXT] if index else []
            args += [part.name, *part.args]
        hook: Hook = {
            "path": self.hook_program,
            "args": args,
            "env": list(knownhooks.MINIMAL_ENV),
            "timeout": timeout or self.config.timeout,
        }
        return Planned(hook, parts)


def _told(hook: Planned) -> list[str]:
    """Say what is run for `hook`, one sentence a known hook."""
    if hook.parts:
        return [f"hook {part.describe()}" for part in hook.parts]
    why = f": pyshim cannot do {unread}" if (unread := knownhooks.unread(hook.hook)) else ""
    return [f"hook {hook.hook.get('path')} keeps its program{why}"]
