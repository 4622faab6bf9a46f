"""`pyshimctl what-if`: what a container would get that asks for some devices, without a bundle."""

from __future__ import annotations

import json
import os
import sys
import tempfile

import click

from ocishim.admin import printer
from ocishim.admin.explain import command as explain
from ocishim.admin.explain import story
from ocishim.errors import ConfigError
from ocishim.settings import config as settings

_WRITTEN_FOR = ("bundle", "rootfs")
"""What a story says of a bundle that is there for the question alone."""


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--read-only", is_flag=True, help="As if root.readonly were true.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as of explain.")
def command(names: tuple[str, ...], *, read_only: bool, as_json: bool) -> None:
    """Tell what a container would get that asks for the devices NAMES, vendor/class=name each.

    No container, bundle or engine is needed, nothing is changed. Exit status: 0 when create would
    succeed, 1 when it would fail.
    """
    told = answer(names, read_only=read_only)
    if as_json:
        printer.report("explain", told)
    else:
        explain.show(told)
    sys.exit(1 if told["error"] else 0)


def answer(names: tuple[str, ...], *, read_only: bool = False) -> dict[str, object]:
    """Return the story of a create of an otherwise empty container. Raises ConfigError."""
    prefixes = settings.load().annotation_prefixes
    if not prefixes:
        raise ConfigError(
            "no annotation asks for a device: 'cdi.annotation_prefixes' is empty",
            hint="pyshimctl config unset cdi.annotation_prefixes",
        )
    with tempfile.TemporaryDirectory(prefix="pyshim-what-if-") as folder:
        os.mkdir(f"{folder}/rootfs")
        spec = {
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs", "readonly": read_only},
            "process": {"args": ["sh"], "cwd": "/", "env": []},
            "annotations": {f"{prefixes[0]}what-if": ",".join(names)},
            "linux": {"namespaces": [{"type": "mount"}]},
        }
        with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
            json.dump(spec, file)
        told = story.tell(folder)
    return {name: value for name, value in told.items() if name not in _WRITTEN_FOR}
