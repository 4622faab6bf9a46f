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

from ocishim import config as settings
from ocishim import lowlevel, readonly, runtime
from ocishim.admin import launchers
from ocishim.errors import PyshimError, UsageError
from ocishim.oci.bundle import Bundle

STATE_ROOTS = (
    "/run/containerd/runc/*",
    "/run/docker/runtime-*/*",
    "/run/runc",
    "/run/crun",
)
"""Where engines keep their runtimes' states, for --container."""


@click.command()
@click.argument("bundle", required=False)
@click.option("--container", metavar="ID", help="A container's id instead of its bundle.")
@click.option("--root", metavar="DIR", help="The low-level runtime's --root for --container.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(bundle: str | None, container: str | None, root: str | None, *, as_json: bool) -> None:
    """Tell what `pyshim create` does with BUNDLE, or did with a container.

    Exit status: 0 when create would succeed, 1 when it would fail (the message is the same),
    2 for a wrong command line.
    """
    if bool(bundle) == bool(container):
        raise click.UsageError("name a BUNDLE or --container ID")
    story = tell(bundle, container, root)
    if as_json:
        click.echo(json.dumps(story, indent=2))
    else:
        _print(story)
    sys.exit(1 if story["error"] else 0)


def tell(bundle: str | None, container: str | None, root: str | None) -> dict[str, Any]:
    """Return the story as sections of sentences; `error` is "" when create would succeed."""
    story: dict[str, Any] = {"bundle": bundle, "error": ""}
    try:
        config = settings.load()
        launcher, hook_program = launchers.programs()
        program = lowlevel.find(config.runtimes, settings.search_path(), launcher, config.path)
        version = lowlevel.version(program, config.cache)
        bundle = bundle or _bundle_of(str(container), program, root)
        story["bundle"] = bundle
        story["runtime"] = f"{program} ({version.kind or 'unknown'} {version.text})".strip()
        opened = Bundle(os.path.abspath(bundle))
        made = runtime.plan(opened, config, program, hook_program)
    except PyshimError as err:
        story["error"] = str(err)
        return story
    story["steps"] = made.sentences()
    story["warnings"] = made.warnings
    story["rootfs"] = _rootfs(opened, config)
    story["result"] = (
        "config.json is handed down as it is"
        if made.spec == opened.spec
        else f"config.json is rewritten with {len(made.changes)} edits"
    )
    return story


def _rootfs(bundle: Bundle, config: settings.Config) -> str:
    path = readonly.rootfs_path(bundle.spec, bundle.path)
    reason = readonly.unwritable(path)
    if not reason and readonly.asked_readonly(bundle.spec):
        reason = "root.readonly is true in config.json"
    policy = f'hooks.readonly_rootfs is "{config.readonly_rootfs}"'
    return f"{path}: {reason or 'can be written'}; {policy}"


def _bundle_of(container: str, program: str, root: str | None) -> str:
    """Ask the low-level runtime for the container's bundle, under each root engines use."""
    roots = [root] if root else ["", *(p for pattern in STATE_ROOTS for p in glob.glob(pattern))]
    for state_root in roots:
        words = [program, *(["--root", state_root] if state_root else []), "state", container]
        asked = subprocess.run(words, capture_output=True, check=False)
        if asked.returncode == 0:
            state = json.loads(asked.stdout)
            return str(state["bundle"])
    looked = ", ".join(state_root or "the runtime's default" for state_root in roots)
    raise UsageError(
        f"no container {container!r} found (looked in {looked})",
        hint="name the engine's runtime root with --root, or the bundle",
    )


def _print(story: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - people only

    out = Console(highlight=False, soft_wrap=True)
    out.print(f"[bold]bundle[/]    {story['bundle']}")
    for title in ("runtime", "rootfs"):
        if story.get(title):
            out.print(f"[bold]{title:<9}[/] {story[title]}")
    steps = story.get("steps") or []
    for number, step in enumerate(steps, 1):
        out.print(f"{number:>4}  {step}", markup=False)
    warnings = story.get("warnings") or []
    for warning in warnings:
        out.print(f"[yellow]warning[/]   {warning}")
    if story["error"]:
        out.print(f"[red]create fails[/] {story['error']}")
    else:
        out.print(f"[bold]result[/]    {story['result']}")
