"""Wrong with config.json: properties lost, values changed, files left behind, edits doubled."""

from __future__ import annotations

import json
import os
from typing import Any

from mutants.call import Call, mutant, replace

TOP = {"ociVersion", "process", "root", "hostname", "mounts", "hooks", "annotations", "linux"}


def _write(call: Call, text: str) -> None:
    if call.creates:
        replace(f"{call.bundle}/config.json", text)


@mutant("injection/unknown-survives[top]")
def unknown_dropped(call: Call) -> None:
    call.edit(lambda spec: [spec.pop(key) for key in set(spec) - TOP])


@mutant("injection/value-survives[uint64]", "injection/value-survives[int64]")
def numbers_are_floats(call: Call) -> None:
    text = call.text if call.creates else ""
    if "922337" in text or "1844674" in text:
        _write(call, json.dumps(json.loads(text, parse_int=lambda digits: int(float(digits)))))


@mutant("injection/order-survives[top]")
def keys_sorted(call: Call) -> None:
    if call.creates:
        _write(call, json.dumps(call.spec, sort_keys=True))


@mutant("injection/rest-survives[ociVersion]", seen=("lifecycle", "hooks"))
def version_rewritten(call: Call) -> None:
    call.edit(lambda spec: spec.update(ociVersion="1.0.1"))


@mutant("injection/file[0600]")
def mode_forgotten(call: Call) -> None:
    if call.creates:
        os.chmod(f"{call.bundle}/config.json", 0o644)


@mutant("injection/no-litter[succeeds]")
def backup_left(call: Call) -> None:
    if call.creates:
        with open(f"{call.bundle}/config.json.bak", "w", encoding="utf-8") as file:
            file.write(call.text)


@mutant("injection/failed-untouched[unresolvable]")
def half_edited(call: Call) -> int | None:
    if call.command != "create":
        return None
    status = call.run()
    if status != 0:
        call.edit(lambda spec: spec["process"]["env"].append("DEVICE_0=yes"))
    return status


@mutant("injection/retry")
def failure_remembered(call: Call) -> int | None:
    if not call.creates or os.path.exists("/run/.failed"):
        return int(call.creates) or None
    status = call.run()
    if status != 0:
        os.mkdir("/run/.failed")
    return status


@mutant("injection/reader[hard link]")
def written_in_place(call: Call) -> int | None:
    if call.command != "create":
        return None
    path, other = f"{call.bundle}/config.json", f"{call.bundle}/config.old"
    os.link(path, other)
    status = call.run()
    with open(path, "rb") as new, open(other, "r+b") as old:
        text = new.read()
        if text != old.read():
            old.seek(0)
            old.write(text)
            old.truncate()
    os.rename(other, path)
    return status


def _double(spec: dict[str, Any]) -> None:
    spec["process"]["env"] += [text for text in spec["process"]["env"] if "DEVICE" in text]
    resources = spec["linux"]["resources"]["devices"]
    resources += [rule for rule in resources if rule.get("major") == 240]
    for hooks in (spec.get("hooks") or {}).values():
        hooks += [{**hook, "timeout": 29} for hook in hooks]


@mutant(
    "injection/twice[cgroup]",
    "injection/twice-hook",
    "injection/twice-bytes",
    "injection/same-device-twice[cgroup]",
)
def injects_twice(call: Call) -> int | None:
    if call.command != "create":
        return None
    status = call.run()
    if status == 0 and "cdi.k8s.io/" in call.text:
        call.edit(_double)
    return status


@mutant("injection/engine-did-it[env]", "cdi/no-request[none]", seen=("cdi", "kubernetes"))
def config_reformatted(call: Call) -> None:
    if call.creates:
        _write(call, json.dumps(call.spec, indent=1))


@mutant("kubernetes/sandbox-untouched[CRI-O]")
def sandbox_is_marked(call: Call) -> None:
    call.edit_requests(
        lambda annotations: (
            annotations.update(seen="yes") if "sandbox" in str(annotations) else None
        )
    )
