"""What became of a create: for `explain` afterwards, for the log, for the counters.

One line a create in /run/pyshim/creates (cache.py), the last 200 and more for a week or two; one
info line in our own log for each container that got something; counters where they are wanted.
Nothing here ever fails a create.
"""

from __future__ import annotations

import time

from ocishim import jsonio
from ocishim.cache import Cache
from ocishim.errors import PyshimError, one_line
from ocishim.oci import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cdi.registry.entries import Found
    from ocishim.create.plan import Plan
    from ocishim.log import Fields, OwnLog
    from ocishim.settings.config import Config

NAME = "creates"
"""The file's name in the cache directory."""
VERSION = 1
_SPAN = 7 * 24 * 3600
_LIMIT = 1 << 20
_LONGEST = 5000
"""Bytes of a record: with _LIMIT, 200 of them are always kept."""
_LISTS = ("asked", "ignored", "devices", "hooks", "decided", "warnings")
_ENTRIES, _LETTERS = 12, 300


class Call:
    """One create as it was called: the container, its bundle, our program, and since when."""

    __slots__ = ("bundle", "container", "program", "started")

    def __init__(self, container: str, bundle: str, program: str, started: float = 0) -> None:
        self.container = container
        self.bundle = bundle
        self.program = program
        self.started = started


def succeeded(call: Call, made: Plan, config: Config, lowlevel: str, log: OwnLog) -> None:
    """Note that `made` was done and that the runtime `lowlevel` is what comes next."""
    try:
        took = time.monotonic() - call.started
        told = _about(call, made.spec)
        told["asked"] = made.requests.sources
        told["ignored"] = made.requests.ignored
        told["devices"] = [f"{found.name} of {found.path}" for found in _given(made)]
        told["edits"] = len(made.changes)
        told["hooks"] = made.hooks.names
        told["decided"] = made.hooks.sentences
        told["warnings"] = [*made.requests.refused, *made.warnings]
        told["runtime"] = lowlevel
        told["milliseconds"] = round(took * 1000, 2)
        _keep(told, config)
        if made.found or made.hooks.taken:
            log.write("info", _sentence(told), _fields(told, made))
        if config.metrics:
            _count(told, made, config, took)
    except Exception:  # noqa: BLE001, S110 - a record is no reason to stop a container
        pass


def failed(call: Call, config_file: str, message: str, sort: str) -> None:
    """Note that a create failed with `message`, with what its bundle says, if it can be read.

    sort: what it is counted as, of errors.SORTS.

    May raise what it likes: the caller has told the failure.
    """
    config, spec = _config(), _spec(call, config_file)
    told = _about(call, spec)
    told["error"] = message
    told["asked"], told["ignored"] = _asked(spec, config)
    _keep(told, config)
    if config.metrics:
        from ocishim.create import metrics  # noqa: PLC0415 - only where counters are kept

        failure = f'pyshim_creates_failed_total{{reason="{sort}"}}'
        metrics.add(config.metrics, {'pyshim_creates_total{result="failed"}': 1, failure: 1})


def _config() -> Config:
    from ocishim.settings import config, defaults  # noqa: PLC0415 - failure only

    try:
        return config.load()
    except PyshimError:
        from ocishim.settings import brokenfile  # noqa: PLC0415 - loaded by what failed

        values = {**defaults.DEFAULTS, "log.metrics": brokenfile.metrics_of_broken(config.path())}
        return config.Config(values, "", Cache(config.cache_dir()))


def _spec(call: Call, config_file: str) -> dict[str, Any]:
    from ocishim.oci.bundle import Bundle  # noqa: PLC0415 - loaded unless it failed early

    try:
        return Bundle(call.bundle, config_file).spec
    except PyshimError:
        return {}


def _about(call: Call, spec: dict[str, Any]) -> dict[str, Any]:
    namespace, pod, container = marks.pod_of(spec)
    return {
        "version": VERSION,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "id": call.container,
        "namespace": namespace,
        "pod": pod,
        "container": container,
        "bundle": call.bundle,
        "pyshim": call.program,
        "error": "",
    }


def _asked(spec: dict[str, Any], config: Config) -> tuple[list[str], list[str]]:
    """Say who asked for what; nothing where that is what failed."""
    from ocishim.create import requests  # noqa: PLC0415 - loaded unless it failed early

    try:
        asked = requests.gather(spec, config)
    except PyshimError:
        return [], []
    return asked.sources, asked.ignored


def _given(made: Plan) -> list[Found]:
    """Return the devices, each once however many asked for it."""
    return [*{str(found.name): found for found in made.found}.values()]


def _sentence(told: dict[str, Any]) -> str:
    what = f"gave {', '.join(told['devices'])}" if told["devices"] else "ran its hooks"
    hooks = f"; hooks {', '.join(told['hooks'])}" if told["hooks"] else ""
    plural = "" if told["edits"] == 1 else "s"
    asked = f" ({'; '.join(told['asked'])})" if told["asked"] else ""
    return f"{what}{asked}: {told['edits']} edit{plural}{hooks}; {told['milliseconds']} ms"


def _fields(told: dict[str, Any], made: Plan) -> Fields:
    return {
        "CDI_DEVICE": [str(found.name) for found in _given(made)],
        "CDI_SPEC": [*dict.fromkeys(found.path for found in made.found)],
        "CDI_HOOK": told["hooks"],
        "MILLISECONDS": str(told["milliseconds"]),
    }


def _count(told: dict[str, Any], made: Plan, config: Config, took: float) -> None:
    from ocishim.create import metrics  # noqa: PLC0415 - only where counters are kept

    result = "injected" if made.found else "plain"
    samples: metrics.Samples = {
        f'pyshim_creates_total{{result="{result}"}}': 1,
        "pyshim_create_seconds_total": took,
        "pyshim_warnings_total": len(told["warnings"]),
    }
    for found in _given(made):
        name = f'pyshim_devices_total{{kind="{str(found.name).partition("=")[0]}"}}'
        samples[name] = samples.get(name, 0) + 1
    metrics.add(config.metrics, samples)


def _keep(told: dict[str, Any], config: Config) -> None:
    line = jsonio.dumps(told)
    if len(line) > _LONGEST:
        line = jsonio.dumps(_shortened(told, _ENTRIES, _LETTERS))
    if len(line) > _LONGEST:
        line = jsonio.dumps(_shortened(told, 2, _LETTERS // 3))
    config.cache.append(NAME, line + b"\n", _LIMIT, _SPAN)


def _shortened(told: dict[str, Any], entries: int, letters: int) -> dict[str, Any]:
    """Return the record with long lists and texts cut, which says so."""
    short: dict[str, Any] = {}
    for name, value in told.items():
        if name in _LISTS:
            more = [f"and {len(value) - entries} more"] if len(value) > entries else []
            short[name] = [_cut(text, letters) for text in value[:entries]] + more
        else:
            short[name] = _cut(value, 3 * letters) if isinstance(value, str) else value
    return short


def _cut(text: str, letters: int) -> str:
    line = one_line(text)
    half = letters // 2
    return line if len(line) <= letters else f"{line[:half]} ... {line[-half:]}"


def owner(spec: dict[str, Any]) -> Fields:
    """Return whose container it is, as fields of the log."""
    namespace, pod, container = marks.pod_of(spec)
    if not pod:
        return {}
    return {"POD": f"{namespace}/{pod}", "CONTAINER_NAME": container or "the sandbox"}
