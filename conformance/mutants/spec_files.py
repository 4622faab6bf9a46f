"""Wrong with CDI spec files: versions, names, directories, what a bad file does to others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

from mutants.call import CDI, SPEC_DIRS, Call, mutant

LOW, HIGH = SPEC_DIRS
KNOWN = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
NAME = re.compile("[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
OURS = {"cdiVersion", "kind", "devices", "containerEdits", "annotations"}


def _remove(call: Call, unwanted: Any) -> None:
    """Remove the spec files of which `unwanted(path, document)` holds."""
    for path, document in call.documents().items() if call.creates else ():
        if unwanted(path, document):
            os.unlink(path)


@mutant("cdi-files/version[v1.0.0]")
def version_without_v(call: Call) -> None:
    _remove(call, lambda _, value: str(value).startswith("{'cdiVersion': 'v"))


@mutant("cdi-files/version-refused[2.0.0]", "cdi-files/version-refused[0.6]")
def any_version(call: Call) -> None:
    call.edit_cdi(
        lambda value: (
            value.update(cdiVersion="1.1.0") if value.get("cdiVersion") not in KNOWN else None
        )
    )


@mutant(
    "cdi-files/field-too-new[hostPath]",
    "cdi-files/device-digit[0.4.0]",
    "cdi-files/annotations-field[0.5.0]",
)
def version_not_compared(call: Call) -> None:
    call.edit_cdi(
        lambda value: value.update(cdiVersion="1.1.0") if value.get("cdiVersion") in KNOWN else None
    )


@mutant("cdi-files/field-new-enough[hostPath]")
def host_path_from_0_6(call: Call) -> None:
    _remove(call, lambda _, value: "hostPath" in str(value) and "0.5.0" in str(value))


@mutant("cdi-files/kind[Vendor.com/Class]")
def kind_in_lower_case(call: Call) -> None:
    call.edit_cdi(
        lambda value: (
            value.update(kind=value["kind"].lower()) if isinstance(value.get("kind"), str) else None
        )
    )


@mutant("cdi-files/name[0:1]")
def no_colon_in_names(call: Call) -> None:
    _remove(call, lambda _, value: "'name': '0:1'" in str(value))


@mutant("cdi-files/name-refused[a b]")
def bad_device_left_out(call: Call) -> None:
    def change(value: dict[str, Any]) -> None:
        if isinstance(value.get("devices"), list):
            value["devices"] = [
                device
                for device in value["devices"]
                if not isinstance(device, dict) or NAME.fullmatch(str(device.get("name", "0")))
            ]

    call.edit_cdi(change)


@mutant("cdi-files/bad-file[unknown field]")
def unknown_fields_ignored(call: Call) -> None:
    def change(value: dict[str, Any]) -> None:
        for key in set(value) - OURS:
            del value[key]

    call.edit_cdi(change)


@mutant("cdi-files/bad-file[no JSON]", "cdi-files/bad-is-no-shadow")
def bad_file_stops_all(call: Call) -> None:
    paths = [f"{folder}/{name}" for folder in SPEC_DIRS for name in os.listdir(folder)]
    paths = [path for path in paths if os.path.isfile(path) and path.endswith(".json")]
    if call.creates and len(call.documents()) < len(paths):
        for path in paths:
            os.unlink(path)


@mutant("cdi-files/odd-entry[spec.yml]")
def yml_too(call: Call) -> None:
    if call.creates and os.path.exists(f"{LOW}/spec.yml"):
        os.rename(f"{LOW}/spec.yml", f"{LOW}/spec.yaml")


@mutant("cdi-files/file-found[.hidden.json]")
def hidden_ignored(call: Call) -> None:
    _remove(call, lambda path, _: os.path.basename(path).startswith("."))


@mutant("cdi-files/yaml[block]", "cdi-files/name-yaml-number[yes]")
def json_only(call: Call) -> None:
    good = call.documents()
    for name in os.listdir(LOW) if call.creates else ():
        if name.endswith(".yaml") and f"{LOW}/{name}" not in good:
            os.unlink(f"{LOW}/{name}")


@mutant("cdi-files/priority[same name]", "cdi-files/priority[another name]")
def low_wins(call: Call) -> None:
    if call.creates and os.listdir(HIGH) and os.listdir(LOW):
        for folder, aside in ((LOW, "/run/.low"), (HIGH, "/run/.high")):
            shutil.copytree(folder, aside)
            for name in os.listdir(folder):
                os.unlink(f"{folder}/{name}")
        shutil.copytree("/run/.low", HIGH, dirs_exist_ok=True)
        shutil.copytree("/run/.high", LOW, dirs_exist_ok=True)


@mutant("cdi-files/conflict[refused]", "cdi-files/conflict[beside another]", seen=("errors",))
def first_file_wins(call: Call) -> None:
    have: set[str] = set()

    def change(value: dict[str, Any]) -> None:
        value["devices"] = [device for device in value["devices"] if device["name"] not in have]
        have.update(device["name"] for device in value["devices"])

    if sorted(os.listdir(LOW)) == ["a.json", "b.json"]:
        call.edit_cdi(change)
        _remove(call, lambda _, value: not value["devices"])


@mutant("cdi-files/conflict-others")
def files_in_conflict_ignored(call: Call) -> None:
    if sorted(os.listdir(LOW)) == ["a.json", "b.json"]:
        _remove(call, lambda *_: True)


@mutant("cdi-files/changed[same size]", "cdi-files/removed")
def never_reads_again(call: Call) -> None:
    if call.creates and not os.path.isdir("/run/.copy"):
        shutil.copytree(LOW, "/run/.copy")
    elif call.creates:
        shutil.copytree("/run/.copy", LOW, dirs_exist_ok=True)


@mutant(
    "cdi-files/bad-file[env without =]",
    "cdi-files/kind-refused[gpu]",
    "cdi-files/version-refused[latest]",
    "cdi-files/odd-entry[dangling.json]",
    "cdi/annotation-refused[no vendor]",
    "cdi/unresolvable[alone]",
    "errors/exit-status[conflict]",
    "errors/run-too[run]",
    "injection/no-litter[fails]",
    seen=("cdi", "errors", "injection"),
)
def starts_without_devices(call: Call) -> int | None:
    """What cannot be injected is left out, and nobody is told."""
    requests = [key for key in call.spec["annotations"] if CDI in key] if call.creates else []
    if not requests:
        return None
    if subprocess.call([*call.good, *call.args], stderr=subprocess.DEVNULL) == 0:
        return 0
    call.edit_requests(lambda annotations: [annotations.pop(key) for key in requests])
    return call.run()


@mutant("cdi-files/bad-file[null device]")
def null_left_out(call: Call) -> None:
    def change(value: dict[str, Any]) -> None:
        if isinstance(value.get("devices"), list):
            value["devices"] = [device for device in value["devices"] if device]

    call.edit_cdi(change)


@mutant("cdi-files/bad-file[duplicate key]")
def last_key_wins(call: Call) -> None:
    for path, value in call.documents().items() if call.creates else ():
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)
