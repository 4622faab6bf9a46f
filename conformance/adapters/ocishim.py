#!/usr/bin/env python3
"""Driver of the CDI corpus for pyshim's library: a case in, a result out, both JSON.

usage: ocishim.py [--stream]     one case on stdin; with --stream one per line

A case is a record of the corpus; its `op` (or `kind`) selects what is asked. Injection is the
reference's algorithm to the letter, so that the results can be compared; what pyshim itself
applies to a bundle is the idempotent merge of the same edits. What a device plugin writes, keys of
annotations and names of spec files, is here: pyshim writes none.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile

# This file bears the package's name, so its own folder must not be searched.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [os.path.dirname(os.path.dirname(_HERE)), *(p for p in sys.path if p != _HERE)]

from ocishim.cdi import annotations, edits, hostdev, names, versions  # noqa: E402
from ocishim.cdi.document import document  # noqa: E402
from ocishim.cdi.registry import registry  # noqa: E402
from ocishim.cdi.schema import validate as schema  # noqa: E402
from ocishim.errors import DocumentError, PyshimError  # noqa: E402
from ocishim.oci import spec as oci  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Case = dict[str, Any]

_MAX_NAME = 63  # bytes: a label's name part in Kubernetes


def inject(case: Case) -> Case:
    """Write the case's spec dirs to a folder of their own and inject its devices."""
    root = tempfile.mkdtemp(prefix="cdi-")
    try:
        dirs = [make_spec_dir(root, entry) for entry in case["spec_dirs"]]
        result = inject_from(dirs, case)
    finally:
        shutil.rmtree(root)
    return json.loads(json.dumps(result).replace(json.dumps(root)[1:-1], "$ROOT"))


def make_spec_dir(root: str, entry: Case) -> str:
    """One spec dir as the corpus describes it; its path."""
    path = entry["dir"] if entry.get("abs") else os.path.join(root, entry["dir"])
    if entry.get("absent") or entry.get("abs"):
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if "is_file" in entry:
        write(path, entry["is_file"].encode(errors="surrogatepass"))
        return path
    folder = path
    if "symlink_to" in entry:
        folder = os.path.join(root, entry["symlink_to"])
        os.symlink(entry["symlink_to"], path)
    os.makedirs(folder, exist_ok=True)
    for name in entry.get("subdirs") or ():
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    for name, text in (entry.get("files") or {}).items():
        write(os.path.join(folder, name), text.encode(errors="surrogatepass"))
    for name, text in (entry.get("files_b64") or {}).items():
        write(os.path.join(folder, name), base64.b64decode(text))
    for name, target in (entry.get("symlinks") or {}).items():
        os.symlink(target.replace("$ROOT", root), os.path.join(folder, name))
    return path


def write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def inject_from(spec_dirs: list[str], case: Case) -> Case:
    devices = registry.load(spec_dirs, None)
    known = devices.devices()
    missing = [name for name in case["devices"] or () if name not in known]
    result: Case = {
        "oci_out": None,
        "error": None,
        "load_errors": describe_errors(devices.load_errors),
        "known_devices": known,
        "unresolved": missing,
    }
    spec = case["oci_in"]
    if spec is None:
        return {**result, "error": "can't inject devices, nil OCI Spec"}
    try:
        found = devices.resolve(case["devices"] or [])
    except PyshimError as e:
        return {**result, "error": first_sentence(e.message, missing)}
    try:
        changes = edits.plan(spec, edits.merge(found), hostdev.stat, as_reference=True)
        oci.apply(spec, changes, once=False)
    except PyshimError as e:
        return {**result, "error": f"failed to inject devices: {e.message}"}
    return {**result, "oci_out": spec}


def first_sentence(message: str, missing: list[str]) -> str:
    """The reference's sentence: pyshim's goes on with reasons, and shortens a long list."""
    start = "unresolvable CDI devices "
    return start + ", ".join(missing) if message.startswith(start) else message


def describe_errors(load_errors: dict[str, list[document.CDISpecError]]) -> list[Case]:
    return [
        {
            "path": path,
            "errors": [error_text(error) for error in errors],
            "classes": [error.kind for error in errors],
        }
        for path, errors in sorted(load_errors.items())
    ]


def error_text(error: document.CDISpecError) -> str:
    prefix = "" if error.kind == "conflict" else "failed to load CDI Spec "
    return prefix + error.message


def message_of(call: Callable[..., object], *arguments: object) -> str | None:
    """What `call` complains about, or None."""
    try:
        call(*arguments)
    except PyshimError as e:
        return e.message
    return None


def parse_qualified_name(case: Case) -> Case:
    text = case["input"]
    qualified = names.is_qualified(text)
    parts = names.parse_device(text) if qualified else ("", "", text)
    return {
        **dict(zip(("vendor", "class", "device"), parts, strict=True)),
        "error": message_of(names.parse, text),
        "is_qualified": qualified,
    }


def parse_device(case: Case) -> Case:
    parts = names.parse_device(case["input"])
    return dict(zip(("vendor", "class", "device"), parts, strict=True))


def parse_qualifier(case: Case) -> Case:
    return dict(zip(("vendor", "class"), names.parse_qualifier(case["input"]), strict=True))


def validate_vendor(case: Case) -> Case:
    return {"error": message_of(names.validate_vendor, case["input"])}


def validate_class(case: Case) -> Case:
    return {"error": message_of(names.validate_class, case["input"])}


def validate_device(case: Case) -> Case:
    return {"error": message_of(names.validate_device_name, case["input"])}


def key_of(plugin: str, device_id: str) -> str:
    """The annotation key for a device plugin's allocation; "/" in `device_id` becomes "_".

    Raises DocumentError with the reference's text when no valid key comes of it.
    """
    if not plugin:
        raise DocumentError("invalid plugin name, empty")
    if not device_id:
        raise DocumentError("invalid deviceID, empty")
    name = plugin + "_" + device_id.replace("/", "_")
    raw = names.gobytes(name)
    quoted = names.goquote(name)
    if len(raw) > _MAX_NAME:
        raise DocumentError(f"invalid plugin+deviceID {quoted}, too long")
    # The reference tests single bytes here and prints each as the character of that number.
    if chr(raw[0]) not in names.ALNUM:
        raise DocumentError(f"invalid name {quoted}, first '{chr(raw[0])}' should be alphanumeric")
    bad = names.first_invalid_rune(name, names.ALNUM + "_-.")
    if bad:
        raise DocumentError(f"invalid name {quoted}, invalid character '{bad}'")
    if chr(raw[-1]) not in names.ALNUM:
        raise DocumentError(f"invalid name {quoted}, last '{chr(raw[-1])}' should be alphanumeric")
    return annotations.PREFIX + name


def value_of(devices: list[str]) -> str:
    """The annotation value that asks for `devices`; DocumentError if one is not qualified."""
    for device in devices:
        names.parse(device)
    return ",".join(devices)


def updated(
    given: dict[str, str], plugin: str, device_id: str, devices: list[str]
) -> dict[str, str]:
    """`given` with a request for `devices` added; the argument is left as it is.

    Raises DocumentError `CDI annotation failed...` for a bad key or value or a key in use.
    """
    try:
        new_key = key_of(plugin, device_id)
        if new_key not in given:
            return {**given, new_key: value_of(devices)}
    except DocumentError as e:
        raise DocumentError(f"CDI annotation failed: {e.message}") from None
    raise DocumentError(f"CDI annotation failed, key {names.goquote(new_key)} used")


def spec_file_name(vendor: str, class_: str, transient_id: str | None = None) -> str:
    """The name, without extension, the reference gives a spec file it writes.

    With `transient_id` it is the file of something that goes away again, a claim or a container.
    """
    name = f"{vendor}-{class_}"
    return name if transient_id is None else f"{name}_{transient_id.replace('/', '_')}"


def parse_annotations(case: Case) -> Case:
    given = case["annotations"] or {}
    try:
        found = annotations.parse(given)
    except PyshimError as e:
        return {"keys": [], "devices": [], "error": e.message}
    keys = list(dict.fromkeys(key for key, _ in found))
    return {"keys": keys, "devices": [name for _, name in found], "error": None}


def annotation_key(case: Case) -> Case:
    try:
        return {"key": key_of(case["plugin"], case["device_id"]), "error": None}
    except PyshimError as e:
        return {"key": "", "error": e.message}


def annotation_value(case: Case) -> Case:
    try:
        return {"value": value_of(case["devices"] or []), "error": None}
    except PyshimError as e:
        return {"value": "", "error": e.message}


def update_annotations(case: Case) -> Case:
    given = case["annotations"] or {}
    arguments = (case["plugin"], case["device_id"], case["devices"] or [])
    try:
        return {"annotations": updated(given, *arguments), "error": None}
    except PyshimError as e:
        return {"annotations": given, "error": e.message}


def spec_name(case: Case) -> Case:
    vendor, class_ = case["vendor"], case["class"]
    return {
        "name_static": spec_file_name(vendor, class_),
        "name_transient": spec_file_name(vendor, class_, case["transient_id"]),
    }


def min_version(case: Case) -> Case:
    try:
        spec = document.parse(case["spec"].encode(errors="surrogatepass"), "spec")
    except PyshimError as e:
        return {"error": e.message, "min_version": None, "validate_version_error": None}
    spec = spec or {}
    return {
        "error": None,
        "min_version": versions.minimum(spec),
        "validate_version_error": message_of(versions.validate, spec),
    }


def parse_spec(case: Case) -> Case:
    data = case["spec"].encode(errors="surrogatepass")
    read = message_of(document.load, data, "$ROOT/etc/a.yaml")
    parsed = message_of(document.parse, data, "$ROOT/etc/a.yaml")
    return {
        "error": parsed,
        "parse_spec": parsed,
        "read_spec": read,
        "read_valid": read is None,
        "schema_valid": not schema.faults(data),
    }


def name(case: Case) -> Case:
    """A record of the names file: every question about one input."""
    questions = (
        parse_qualified_name,
        parse_device,
        parse_qualifier,
        validate_vendor,
        validate_class,
        validate_device,
    )
    return {question.__name__: question(case) for question in questions}


OPS = {
    call.__name__: call
    for call in (
        inject,
        parse_qualified_name,
        parse_device,
        parse_qualifier,
        validate_vendor,
        validate_class,
        validate_device,
        parse_annotations,
        annotation_key,
        annotation_value,
        update_annotations,
        spec_name,
        min_version,
        parse_spec,
        name,
    )
} | {"schema": parse_spec}


def answer(case: Case) -> Case:
    return OPS[case.get("op") or case.get("kind") or "inject"](case)


def main() -> None:
    if "--stream" not in sys.argv[1:]:
        print(json.dumps(answer(json.load(sys.stdin))))
        return
    for line in sys.stdin:
        if line.strip():
            print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
