"""What the command line of `cdi generate` asks for: which mode, which devices, whose spec.

What a mode finds is nvidia.py's and its siblings'; options and output are command.py's.
"""

from __future__ import annotations

import os
from typing import Any

from ocishim.admin.generate import (
    amd,
    custom,
    described,
    edits,
    features,
    hooks,
    jetson,
    nvidia,
    specversion,
    wsl,
)  # fmt: skip
from ocishim.admin.generate.edits import Edits
from ocishim.admin.generate.report import Report
from ocishim.admin.host import Host
from ocishim.errors import ConfigError, UsageError

KINDS = {
    "nvidia": ("nvidia.com", "gpu"),
    "wsl": ("nvidia.com", "gpu"),
    "csv": ("nvidia.com", "gpu"),
    "imex": ("nvidia.com", "imex-channel"),
    **{name: ("nvidia.com", name) for name in features.FEATURES},
    "management": ("management.nvidia.com", "gpu"),
    "amd": ("amd.com", "gpu"),
}
"""Mode: vendor and class of its kind."""


class IncompleteError(ConfigError):
    """Something that a spec should have is not on the host, and --strict was asked for."""


def _require_paths(chosen: dict[str, Any]) -> None:
    """UsageError for what is no absolute path, ConfigError for a root that is no folder."""
    given = {"hook-path": chosen["hook_path"], "ldconfig-path": chosen["ldconfig_path"]}
    folders = [("library-folder", folder) for folder in chosen["library_folder"]]
    for option, path in (*given.items(), *folders):
        if path and not path.startswith("/"):
            raise UsageError(f"--{option} takes an absolute path, not '{path}'")
    for option in ("driver_root", "dev_root"):
        folder = chosen[option]
        if folder and not os.path.isdir(folder):
            words = f"--{option.replace('_', '-')} names the folder that is / for the driver"
            raise ConfigError(f"{folder}: not a directory", hint=words)


def document(*, report: Report | None = None, **chosen: Any) -> dict[str, Any]:
    """Return the spec for the command line's choices; `report` gets what was found.

    Raises ConfigError when there is nothing to write, IncompleteError as --strict asks.
    """
    report = report if report is not None else Report()
    _require_paths(chosen)
    kind, by_name, common = _found(chosen, report)
    report.found["devices"] = list(by_name)
    if edits.keep(by_name, chosen["device_ids"]):
        nodes = (node for one in (*by_name.values(), common) for node in one.deviceNodes)
        report.narrow(list(by_name), {node["path"] for node in nodes})
    for one in (*by_name.values(), common) if chosen["no_gids"] else ():
        one.additionalGids.clear()
    spec = edits.spec(kind, by_name, common)
    if chosen["strict"] and report.missing:
        lack = report.missing[0]
        raise IncompleteError(f"nothing is written: {lack.what}", hint=lack.remedy)
    version = chosen["spec_version"]
    return specversion.declared(spec, version) if version else spec


def _found(chosen: dict[str, Any], report: Report) -> tuple[str, dict[str, Edits], Edits]:
    """Return the kind, the devices' edits by name and the common ones."""
    kind = _named_kind(chosen)
    if chosen["devices"]:
        if not kind:
            raise UsageError("--device needs --kind, as acme.com/radio")
        return kind, custom.plain(chosen["devices"], _dev_root(chosen), report), Edits()
    if chosen["file"]:
        made = custom.Custom(_dev_root(chosen), _hooks(chosen), report)
        description = described.read(chosen["file"])
        description.with_all &= not chosen["no_all"]
        return kind or description.kind, *made.generate(description)
    if chosen["mode"] == "devices":
        raise UsageError("mode devices needs --device PATH or --from FILE")
    mode, by_name, common = _detect(chosen["mode"], chosen, report)
    default_vendor, default_class = KINDS[mode]
    vendor, class_ = chosen["vendor"] or default_vendor, chosen["class_"] or default_class
    return kind or f"{vendor}/{class_}", by_name, common


def _named_kind(chosen: dict[str, Any]) -> str:
    """Return the kind that the command line names whole, "" when it does not."""
    vendor, class_ = chosen["vendor"], chosen["class_"]
    both = f"{vendor}/{class_}" if vendor and class_ else ""
    if chosen["kind"] and (vendor or class_):
        raise UsageError("--kind stands for --vendor and --class: give one or the other")
    kind = str(chosen["kind"] or both)
    if why := edits.wrong_kind(kind or f"{vendor or 'a'}/{class_ or 'a'}"):
        raise UsageError(f"no kind of devices: {why}", hint="as --kind acme.com/radio")
    return kind


def _dev_root(chosen: dict[str, Any]) -> str:
    return str(chosen["dev_root"] or chosen["driver_root"])


def _hooks(chosen: dict[str, Any]) -> hooks.Hooks:
    disabled = chosen["disable_hook"]
    if chosen["mode"] == "management":  # MIG's nodes are made there
        disabled = (*disabled, "disable-device-node-modification")
    wanted = hooks.choose(disabled, chosen["enable_hook"])
    return hooks.Hooks(chosen["hook_path"] or _hook_path(), wanted, chosen["ldconfig_path"])


def _platform(chosen: dict[str, Any]) -> str:
    """Return the mode of a platform whose driver is another one, else "auto"."""
    driver, dev = Host(chosen["driver_root"]), Host(_dev_root(chosen))
    if wsl.is_one(driver, dev):
        return "wsl"
    return "csv" if jetson.is_one(driver) else "auto"


def _asked(
    mode: str, chosen: dict[str, Any], report: Report
) -> tuple[dict[str, Edits], Edits] | None:
    """Return the devices of a mode that is asked for by name, None for those `auto` tries."""
    with_all = not chosen["no_all"]
    roots = (chosen["driver_root"], chosen["dev_root"])
    if mode == "imex":
        return nvidia.imex_channels(_dev_root(chosen), report, with_all=with_all), Edits()
    if mode in features.FEATURES:
        return features.feature(mode, *roots, report), Edits()
    if mode == "management":
        return features.management(_generator(chosen, report))
    if mode == "wsl":
        return wsl.generate(*roots, _hooks(chosen), report)
    if mode == "csv":
        return jetson.Jetson(*roots, _hooks(chosen), report).generate(with_all=with_all)
    return _amd(chosen, report) if mode == "amd" else None


def _detect(
    mode: str, chosen: dict[str, Any], report: Report
) -> tuple[str, dict[str, Edits], Edits]:
    mode = _platform(chosen) if mode == "auto" else mode
    if asked := _asked(mode, chosen, report):
        if mode != "amd":
            asked[1].add("env", nvidia.VOID)
        return mode, *asked
    with_all = not chosen["no_all"]
    try:
        return "nvidia", *_generator(chosen, report).generate(with_all=with_all)
    except ConfigError as err:
        if mode == "nvidia":
            raise
        first = err
    installed = report.driver
    report.clear()
    if installed:  # a driver without a GPU is worth a word beside AMD's
        report.tell(f"no NVIDIA GPU is in the spec: {first.message}")
    try:
        return "amd", *_amd(chosen, report)
    except ConfigError as err:
        raise ConfigError(
            f"{first.message}; {err.message}",
            hint=f"{first.hint}; or describe devices with --device PATH or --from FILE",
        ) from None


def _amd(chosen: dict[str, Any], report: Report) -> tuple[dict[str, Edits], Edits]:
    namings = chosen["namings"] or ("index",)
    return amd.generate(_dev_root(chosen), report, with_all=not chosen["no_all"], namings=namings)


def _generator(chosen: dict[str, Any], report: Report) -> nvidia.Generator:
    return nvidia.Generator(
        driver_root=chosen["driver_root"],
        dev_root=chosen["dev_root"],
        namings=chosen["namings"] or ("index", "uuid"),
        hooks=_hooks(chosen),
        library_folders=chosen["library_folder"],
        with_sockets=not chosen["no_sockets"],
        report=report,
    )


def _hook_path() -> str:
    from ocishim.admin.install import ownfiles  # noqa: PLC0415 - needs pyshim installed, which may not be

    try:
        return ownfiles.programs()[1]
    except ConfigError:
        return "/usr/local/bin/pyshim-hook"
