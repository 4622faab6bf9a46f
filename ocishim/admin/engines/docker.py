"""Docker's configuration: daemon.json, where everything that is not ours stays as it is.

JSON has no comments, so what was there before is kept in a file beside it, for --remove.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ocishim import jsonio
from ocishim.admin.editing.files import Edit, read
from ocishim.admin.engines import Plan, complaint, is_ours, programs, whole_file
from ocishim.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

CONFIG = "/etc/docker/daemon.json"
KEPT = ".before-pyshim"
"""What the file with the text from before is called beyond daemon.json's own name."""
_SNAP = "/snap/docker/current/bin/dockerd"
_SNAPS_CONFIG = "/var/snap/docker/current/config/daemon.json"
PROGRAMS = ("dockerd", _SNAP)
_PRIVATE = 0o600  # as careful as the most careful daemon.json: a proxy's password


def program(host: Host, wish: Wish) -> str:  # noqa: ARG001 - another engine's
    """Return the path of dockerd, "" when it is not there."""
    return programs.find(host, PROGRAMS)


def config_of(host: Host) -> str:
    """Return the file that the machine's dockerd reads."""
    return _SNAPS_CONFIG if programs.find(host, PROGRAMS) == _SNAP else CONFIG


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for Docker to have, or no longer have, the runtime."""
    if wish.drop_in:
        raise UsageError("docker reads no drop-ins", hint="--config names its daemon.json")
    path = wish.config or config_of(host)
    now = read(host, path)
    kept = _kept(host, path)
    was = parse((kept or {}).get("before") or "{}", path)
    settings = parse(now or "{}", path)
    if kept:
        _restore(settings, was, wish, path)
    if wish.remove:
        _take_out(settings, wish, path)
    else:
        _put_in(settings, wish, path)
    if wish.remove and kept and now == kept.get("after"):
        after = kept.get("before")
    elif settings == parse(now or "{}", path):
        after = now
    else:
        after = _text(settings, now) if settings else None
    edits = [Edit(host, path, now, after)]
    edits += _keeping(host, edits[0], kept, wish)
    plan = Plan(edits, unit(host), reloads=not _needs_restart(now, after, path))
    if wish.remove and not plan.changes and not _is_ours(settings, wish, path):
        plan.notes.append(f"{path}: '{wish.name}' is not pyshim, and stays")
    return plan


def _needs_restart(before: str | None, after: str | None, path: str) -> bool:
    """Whether only a restart has dockerd do what `after` says, and no longer `before`.

    On SIGHUP it takes up the values of the keys that the file has, and keeps those of a key that
    is gone; features it does not read then (seen with 20.10, 26.1 and 28.5). A restart stops
    containers, unless `live-restore` is set.
    """
    was, will = parse(before or "{}", path), parse(after or "{}", path)
    gone = any(key in was and key not in will for key in ("runtimes", "default-runtime"))
    return gone or was.get("features") != will.get("features")


def unit(host: Host) -> str:
    """Return the systemd unit of the machine's dockerd."""
    return "snap.docker.dockerd" if config_of(host) == _SNAPS_CONFIG else "docker"


def problem(host: Host, wish: Wish, scratch: str) -> str:  # noqa: ARG001 - another engine's
    """Return Docker's words where it cannot read its file, "" where it can.

    dockerd can be asked from version 23 on; before, its help knows no --validate.
    """
    path, dockerd = wish.config or config_of(host), program(host, wish)
    if not host.is_file(path) or "--validate" not in host.run(dockerd, "--help").stdout:
        return ""
    return complaint(host, dockerd, "--validate", "--config-file", path)


def _kept(host: Host, path: str) -> dict[str, Any] | None:
    """Return what was kept when we first came: `before` and `after`, the file's texts."""
    text = read(host, path + KEPT)
    return None if text is None else parse(text, path + KEPT)


def _keeping(host: Host, edit: Edit, kept: dict[str, Any] | None, wish: Wish) -> list[Edit]:
    """Return what has to be done to the file with the text from before."""
    path = edit.path + KEPT
    if wish.remove:
        return [whole_file(host, path, None)] if kept else []
    before = _before(edit, kept, wish)
    plain = not wish.enable_cdi and not wish.set_as_default
    if not edit.changes or (before is None and plain and not kept):
        return []  # taking out the runtime takes back everything
    text = json.dumps({"before": before, "after": edit.after}, indent=4) + "\n"
    return [whole_file(host, path, text, _PRIVATE)]


def _before(edit: Edit, kept: dict[str, Any] | None, wish: Wish) -> str | None:
    """Return the file's text without us: what it was, with what others have changed since."""
    if kept is None:
        return _without(edit.before, wish, edit.path)
    text: str | None = kept.get("before")
    if edit.before == kept.get("after"):
        return text
    settings = parse(edit.before or "{}", edit.path)
    _restore(settings, parse(text or "{}", edit.path), wish, edit.path)
    _take_out(settings, wish, edit.path)
    return _text(settings, edit.before) if settings else None


def _without(text: str | None, wish: Wish, path: str) -> str | None:
    """Return the file's text without a runtime that came before texts were kept."""
    settings = parse(text or "{}", path)
    if wish.name not in _table(settings, "runtimes", path) or not _is_ours(settings, wish, path):
        return text
    _take_out(settings, wish, path)
    return _text(settings, text) if settings else None


def _restore(settings: dict[str, Any], was: dict[str, Any], wish: Wish, path: str) -> None:
    """Take our values of single settings back to what they were, and somebody else's runtime."""
    if not _is_ours(was, wish, path):
        theirs = _table(was, "runtimes", path)[wish.name]
        settings["runtimes"] = {**_table(settings, "runtimes", path), wish.name: theirs}
    if settings.get("default-runtime") == wish.name:
        _give_back(settings, was, "default-runtime")
    features = _table(settings, "features", path)
    if features.get("cdi") is True:
        _give_back(features, _table(was, "features", path), "cdi")
        if not features:
            _give_back(settings, was, "features")


def _give_back(now: dict[str, Any], was: dict[str, Any], key: str) -> None:
    if key in was:
        now[key] = was[key]
    else:
        now.pop(key, None)


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
    if not _is_ours(settings, wish, path):
        return
    if runtimes.pop(wish.name, None) is not None and not runtimes:
        del settings["runtimes"]
    if settings.get("default-runtime") == wish.name:
        del settings["default-runtime"]


def _is_ours(settings: dict[str, Any], wish: Wish, path: str) -> bool:
    """Whether nobody else's runtime has the wished name."""
    runtime = _table(settings, "runtimes", path).get(wish.name)
    return not runtime or is_ours(wish, runtime.get("path"))


def parse(text: str, path: str) -> dict[str, Any]:
    """Return what daemon.json's text says. Raises ConfigError naming `path`.

    What we read of it has the type that dockerd wants, which takes null for nothing, as it takes a
    file of blanks alone, and does not mind a byte order mark (seen with 26.1). Of a table that is
    there twice it takes both, and of an entry in both the later one (seen with 20.10).
    """
    said = text.removeprefix("\ufeff").strip()
    try:
        pairs = json.loads(said or "null", parse_constant=_no_constant, object_pairs_hook=_Pairs)
        settings = _both(pairs) if isinstance(pairs, _Pairs) else pairs
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{path}: not valid JSON: {err}", hint=_refused(path)) from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected an object", hint=_refused(path))
    _expect(settings, "default-runtime", str, path)
    features = _table(settings, "features", path)
    for name in features:
        _expect(features, name, bool, path, "features.")
    runtimes = _table(settings, "runtimes", path)
    for name in runtimes:
        runtime = _expect(runtimes, name, dict, path, "runtimes.") or {}
        _expect(runtime, "path", str, path, f"runtimes.{name}.")
    return settings


class _Pairs(list[Any]):
    """Names and values of a JSON object, as they stand there."""


def _both(pairs: _Pairs) -> dict[str, Any]:
    """Return the file's object as dockerd reads it (encoding/json, a map that has entries)."""
    settings: dict[str, Any] = {}
    for name, value in pairs:
        plain, before = _plain(value), settings.get(name)
        both = isinstance(plain, dict) and isinstance(before, dict)
        settings[name] = {**before, **plain} if both else plain  # type: ignore[dict-item]
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(one) for name, one in value}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _no_constant(name: str) -> None:
    raise ValueError(f"'{name}' is no JSON")


def _refused(path: str) -> str:
    return f"correct {path}: dockerd refuses it too"


def _table(settings: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    return _expect(settings, key, dict, path) or {}


def _expect(settings: dict[str, Any], key: str, kind: type, path: str, above: str = "") -> Any:
    found = settings.get(key)
    if found is not None and not isinstance(found, kind):
        raise ConfigError(
            f"{path}: expected {jsonio.type_name(kind())} in '{above}{key}'", hint=_refused(path)
        )
    return found


def _text(settings: dict[str, Any], before: str | None) -> str:
    """Return the settings as text, indented as the file was."""
    found = re.search(r"\n([ \t]+)\"", before or "")
    text = json.dumps(settings, indent=found[1] if found else 4, ensure_ascii=False)
    # UTF-8 has no half of a pair, and JSON may.
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    return text + ("\n" if before is None or before.endswith("\n") else "")
