"""`pyshimctl cdi generate`: write the CDI spec of this host's devices."""

from __future__ import annotations

import os
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.editing import files
from ocishim.admin.generate import amd, edits, nvidia
from ocishim.admin.generate.edits import Edits
from ocishim.errors import ConfigError, UsageError

_KINDS = {
    "nvidia": ("nvidia.com", "gpu"),
    "imex": ("nvidia.com", "imex-channel"),
    "amd": ("amd.com", "gpu"),
}


@click.command()
@click.option(
    "--mode", type=click.Choice(["auto", *_KINDS, "devices"]), default="auto",
    help="What to look for; auto takes the first vendor found.",
)  # fmt: skip
@click.option("--vendor", help="Vendor of the kind; default: the mode's.")
@click.option("--class", "class_", help="Class of the kind; default: the mode's.")
@click.option(
    "--device", "devices", multiple=True, metavar="NAME=PATH",
    help="A device and a node of it, for anything else; repeat for more.",
)  # fmt: skip
@click.option(
    "--name-by", "namings", multiple=True, type=click.Choice(nvidia.NAMINGS),
    help="How NVIDIA's devices are named; default: index and uuid.",
)  # fmt: skip
@click.option("--driver-root", default="/", metavar="DIR", help="Where the driver's files are.")
@click.option("--dev-root", default="", metavar="DIR", help="Where /dev is; default: driver root.")
@click.option("--library-folder", multiple=True, metavar="DIR", help="Look for libraries here too.")
@click.option("--hook-path", metavar="PATH", help="The hook program; default: pyshim-hook.")
@click.option("--disable-hook", multiple=True, metavar="NAME", help="Leave a hook out, or all.")
@click.option("--enable-hook", multiple=True, metavar="NAME", help="Keep it all the same.")
@click.option("--no-all", is_flag=True, help="Make no device 'all'.")
@click.option("--output", metavar="FILE", help="Write there (by rename); default: print it.")
@click.option("--format", "form", type=click.Choice(edits.FORMATS), help="Default: by FILE's name.")
def generate(*, output: str | None, form: str | None, **chosen: Any) -> None:
    """Write a CDI spec for this host's devices, or for --device NAME=PATH.

    Exit status: 0 written, 1 no device found or a file cannot be written, 2 wrong command line.
    """
    _require_folders(chosen)
    found = document(**chosen)
    for device, path in missing(found) if chosen["devices"] else ():
        printer.line(f"warning: {path} of {device} is not on this host", err=True, fg="yellow")
    form = form or ("json" if (output or "").endswith(".json") else "yaml")
    text = edits.text(found, form)
    if not output:
        printer.text(text)
        return
    if not output.endswith((".json", ".yaml")):
        raise UsageError(f"{output}: spec dirs are read for .json and .yaml only")
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    files.replace(os.path.abspath(output), text.encode(), 0o644)
    names = ", ".join(device["name"] for device in found["devices"])
    printer.line(f"{output}: {found['kind']} with {names}", err=True)


def _require_folders(chosen: dict[str, Any]) -> None:
    """ConfigError that names the option whose folder is none."""
    for option in ("driver_root", "dev_root"):
        folder = chosen[option]
        if folder and not os.path.isdir(folder):
            words = f"--{option.replace('_', '-')} names the folder that is / for the driver"
            raise ConfigError(f"{folder}: not a directory", hint=words)


def missing(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return device and path of each node that this host lacks: create would fail."""
    return [
        (device["name"], path)
        for device in found["devices"]
        for node in device["containerEdits"].get("deviceNodes", ())
        if not os.path.lexists(path := node.get("hostPath") or node["path"])
    ]


def document(
    *, mode: str, vendor: str | None, class_: str | None, devices: tuple[str, ...], **chosen: Any
) -> dict[str, Any]:
    """Return the spec for the command line's choices."""
    if devices:
        if not vendor or not class_:
            raise UsageError("--device needs --vendor and --class")
        return edits.spec(f"{vendor}/{class_}", plain(devices), Edits())
    if mode == "devices":
        raise UsageError("mode devices needs --device NAME=PATH")
    mode, by_name, common = _detect(mode, chosen)
    default_vendor, default_class = _KINDS[mode]
    return edits.spec(f"{vendor or default_vendor}/{class_ or default_class}", by_name, common)


def plain(devices: tuple[str, ...]) -> dict[str, Edits]:
    """Return the devices of `NAME=PATH` words; the same name again adds a node."""
    found: dict[str, Edits] = {}
    for word in devices:
        name, sign, path = word.partition("=")
        if not sign or not name or not path.startswith("/"):
            raise UsageError(f"--device {word!r} is not NAME=/PATH")
        found.setdefault(name, Edits()).add_node(path, path)
    return found


def _detect(mode: str, chosen: dict[str, Any]) -> tuple[str, dict[str, Edits], Edits]:
    with_all = not chosen["no_all"]
    if mode == "imex":
        return mode, nvidia.imex_channels(chosen["dev_root"] or chosen["driver_root"]), Edits()
    if mode == "amd":
        return mode, *amd.generate(chosen["dev_root"] or "/", with_all=with_all)
    try:
        return "nvidia", *_generator(chosen).generate(with_all=with_all)
    except ConfigError as err:
        if mode == "nvidia":
            raise
        first = err
    try:
        return "amd", *amd.generate(chosen["dev_root"] or "/", with_all=with_all)
    except ConfigError as err:
        raise ConfigError(
            f"{first.message}; {err.message}", hint="or describe devices with --device NAME=PATH"
        ) from None


def _generator(chosen: dict[str, Any]) -> nvidia.Generator:
    return nvidia.Generator(
        driver_root=chosen["driver_root"],
        dev_root=chosen["dev_root"],
        namings=chosen["namings"] or ("index", "uuid"),
        hooks=nvidia.choose_hooks(chosen["disable_hook"], chosen["enable_hook"]),
        hook_path=chosen["hook_path"] or _hook_path(),
        library_folders=chosen["library_folder"],
    )


def _hook_path() -> str:
    from ocishim.admin.install import programs  # noqa: PLC0415 - needs pyshim installed, which may not be

    try:
        return programs.programs()[1]
    except ConfigError:
        return "/usr/local/bin/pyshim-hook"
