"""`pyshimctl cdi transform root`: the paths of a spec under another root, as nvidia-ctk has it.

A spec that was made in a container names the host's files as the container sees them (/host/usr,
/driver-root/usr); runtimes want them as the host does. And the other way round.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.editing import files
from ocishim.admin.generate import edits
from ocishim.cdi import versions
from ocishim.cdi.document import document
from ocishim.errors import UsageError

_IN_CONTAINER = ("createContainer", "startContainer")
"""Hooks whose arguments are paths in the container; their path is the host's but for the last."""

Move = Callable[[str], str]


@click.group()
def transform() -> None:
    """Change specs that are there."""


@transform.command()
@click.option("--from", "source", required=True, metavar="DIR", help="The root as it is now.")
@click.option("--to", "target", required=True, metavar="DIR", help="The root from now on.")
@click.option(
    "--relative-to", type=click.Choice(["host", "container"]), default="host", show_default=True,
    help="Whose paths are changed.",
)  # fmt: skip
@click.option("--input", "path", default="-", metavar="FILE", help="Default: standard input.")
@click.option("--output", metavar="FILE", help="Write there (by rename); default: print it.")
@click.option("--format", "form", type=click.Choice(edits.FORMATS), help="Default: by FILE's name.")
def root(  # noqa: PLR0917 - click calls it by name
    source: str, target: str, relative_to: str, path: str, output: str | None, form: str | None
) -> None:
    """Replace the root --from by --to in the paths of a spec: of the host, or of the container.

    --relative-to host changes hostPath of nodes and mounts, and the programs of hooks; container
    changes where things are in the container. What does not lie below --from stays.

    Exit status: 0 done, 1 the spec cannot be read, is not valid, or cannot be written, 2 wrong
    command line.
    """
    for option, value in (("--from", source), ("--to", target)):
        if not value.startswith("/"):
            raise UsageError(f"{option} takes an absolute path, not '{value}'")
    if output and not output.endswith((".json", ".yaml")):
        raise UsageError(f"{output}: spec dirs are read for .json and .yaml only")
    data = sys.stdin.buffer.read() if path == "-" else files.given(path)
    spec = document.load(data, "standard input" if path == "-" else path)
    moved(spec, source, target, of_host=relative_to == "host")
    text = edits.text(spec, form or ("json" if (output or "").endswith(".json") else "yaml"))
    if output:
        files.replace(os.path.abspath(output), text.encode(), 0o644)
    else:
        printer.text(text)


def moved(spec: dict[str, Any], source: str, target: str, *, of_host: bool) -> None:
    """Change the paths below `source` to lie below `target`, and the version if that needs it."""

    def move(path: str) -> str:
        stem = source.rstrip("/")
        if not path.startswith("/") or not f"{path}/".startswith(f"{stem}/"):
            return path
        return os.path.normpath(f"{target.rstrip('/')}/{path[len(stem) :]}".replace("//", "/"))

    change = _of_host if of_host else _of_container
    for one in (spec, *spec.get("devices", ())):
        found = one.get("containerEdits", {})
        for node in found.get("deviceNodes", ()):
            _node(node, move, of_host=of_host)
        for mount in found.get("mounts", ()):
            key = "hostPath" if of_host else "containerPath"
            mount[key] = move(mount[key])
        for hook in found.get("hooks", ()):
            change(hook, move)
    # hostPath of a node came with 0.5.0.
    least = versions.minimum(spec)
    if versions.KNOWN.index(least) > versions.KNOWN.index(spec["cdiVersion"].removeprefix("v")):
        spec["cdiVersion"] = least


def _node(node: dict[str, Any], move: Move, *, of_host: bool) -> None:
    """Move one of a node's two paths; where it has but one, that is both."""
    host, container = node.pop("hostPath", "") or node["path"], node["path"]
    host, container = (move(host), container) if of_host else (host, move(container))
    node["path"] = container
    if host != container:
        node["hostPath"] = host


def _of_host(hook: dict[str, Any], move: Move) -> None:
    if hook["hookName"] != "startContainer":
        hook["path"] = move(hook["path"])
    if hook["hookName"] not in _IN_CONTAINER:
        _args(hook, move)


def _of_container(hook: dict[str, Any], move: Move) -> None:
    if hook["hookName"] == "startContainer":
        hook["path"] = move(hook["path"])
    if hook["hookName"] in _IN_CONTAINER:
        _args(hook, move)


def _args(hook: dict[str, Any], move: Move) -> None:
    """Move the arguments, both halves of create-symlinks' `TARGET::PATH`, the value of --flag=."""
    if "args" in hook:
        hook["args"] = [_arg(word, move) for word in hook["args"]]


def _arg(word: str, move: Move) -> str:
    flag, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + sign + "::".join(move(half) for half in value.split("::", 1))
