"""Wrong with what a device's edits become, and with who asked for what."""

from __future__ import annotations

import os
import stat
from typing import Any

from mutants.call import CDI, Call, mutant

TYPE = "io.kubernetes.cri.container-type"
CRIO_TYPE = "io.kubernetes.cri-o.ContainerType"
KIND = "acme.com/gpu"


def nodes(call: Call, change: Any) -> None:
    """Let `change` edit every device node."""
    call.edit_edits(lambda edits: [change(node) for node in edits.get("deviceNodes", [])])


def names(call: Call, change: Any) -> None:
    """Let `change(list of names)` return the names of each request instead."""

    def every(annotations: dict[str, str]) -> None:
        for key, value in annotations.items():
            if key.startswith(CDI):
                annotations[key] = ",".join(change(value.split(",")))

    call.edit_requests(every)


def drop_requests(annotations: dict[str, str]) -> None:
    """Remove all requests."""
    for key in [key for key in annotations if key.startswith(CDI)]:
        del annotations[key]


@mutant("cdi/env[blanks]")
def env_trimmed(call: Call) -> None:
    call.edit_edits(
        lambda edits: (
            edits.update(env=[text.strip() for text in edits["env"]]) if edits.get("env") else None
        )
    )


@mutant("cdi/env-replaces[engine's]")
def env_kept(call: Call) -> None:
    if not call.creates:
        return
    have = {text.partition("=")[0] for text in call.spec["process"]["env"]}

    def change(edits: dict[str, Any]) -> None:
        if edits.get("env"):
            edits["env"] = [
                text for text in edits["env"] if text.partition("=")[0] not in have
            ] or ["NOTHING="]

    call.edit_edits(change)


@mutant("cdi/node[mode]")
def node_mode_of_host(call: Call) -> None:
    nodes(call, lambda node: node.pop("fileMode", None))


@mutant("cdi/node-owner[spec silent]")
def node_owner_root(call: Call) -> None:
    nodes(call, lambda node: (node.setdefault("uid", 0), node.setdefault("gid", 0)))


@mutant(
    "cdi/node-refused[missing]",
    "cdi/node-refused[symlink]",
    "injection/failed-untouched[missing node]",
    seen=("errors", "injection"),
)
def bad_node_left_out(call: Call) -> None:
    def change(edits: dict[str, Any]) -> None:
        good = []
        for node in edits.get("deviceNodes", []):
            path = node.get("hostPath") or node.get("path", "")
            kind = os.lstat(path).st_mode if os.path.lexists(path) else 0
            if "major" in node or stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISFIFO(kind):
                good.append(node)
        if edits.get("deviceNodes"):
            edits["deviceNodes"] = good
            edits.setdefault("env", ["NOTHING="])

    call.edit_edits(change)


@mutant("cdi/cgroup[r]", "cdi/cgroup[m]")
def permissions_all(call: Call) -> None:
    nodes(call, lambda node: node.pop("permissions", None))


@mutant("cdi/cgroup-others")
def cgroup_by_major(call: Call) -> None:
    rule = {"allow": True, "type": "c", "major": 240, "access": "rwm"}
    if call.creates and any(key.startswith(CDI) for key in call.spec["annotations"]):
        call.edit(lambda spec: spec["linux"]["resources"]["devices"].append(rule))


@mutant("cdi/mount[read-only]")
def mount_writable(call: Call) -> None:
    call.edit_edits(
        lambda edits: [
            mount["options"].remove("ro")
            for mount in edits.get("mounts", [])
            if "ro" in mount.get("options", [])
        ]
    )


@mutant("cdi/mount-type[tmpfs]")
def mount_type_forgotten(call: Call) -> None:
    call.edit_edits(lambda edits: [mount.pop("type", None) for mount in edits.get("mounts", [])])


@mutant("cdi/mount-order[deep first]")
def mount_below_lost(call: Call) -> None:
    def change(edits: dict[str, Any]) -> None:
        if edits.get("mounts"):
            edits["mounts"] = [
                item for item in edits["mounts"] if item.get("containerPath", "").count("/") < 2
            ]

    call.edit_edits(change)


@mutant("cdi/gids[more]")
def one_gid(call: Call) -> None:
    call.edit_edits(
        lambda edits: (
            edits["additionalGids"].__delitem__(slice(1, None))
            if edits.get("additionalGids")
            else None
        )
    )


@mutant("cdi/hook[createRuntime]")
def hook_env_lost(call: Call) -> None:
    call.edit_edits(
        lambda edits: [
            hook.update(env=["NOTHING="]) for hook in edits.get("hooks", []) if "env" in hook
        ]
    )


@mutant("cdi/hook-order")
def devices_reversed(call: Call) -> None:
    names(call, lambda items: items[::-1])


@mutant("cdi/spec-edits[one]", "kubernetes/claims[two]", seen=("kubernetes", "cdi-files"))
def later_and_common_forgotten(call: Call) -> None:
    """The spec's own edits are lost, and so is every claim but the first."""
    call.edit_cdi(lambda document: document.pop("containerEdits", None))
    names(call, lambda items: items[:1] if "claim" in items[0] else items)


@mutant("cdi/not-requested")
def all_devices(call: Call) -> None:
    def every(items: list[str]) -> list[str]:
        found = [
            f"{KIND}={device['name']}"
            for document in call.documents().values()
            for device in document.get("devices", [])
            if document.get("kind") == KIND
        ]
        more = [name for name in found if name not in items] if len(found) == 2 else []
        return items + more

    names(call, every)


@mutant("cdi/no-request[upper case]")
def keys_in_any_case(call: Call) -> None:
    def change(annotations: dict[str, str]) -> None:
        for key in list(annotations):
            if key.lower() != key and key.lower().startswith(CDI):
                annotations[key.lower()] = annotations.pop(key)

    call.edit_requests(change)


@mutant("cdi/annotations[two keys]")
def first_key_only(call: Call) -> None:
    def change(annotations: dict[str, str]) -> None:
        for key in [key for key in annotations if key.startswith(CDI)][1:]:
            del annotations[key]

    call.edit_requests(change)


@mutant("cdi/annotation-refused[blank]", "cdi/annotation-refused[comma behind]")
def names_trimmed(call: Call) -> None:
    names(call, lambda items: [item.strip() for item in items if item.strip()])


@mutant(
    "cdi/unresolvable[beside a good one]",
    "injection/failed-untouched[one of two]",
    seen=("cdi-files", "errors", "injection", "kubernetes"),
)
def unknown_left_out(call: Call) -> None:
    if call.creates:
        known = {
            f"{document['kind']}={device['name']}"
            for document in call.documents().values()
            if isinstance(document, dict)
            for device in document.get("devices") or []
            if isinstance(device, dict) and "name" in device and "kind" in document
        }
        names(call, lambda items: [item for item in items if item in known] or items)


PODMANS = ("io.container.manager", "io.podman.", "io.kubernetes.cri-o.TTY")
ENGINES = ("io.kubernetes.cri", "io.container.manager")
"""How the annotations begin that an engine writes itself."""


@mutant(
    "kubernetes/sandbox[containerd]",
    "kubernetes/sandbox-starts[CRI-O malformed]",
    "kubernetes/sandbox-untouched[containerd]",
)
def sandbox_is_a_container(call: Call) -> None:
    def change(annotations: dict[str, str]) -> None:
        if "sandbox" in (annotations.get(TYPE), annotations.get(CRIO_TYPE)):
            for key in [key for key in annotations if key.startswith(ENGINES)]:
                del annotations[key]

    call.edit_requests(change)


@mutant("kubernetes/container[containerd]")
def containerd_injects_itself(call: Call) -> None:
    call.edit_requests(
        lambda annotations: (
            drop_requests(annotations) if annotations.get(TYPE) == "container" else None
        )
    )


def _not_podmans(annotations: dict[str, str]) -> None:
    for key in [key for key in annotations if key.startswith(PODMANS)]:
        del annotations[key]


@mutant("kubernetes/image-annotation[alone]", "kubernetes/image-annotation[a mark forged]")
def images_are_trusted(call: Call) -> None:
    call.edit_requests(_not_podmans)


@mutant("kubernetes/image-annotation[a mark forged]")
def podman_by_its_mark(call: Call) -> None:
    """A mark's value, which an image overwrites, decides."""

    def change(annotations: dict[str, str]) -> None:
        if annotations.get("io.container.manager") != "libpod":
            _not_podmans(annotations)

    call.edit_requests(change)


@mutant("kubernetes/pod-annotation[alone]", "kubernetes/pod-annotation-bad[malformed]")
def pods_are_trusted(call: Call) -> None:
    def change(annotations: dict[str, str]) -> None:
        if annotations.get(CRIO_TYPE) == "container":
            del annotations[CRIO_TYPE]
            annotations.pop("io.container.manager", None)

    call.edit_requests(change)


@mutant("kubernetes/device-plugin[one]")
def long_keys_ignored(call: Call) -> None:
    def change(annotations: dict[str, str]) -> None:
        for key in [key for key in annotations if key.startswith(CDI) and "_" in key]:
            del annotations[key]

    call.edit_requests(change)


@mutant("kubernetes/claim-gone[kill]", "kubernetes/claim-gone[delete]")
def resolves_always(call: Call) -> int | None:
    if call.command not in ("start", "kill", "delete"):
        return None
    state = call.ask("state", call.args[call.at + 1 + (call.args[call.at + 1] == "--force")]).stdout
    return 1 if f"{KIND}=" in state and TYPE in state and not call.documents() else None


@mutant("kubernetes/merged-by-engine[hook]")
def engine_hooks_dropped(call: Call) -> None:
    def change(spec: dict[str, Any]) -> None:
        annotations = spec.get("annotations", {})
        if annotations.get(TYPE) == "container" and not any(
            key.startswith(CDI) for key in annotations
        ):
            spec.pop("hooks", None)

    call.edit(change)


@mutant("kubernetes/read-only-root[read-only]")
def read_only_has_no_devices(call: Call) -> None:
    call.edit(
        lambda spec: (
            drop_requests(spec.get("annotations", {})) if spec["root"].get("readonly") else None
        )
    )
