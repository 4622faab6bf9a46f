"""What became of creates: the records that pyshim keeps (create/record.py), for people."""

from __future__ import annotations

import calendar
import json
import os
import time
from typing import Any, NamedTuple

from ocishim.admin.explain import containers
from ocishim.cache import Cache
from ocishim.create import record
from ocishim.settings import config as settings

_BEGINNING = b'{"version":'
"""Of each record, and of nothing in it: the quotation marks of a text are escaped."""
_LISTS = ("asked", "ignored", "devices", "hooks", "decided", "warnings")


class Record(NamedTuple):
    """One create; `told` is the line that was kept, its lists there in any case."""

    id: str
    told: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """What the container may be called."""
        told = self.told
        return containers.pod_names(told["namespace"], told["pod"], told["container"])

    @property
    def name(self) -> str:
        """The container's name in its pod, "" outside of pods."""
        return (self.told["container"] or "the sandbox") if self.pod else ""

    @property
    def pod(self) -> str:
        """namespace/name of its pod, "" outside of pods."""
        return f"{self.told['namespace']}/{self.told['pod']}" if self.told["pod"] else ""


def kept() -> list[Record]:
    """Return what is kept, the oldest first; of a container that was created twice the last."""
    found: dict[str, Record] = {}
    for line in Cache(settings.cache_dir()).lines(record.NAME):
        one = _parsed(line)
        if one:
            found.pop(one.id, None)  # the order is that of the last create
            found[one.id] = one
    return [*found.values()]


def _parsed(line: bytes) -> Record | None:
    """Return the record of one line; None when it was cut off or is of another version.

    Where the disk was full, one that was cut off stands before it in the line.
    """
    try:
        told = json.loads(line[max(line.rfind(_BEGINNING), 0) :])
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get("version") != record.VERSION:
        return None
    texts = ("id", "time", "namespace", "pod", "container", "bundle", "pyshim", "error", "runtime")
    whole: dict[str, Any] = {name: str(told.get(name) or "") for name in texts}
    whole.update({name: containers.texts_of(told.get(name)) for name in _LISTS})
    return Record(whole["id"], {**told, **whole})


def story(one: Record) -> dict[str, Any]:
    """Return the record as explain tells it."""
    told = one.told
    devices = [f"device {device}" for device in told["devices"]]
    steps = [*told["asked"], *told["ignored"], *devices, *told["decided"]]
    return {
        "container": one.id,
        "pod": one.pod,
        "name": one.name,
        "created": created(one),
        "bundle": told["bundle"],
        "runtime": told["runtime"],
        "steps": steps or ["nothing asked for a device"],
        "warnings": told["warnings"],
        "error": told["error"],
        "result": "" if told["error"] else _result(told),
    }


def created(one: Record) -> str:
    """Say when and by which pyshim."""
    took = f", in {one.told['milliseconds']} ms" if "milliseconds" in one.told else ""
    return f"{one.told['time']} by {one.told['pyshim']}{took}"


def _result(told: dict[str, Any]) -> str:
    hooks = f", hooks {', '.join(told['hooks'])}" if told["hooks"] else ""
    edits = told.get("edits", 0)
    return (
        f"{os.path.basename(told['runtime'])} got config.json with {edits}"
        f" edit{'' if edits == 1 else 's'}{hooks}; how it went on is the engine's to tell"
    )


def seconds(one: Record) -> float:
    """Return when it was, in seconds since 1970; now where the record does not say."""
    try:
        return float(calendar.timegm(time.strptime(one.told["time"], "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return time.time()
