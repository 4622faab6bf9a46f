"""`pyshimctl what-if`: what a container would get that asks for some devices, without a bundle."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from ocishim.admin import printer
from ocishim.admin.explain import command as explain
from ocishim.admin.explain import story
from ocishim.admin.install import ownfiles
from ocishim.create import plan
from ocishim.errors import ConfigError, PyshimError
from ocishim.oci.bundle import Bundle
from ocishim.settings import config as settings

if TYPE_CHECKING:
    from ocishim.cdi.registry.entries import Found
    from ocishim.settings.config import Config

_MOST = 500
"""Devices that are asked for one after the other, 3 ms each."""
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
    with _bundle(settings.load(), names, read_only=read_only) as folder:
        told = story.tell(folder)
    return {name: value for name, value in told.items() if name not in _WRITTEN_FOR}


def refusals(devices: list[Found], config: Config, runtime: str) -> dict[str, Refusal]:
    """Return by spec file why a create that asks for its devices fails on this machine.

    runtime: the low-level runtime's path. Raises ConfigError where pyshim is not installed.
    """
    hook_program = ownfiles.programs()[1]
    found: dict[str, Refusal] = {}
    for device in devices[:_MOST]:
        with _bundle(config, (device.name,), read_only=False) as folder:
            try:
                plan.plan(Bundle(folder), config, runtime, hook_program)
            except PyshimError as err:
                before = found.get(device.path)
                first = before or Refusal(device.name, err, 0)
                found[device.path] = first._replace(devices=first.devices + 1)
    return found


class Refusal(NamedTuple):
    """The first device of a file that create refuses, why, and how many there are."""

    name: str
    error: PyshimError
    devices: int


@contextlib.contextmanager
def _bundle(config: Config, names: tuple[str, ...], *, read_only: bool) -> Iterator[str]:
    """Make a bundle that asks for `names`, for as long as it is needed. Raises ConfigError."""
    prefixes = config.annotation_prefixes
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
        yield folder
