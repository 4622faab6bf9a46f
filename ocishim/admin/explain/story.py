"""The story of one create, as the plan that pyshim makes for a bundle has it.

Decides nothing of its own; prints nothing.
"""

from __future__ import annotations

import os
from typing import Any

from ocishim.admin.install import ownfiles
from ocishim.create import plan, requests
from ocishim.errors import DocumentError, PyshimError
from ocishim.lowlevel import lowlevel
from ocishim.oci.bundle import Bundle
from ocishim.rootfs import readonly
from ocishim.settings import config as settings

_VOID = ": CDI specs set it so, over what a container that was created before had asked for"


def tell(bundle: str) -> dict[str, Any]:
    """Return the story as sections of sentences; `error` is "" when create would succeed."""
    story: dict[str, Any] = {"bundle": os.path.abspath(bundle), "error": ""}
    try:
        _tell(story)
    except PyshimError as err:
        story["error"] = str(err)
    return story


def _tell(story: dict[str, Any]) -> None:
    config = settings.load()
    pyshim, hook_program = ownfiles.programs()
    program = lowlevel.find(config.runtimes, settings.search_path(), pyshim, config.path)
    version = lowlevel.version(program, config.cache)
    told = f" {version.text}" if version.text else ""
    story["runtime"] = f"{program} ({version.kind or 'unknown'}{told})"
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
    if made.requests.names or made.requests.ignored != made.requests.noticed:
        return []
    prefixes = " or ".join(f"'{prefix}'" for prefix in config.annotation_prefixes)
    told = [f"nothing asks for a device: no annotation begins with {prefixes}"]
    process = spec.get("process")
    known = {table["name"] for table in config.env_requests}
    for entry in (process.get("env") if isinstance(process, dict) else None) or ():
        name, _, value = str(entry).partition("=")
        if name in known:
            told.append(f"environment {entry} asks for nothing{_VOID if value == 'void' else ''}")
    return told


def _rootfs(bundle: Bundle, config: settings.Config) -> str:
    try:
        path = readonly.rootfs_path(bundle.spec, bundle.path)
        reason = readonly.why_readonly(path)
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
