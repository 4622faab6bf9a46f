"""Docker's configuration: daemon.json, where everything that is not ours stays as it is."""

from __future__ import annotations

import json
import re
from typing import Any

from ocishim.admin.engines import Plan, Wish
from ocishim.admin.files import Edit, read
from ocishim.admin.host import Host
from ocishim.errors import ConfigError, UsageError

CONFIG = "/etc/docker/daemon.json"
NEXT_STEP = "systemctl reload docker"  # runtimes and default-runtime are read anew on SIGHUP
CDI_NEXT_STEP = "systemctl restart docker"  # features.cdi is not


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for Docker to have, or no longer have, the runtime."""
    if wish.drop_in:
        raise UsageError("docker reads no drop-ins", hint="--config names its daemon.json")
    path = wish.config or CONFIG
    before = read(host, path)
    settings = _parse(before or "{}", path)
    was = json.dumps(settings)
    previous = settings.get("default-runtime")
    if wish.remove:
        _take_out(settings, wish, path)
    else:
        _put_in(settings, wish, path)
    after = before
    if json.dumps(settings) != was:
        after = _text(settings, before) if settings else None
    next_step = CDI_NEXT_STEP if wish.enable_cdi else NEXT_STEP
    return Plan([Edit(host, path, before, after)], next_step, _notes(wish, previous))


def _put_in(settings: dict[str, Any], wish: Wish, path: str) -> None:
    runtimes = _table(settings, "runtimes", path)
    runtime = runtimes.get(wish.name)
    if not isinstance(runtime, dict) or "runtimeType" in runtime:
        runtime = {}
    runtimes[wish.name] = {**runtime, "path": wish.program}
    settings["runtimes"] = runtimes
    if wish.set_as_default:
        settings["default-runtime"] = wish.name
    if wish.enable_cdi:
        settings["features"] = {**_table(settings, "features", path), "cdi": True}


def _take_out(settings: dict[str, Any], wish: Wish, path: str) -> None:
    runtimes = _table(settings, "runtimes", path)
    if runtimes.pop(wish.name, None) is not None and not runtimes:
        del settings["runtimes"]
    if settings.get("default-runtime") == wish.name:
        del settings["default-runtime"]


def _notes(wish: Wish, previous: object) -> list[str]:
    if wish.set_as_default and previous not in (None, wish.name) and not wish.remove:
        return [f"default-runtime was {previous!r}; JSON has no comments to keep that in"]
    return []


def _parse(text: str, path: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{path}: not valid JSON: {err}", hint="dockerd refuses it too") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected an object")
    return settings


def _table(settings: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    found = settings.get(key)
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"{path}: expected object in '{key}'")
    return found or {}


def _text(settings: dict[str, Any], before: str | None) -> str:
    """Return the settings as text, indented as the file was."""
    found = re.search(r"\n([ \t]+)\"", before or "")
    text = json.dumps(settings, indent=found[1] if found else 4, ensure_ascii=False)
    return text + ("\n" if before is None or before.endswith("\n") else "")
