"""One `create`: what config.json asks for, what the CDI specs answer, what the runtime gets.

`plan` decides: it looks at the host, asks the low-level runtime its version, and changes nothing
but the cache. `create` performs: the layer, the hooks that are pyshim's to run, and last, by one
rename, config.json. The same plan is what `pyshimctl explain` tells.
"""

from __future__ import annotations

from ocishim import jsonio, posixos
from ocishim.create import requests
from ocishim.errors import DocumentError
from ocishim.hookplan import hookplan, knownhooks
from ocishim.lowlevel import lowlevel, quirks
from ocishim.oci import hookchanges, members
from ocishim.oci import spec as oci_spec
from ocishim.oci.bundle import WRITERS, Bundle
from ocishim.oci.changes import AddMount
from ocishim.rootfs import readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocishim.cdi.hostdev import Kernel
    from ocishim.cdi.registry.entries import Found
    from ocishim.log import OwnLog
    from ocishim.oci.changes import Change
    from ocishim.oci.types import Hook
    from ocishim.settings.config import Config


class Plan:
    """What one create will do.

    spec: the new config.json. requests: who asked. found: the devices, in order, with the spec
    file each comes from. planned: every edit the devices ask for; changes: those that change
    something. hooks: the hooks' fate; of_hooks: what is told of it. warnings: everything the
    operator should know.
    """

    __slots__ = (
        "changes", "found", "hooks", "of_hooks", "planned", "requests", "spec", "warnings",
    )  # fmt: skip

    def __init__(self, spec: dict[str, Any], asked: requests.Requests) -> None:
        self.spec = spec
        self.requests = asked
        self.found: list[Found] = []
        self.planned: list[Change] = []
        self.changes: list[Change] = []
        self.hooks = hookplan.HookPlan()
        self.of_hooks: list[str] = []
        self.warnings: list[str] = []

    def change(self, changes: Sequence[Change], told: list[str] | None = None) -> None:
        """Make `changes` to the hooks; `told` if more is to be said than they say themselves."""
        oci_spec.apply(self.spec, changes)
        own = [sentence for change in changes for sentence in change.sentences()]
        self.of_hooks += own if told is None else told

    def creates(self) -> list[Hook]:
        """The createContainer hooks that the low-level runtime is left with."""
        return hookchanges.lists(self.spec).get("createContainer", [])

    def sentences(self) -> list[str]:
        """Return the story of this create in order, one sentence a step."""
        return [
            *self.requests.sources,
            *self.requests.ignored,
            *dict.fromkeys(f"device {f.name} is defined in {f.path}" for f in self.found),
            *self._edits(),
            *self.of_hooks,
        ]

    def _edits(self) -> list[str]:
        """Say of each edit whether it is made; of the same for several devices once."""
        last = {change.target(): change for change in self.planned}
        told = []
        for change in self.planned:
            words = change.describe()
            counts = (last[change.target()] if change.target() else change).describe()
            if change in self.changes:
                told.append(words)
            elif counts != words:
                told.append(f"{words}: {counts} takes its place")
            elif not change.target() or change is last[change.target()]:
                told.append(f"{words}: already in config.json")
        return told


def plan(bundle: Bundle, config: Config, lowlevel_path: str, hook_program: str) -> Plan:
    """Decide what `create` on `bundle` does. Raises a PyshimError when it cannot succeed."""
    try:
        return _decide(bundle, config, lowlevel_path, hook_program)
    except DocumentError as err:
        if err.source != members.SOURCE:
            raise
        hint = err.hint or WRITERS
        raise DocumentError(err.fault, source=bundle.config_path, hint=hint) from None


def _decide(bundle: Bundle, config: Config, lowlevel_path: str, hook_program: str) -> Plan:
    made = Plan(jsonio.copy(bundle.spec), requests.gather(bundle.spec, config))
    made.change(hookplan.restore(made.spec))
    made.change(hookplan.harden(made.spec, config))
    injected = _inject(made, bundle, config, lowlevel_path) if made.requests.names else {}
    _bind_renamed(made, bundle.spec, config)
    linux = made.spec.get("linux")
    if isinstance(linux, dict) and linux.get("netDevices"):
        from ocishim.hookplan import netdevices  # noqa: PLC0415 - rare

        made.change(*netdevices.arrange(
            made.spec, lowlevel_path, config.cache, hook_program, config.timeout
        ))  # fmt: skip
    mount_points: list[str] = []
    if config.readonly_rootfs == "overlay":
        mount_points = [c.mount["destination"] for c in made.changes if isinstance(c, AddMount)]
    if mount_points or hookchanges.lists(made.spec):
        version = lowlevel.version(lowlevel_path, config.cache)
        planner = hookplan.Planner(config, bundle.path, hook_program, version)
        made.hooks = planner.decide(made.spec, injected, mount_points)
        made.change(made.hooks.changes, made.hooks.sentences)
        made.warnings += made.hooks.warnings
    made.change(_without_empty(made.spec, bundle.spec))
    return made


def _without_empty(spec: dict[str, Any], before: dict[str, Any]) -> list[Change]:
    """Take out of `spec` an empty list of hooks that was not there before: nothing to do there."""
    hooks = spec.get("hooks")
    made = isinstance(hooks, dict) and hooks.get("createContainer") == []
    if not made or "createContainer" in (before.get("hooks") or {}):
        return []
    return [hookchanges.DropEmptyHooks(whole="hooks" not in before)]


def _inject(made: Plan, bundle: Bundle, config: Config, lowlevel_path: str) -> dict[str, str]:
    """Apply the devices' edits to the plan's spec; return the hooks' programs and their files."""
    from ocishim.cdi import edits, hostdev  # noqa: PLC0415 - only where devices are
    from ocishim.cdi.registry import registry  # noqa: PLC0415 - only where devices are

    made.found = registry.load(config.spec_dirs, config.cache).resolve(made.requests.names)
    merged = edits.merge(made.found)
    present = _known_parts(made.spec)
    try:
        kernel = _kernel(made.spec, config, lowlevel_path)
        made.planned = edits.plan(made.spec, merged, hostdev.stat, kernel)
    except hostdev.NodeError as err:
        from ocishim.cdi import writers  # noqa: PLC0415 - failure only

        raise writers.node_error(made.found, err) from None
    completed = [_completed(change, config, present) for change in made.planned]
    made.planned = [change for change, _ in completed]
    changes = [change for change, is_there in completed if not is_there]
    made.changes = oci_spec.apply(made.spec, changes, once=True)
    _check_stale(made, bundle, config, lowlevel_path)
    added = any(isinstance(change, hookchanges.AddHook) for change in made.changes)
    return _programs(made.found) if added else {}


def _bind_renamed(made: Plan, before: dict[str, Any], config: Config) -> None:
    """Where nobody makes nodes, bind those of the engine's that the host calls otherwise."""
    linux = before.get("linux")
    if not isinstance(linux, dict) or not linux.get("devices"):
        return
    from ocishim.cdi import hostdev  # noqa: PLC0415 - few containers have devices of the engine's

    if hostdev.nobody_makes_nodes(mapped=oci_spec.has_user_namespace(before)):
        from ocishim.create import renamed  # noqa: PLC0415 - as above

        changes, warnings = renamed.bound(made.spec, config)
        made.planned = [*made.planned, *changes]
        made.changes += oci_spec.apply(made.spec, changes)
        made.warnings += warnings


def _completed(
    change: Change, config: Config, present: set[knownhooks.Part]
) -> tuple[Change, bool]:
    """Return `change`; a hook with what hookplan gives to those that are there already.

    And whether it is a known hook that the spec has, alone or in a chain.
    """
    if not isinstance(change, hookchanges.AddHook):
        return change, False
    parts = knownhooks.parse(change.hook)
    missing = hookplan.missing(change.name, change.hook, config, parts)
    is_there = change.name == "createContainer" and bool(parts) and present.issuperset(parts)
    return hookchanges.AddHook(change.name, {**change.hook, **missing}), is_there


def _kernel(spec: dict[str, Any], config: Config, lowlevel_path: str) -> Kernel:
    """Whom edits.plan() may ask about user namespaces."""
    if not oci_spec.has_user_namespace(spec):
        from ocishim.cdi import hostdev  # noqa: PLC0415 - only where devices are

        return hostdev.Kernel()
    from ocishim.cdi import userns  # noqa: PLC0415 - few containers have a user namespace

    version = lowlevel.version(lowlevel_path, config.cache)
    return userns.Kernel(config.cache, can_map=quirks.of(version).maps_mounts)


def _programs(devices: list[Found]) -> dict[str, str]:
    """Return the hooks' programs of `devices` and the CDI spec each comes from."""
    return {
        hook["path"]: device.path
        for device in devices
        for edits in (device.common, device.edits)
        for hook in edits.get("hooks", ())
    }


def _known_parts(spec: dict[str, Any]) -> set[knownhooks.Part]:
    created = hookchanges.lists(spec).get("createContainer", [])
    return {part for hook in created for part in knownhooks.parse(hook)}


def _check_stale(made: Plan, bundle: Bundle, config: Config, lowlevel_path: str) -> None:
    """Refuse or warn of what no longer fits, as cdi.stale says; the edits are applied already."""
    if config.stale == "ignore":
        return
    from ocishim.cdi import hostdev, stale  # noqa: PLC0415 - only where devices are

    mapped = oci_spec.has_user_namespace(made.spec)
    findings = stale.findings(
        made.found,
        no_nodes=lambda: hostdev.nobody_makes_nodes(mapped=mapped),
        mounted=oci_spec.mounted(made.spec),
        bundle=bundle.path,
    )
    if not findings:
        return
    fatal = [finding for finding in findings if finding.certain]
    if any(finding.sort.unbound for finding in fatal):
        version = lowlevel.version(lowlevel_path, config.cache)
        if not quirks.of(version).mounts_by_options:
            fatal = [finding for finding in fatal if not finding.sort.unbound]
    refused = {"error": findings, "auto": fatal}.get(config.stale)
    if refused:
        raise stale.error(refused)
    made.warnings += [finding.message for finding in findings]


def create(
    bundle: Bundle, config: Config, lowlevel_path: str, hook_program: str, log: OwnLog
) -> Plan:
    """Edit the bundle for the low-level runtime and return what was done. Raises a PyshimError.

    Hooks that are pyshim's to run are run here; log.subject is the container's id.
    """
    made = plan(bundle, config, lowlevel_path, hook_program)
    if log.debugs:
        for sentence in made.sentences():
            log.write("debug", sentence)
    for warning in (*made.requests.refused, *made.warnings):
        log.write("warning", warning)
    for sentence in made.requests.noticed:
        log.write("info", sentence)
    rootfs = readonly.rootfs_path(made.spec, bundle.path) if made.hooks.layer else ""
    if rootfs:
        _put_layer(made, rootfs, log)
    try:
        if made.hooks.taken:
            from ocishim.executor import hookprocess  # noqa: PLC0415 - only where the runtime leaves them to us

            hooks, identity = made.hooks.taken, made.hooks.identity
            hookprocess.run(
                hookprocess.Job(bundle.path, made.spec, hooks, log.subject, log, identity=identity)
            )
        bundle.replace(made.spec)
    except BaseException:
        if made.hooks.stacked:
            from ocishim.rootfs import layer  # noqa: PLC0415 - rare

            layer.unstack(rootfs)
        raise
    return made


def _put_layer(made: Plan, rootfs: str, log: OwnLog) -> None:
    from ocishim.rootfs import layer  # noqa: PLC0415 - only over a read-only rootfs

    if made.hooks.stacked:
        layer.stack(rootfs, made.spec)
    else:
        layer.enter(rootfs, made.spec)
    status = posixos.stat(rootfs)
    made.hooks.identity = status.st_dev, status.st_ino
    change = hookchanges.SetRootfsIdentity(rootfs, made.hooks.identity)
    # Not those kept for the next create: they are planned anew, and the bundle stays as it is.
    made.hooks.taken = [change.told_to(hook) for hook in made.hooks.taken]
    oci_spec.apply(made.spec, [change])
    log.write("debug", change.describe())
