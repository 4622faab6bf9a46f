"""`pyshimctl explain`: the story of one create, before or after the fact.

Makes the plan pyshim makes and prints its sentences; decides nothing of its own.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.install import programs
from ocishim.create import device_lists, plan, requests
from ocishim.errors import DocumentError, PyshimError, UsageError
from ocishim.lowlevel import lowlevel
from ocishim.oci.bundle import Bundle
from ocishim.rootfs import readonly
from ocishim.settings import config as settings

STATE_ROOTS = (
    "/run/containerd/runc/*",
    "/run/containerd/runsc/*",
    "/run/docker/runtime-*/*",
    "/run/runc",
    "/run/crun",
)
"""Where engines keep their runtimes' states, for --container."""
_VOID = ": CDI specs set it so, over what a container that was created before had asked for"


@click.command()
@click.argument("bundle", required=False)
@click.option("--container", metavar="ID", help="A container's id instead of its bundle.")
@click.option("--root", metavar="DIR", help="The low-level runtime's --root for --container.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(bundle: str | None, container: str | None, root: str | None, *, as_json: bool) -> None:
    """Tell what `pyshim create` does with BUNDLE, or did with a container.

    Exit status: 0 when create would succeed, 1 when it would fail (the message is the same),
    2 for a wrong command line or a container that is not there.
    """
    if bool(bundle) == bool(container):
        raise click.UsageError("name a BUNDLE or --container ID")
    story = tell(bundle, container, root)
    if as_json:
        printer.report(story)
    else:
        _print(story)
    sys.exit(1 if story["error"] else 0)


def tell(bundle: str | None, container: str | None, root: str | None) -> dict[str, Any]:
    """Return the story as sections of sentences; `error` is "" when create would succeed.

    Raises UsageError when there is no such container.
    """
    story: dict[str, Any] = {"bundle": bundle and os.path.abspath(bundle), "error": ""}
    try:
        _tell(story, container, root)
    except UsageError:
        raise
    except PyshimError as err:
        story["error"] = str(err)
    return story


def _tell(story: dict[str, Any], container: str | None, root: str | None) -> None:
    config = settings.load()
    launcher, hook_program = programs.programs()
    program = lowlevel.find(config.runtimes, settings.search_path(), launcher, config.path)
    version = lowlevel.version(program, config.cache)
    story["bundle"] = story["bundle"] or _bundle_of(str(container), program, root)
    story["runtime"] = f"{program} ({version.kind or 'unknown'} {version.text})".strip()
    bundle = Bundle(story["bundle"])
    story["steps"] = _asked_for(bundle.spec, config)  # all there is to tell if the plan fails
    made = plan.plan(bundle, config, program, hook_program)
    story["steps"] = [*_unasked(bundle.spec, made, config), *made.sentences()]
    story["warnings"] = made.warnings
    story["rootfs"] = _rootfs(bundle, config)
    story["result"] = _result(bundle, made)


def _asked_for(spec: dict[str, Any], config: settings.Config) -> list[str]:
    """Say who asks for which device; nothing where that is itself what fails."""
    try:
        asked = requests.gather(spec, config)
    except PyshimError:
        return []
    return [*asked.sources, *asked.ignored]


def _unasked(spec: dict[str, Any], made: plan.Plan, config: settings.Config) -> list[str]:
    """Say that nobody asks for a device, and what is not taken for a request by these settings."""
    if made.requests.names or made.requests.ignored:
        return []
    prefixes = " or ".join(f"'{prefix}'" for prefix in config.annotation_prefixes)
    told = [f"nothing asks for a device: no annotation begins with {prefixes}"]
    process = spec.get("process")
    known = {table["name"] for table in config.env_requests}
    for entry in (process.get("env") if isinstance(process, dict) else None) or ():
        name, _, value = str(entry).partition("=")
        if name in known:
            told.append(f"environment {entry} asks for nothing{_VOID if value == 'void' else ''}")
        elif name.endswith("_VISIBLE_DEVICES"):
            told.append(f"environment {entry}: no [[requests.env]] in {config.path} names it")
    if not config.volume_mounts and device_lists.mounted_names(spec, device_lists.DEFAULT_KIND):
        told.append(
            f"mounts below {device_lists.MOUNTS_ROOT}: "
            f"requests.volume_mounts is off in {config.path}"
        )
    return told


def _rootfs(bundle: Bundle, config: settings.Config) -> str:
    try:
        path = readonly.rootfs_path(bundle.spec, bundle.path)
        reason = readonly.unwritable(path)
    except DocumentError as err:  # the low-level runtime's to complain about, unless hooks need it
        return str(err)
    if not reason and readonly.asked_readonly(bundle.spec):
        reason = "root.readonly is true in config.json"
    policy = f'hooks.readonly_rootfs is "{config.readonly_rootfs}"'
    return f"{path}: {reason or 'can be written'}; {policy}"


def _result(bundle: Bundle, made: plan.Plan) -> str:
    if made.spec == bundle.spec:
        return "the low-level runtime gets config.json as it is"
    hooks = made.spec.get("hooks") or {}
    counts = [_count(len(made.changes), "edit")]
    if hooks.get("createContainer"):
        counts.append(_count(len(hooks["createContainer"]), "createContainer hook"))
    if made.hooks.taken:
        counts.append(_count(len(made.hooks.taken), "hook") + " run by pyshim before")
    return f"the low-level runtime gets config.json rewritten: {', '.join(counts)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _bundle_of(container: str, program: str, root: str | None) -> str:
    """Ask the low-level runtime for the container's bundle, under each root engines use.

    The beginning of an id will do, as engines print it. Raises UsageError when there is none.
    """
    roots = [root] if root else ["", *(p for pattern in STATE_ROOTS for p in glob.glob(pattern))]
    for state_root in roots:
        for name in dict.fromkeys((container, *_beginning_with(container, state_root))):
            bundle = _asked(program, state_root, name)
            if bundle:
                return bundle
    looked = ", ".join(state_root or "the runtime's default" for state_root in roots)
    raise UsageError(
        f"no container {container!r} found (looked in {looked})",
        hint=("run it as root, or " if os.geteuid() else "")
        + "name the engine's runtime root with --root, or the bundle",
    )


def _beginning_with(container: str, state_root: str) -> list[str]:
    try:
        names = os.listdir(state_root) if state_root else []
    except OSError:
        return []
    found = [name for name in names if name.startswith(container)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} containers below {state_root} begin with {container!r}")
    return found


def _asked(program: str, state_root: str, container: str) -> str:
    words = [program, *(["--root", state_root] if state_root else []), "state", container]
    asked = subprocess.run(words, capture_output=True, check=False)
    try:
        return str(json.loads(asked.stdout)["bundle"]) if asked.returncode == 0 else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _print(story: dict[str, Any]) -> None:
    lines = [
        (title, "bold", story[title])
        for title in ("bundle", "runtime", "rootfs")
        if story.get(title)
    ]
    lines += [(f"{number:>4}", "", step) for number, step in enumerate(story.get("steps") or [], 1)]
    lines += [("warning", "yellow", warning) for warning in story.get("warnings") or []]
    if story["error"]:
        lines.append(("create fails", "red", story["error"]))
    else:
        lines.append(("result", "bold", story["result"]))
    printer.titled(lines)
