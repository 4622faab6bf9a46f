"""`pyshimctl explain`: the story of one create, before or after the fact.

Finds the container that is meant, and prints; the sentences are story.py's and the records'.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.explain import lookup
from ocishim.admin.explain.story import tell

_TITLES = ("container", "pod", "name", "created", "bundle", "runtime", "rootfs")


@click.command()
@click.argument("bundle", required=False)
@click.option(
    "--container", metavar="NAME", help="A container, ended ones too: its name, id or POD/NAME."
)
@click.option("--pod", metavar="NAME", help="All containers of a pod: NAME or NAMESPACE/NAME.")
@click.option("--last-failure", is_flag=True, help="The last create that failed.")
@click.option("--root", metavar="DIR", help="The low-level runtime's --root for --container.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    bundle: str | None, container: str | None, pod: str | None, root: str | None, *,
    last_failure: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell what `pyshim create` does with BUNDLE, or did with a container.

    Exit status: 0 when create would succeed, or did, 1 when it would fail, or did (the message is
    the same), 2 for a wrong command line or a container that is not there.
    """
    if sum(map(bool, (bundle, container, pod, last_failure))) != 1:
        raise click.UsageError("name a BUNDLE, --container NAME, --pod NAME or --last-failure")
    if bundle:
        stories = [tell(bundle)]
    elif container:
        stories = [lookup.of_container(container, root)]
    else:
        stories = lookup.of_pod(pod) if pod else [lookup.last_failure()]
    if as_json:
        if pod:
            printer.report("explain-pod", {"containers": stories})
        else:
            printer.report("explain", stories[0])
    else:
        for story in stories:
            show(story)
    sys.exit(1 if any(story["error"] for story in stories) else 0)


def show(story: dict[str, Any]) -> None:
    """Print one story for people."""
    lines = [(title, "bold", story[title]) for title in _TITLES if story.get(title)]
    lines += [(f"{number:>4}", "", step) for number, step in enumerate(story.get("steps") or [], 1)]
    lines += [("warning", "yellow", warning) for warning in story.get("warnings") or []]
    if story["error"]:
        lines.append(
            ("create failed" if story.get("created") else "create fails", "red", story["error"])
        )
    else:
        lines.append(("result", "bold", story["result"]))
    if story.get("next"):
        lines.append(("next", "bold", story["next"]))
    printer.titled(lines)
