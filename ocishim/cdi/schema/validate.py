"""CDI specs against the JSON Schema files beside this module; for people, never for a container.

`cdi.json` asks what the reference's own schema asks, which is little. `cdi-VERSION.json` says how
a spec of that version should be written; versions that change nothing in the format share one.
What the shim loads is decided in document.py alone.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema

from ocishim import jsonio
from ocishim.cdi import versions
from ocishim.cdi.document import goscalars, yamlgo

if TYPE_CHECKING:
    from collections.abc import Iterable

_FILES = ("1.1.0", "0.7.0", "0.6.0", "0.5.0", "0.4.0", "0.3.0")
_ANNOTATIONS_BYTES = 256 << 10
# A label key of Kubernetes: [DNS subdomain "/"] name, compared in lower case.
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME = re.compile(r"([a-z0-9][-a-z0-9_.]*)?[a-z0-9]")


def faults(data: bytes) -> list[str]:
    """What the reference's schema check complains about in a spec's text; empty if nothing.

    Text that begins with "{" is JSON and nothing else. Other text is YAML, read without the
    reader's coercions (`name: 0` is a number), and its annotation keys are checked, too.
    """
    try:
        text = data.decode(errors="replace")
        if text.strip().startswith("{"):
            return _schema_faults(_from_json(text), "cdi.json")
        value = _from_yaml(data)
    except (ValueError, RecursionError) as e:
        return [f"not valid JSON: {e}"]
    except goscalars.DialectError as e:
        return [f"not valid YAML: {e}"]
    return _schema_faults(value, "cdi.json") or list(_annotation_faults(value))


def version_faults(spec: dict[str, Any]) -> list[str]:
    """What is unusual in a parsed spec (document.parse) for the version it declares.

    A spec the reader loads may have some: fields that its version does not know yet. Empty for
    a version that is not known at all.
    """
    version = str(spec.get("cdiVersion", "")).removeprefix("v")
    order = [known for known, _ in versions.TABLE]
    if version not in order:
        return []
    newest = next((v for v in _FILES if order.index(v) >= order.index(version)), _FILES[-1])
    return _schema_faults(spec, f"cdi-{newest}.json")


def load(name: str) -> dict[str, Any]:
    """One of the schema files of this folder."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _from_json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"'{constant}' is not a JSON value")

    return json.loads(text, parse_float=_number, parse_constant=refuse)


def _from_yaml(data: bytes) -> Any:
    value = yamlgo.load(data, strict=False)
    if value is not None and not isinstance(value, dict):
        raise goscalars.DialectError(f"expected object, found {jsonio.type_name(value)}")
    return _through_floats(value)


def _number(text: str) -> float:
    """A number in JSON with a fraction or an exponent; integers of any notation are int."""
    exact = Decimal(text)
    if exact == 0 or (exact.adjusted() < 40 and exact == exact.to_integral_value()):
        return int(exact)
    return float(text)


def _through_floats(value: Any) -> Any:
    """`value` after the reference has sent it through JSON and Go's float64."""
    if isinstance(value, dict):
        return {key: _through_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_through_floats(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) == float("inf") or value != value:  # noqa: PLR0124 - nan
            raise goscalars.DialectError(f"unsupported value: {goscalars.text_of(value)}")
        return _number(repr(float(value)))
    return value


def _schema_faults(value: Any, name: str) -> list[str]:
    validator = jsonschema.Draft7Validator(load(name))
    errors = sorted(validator.iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])
    texts = [text for error in errors for text in _describe(error)]
    return list(dict.fromkeys(texts))  # each missing field has an error, and each tells them all


def _describe(error: jsonschema.ValidationError) -> Iterable[str]:
    """A fault in the words of the reader's messages; the library's own for what it has not.

    Which field is missing stands in the library's message alone, and its words may change.
    """
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    place = f" in '{path.lstrip('.')}'" if path else ""
    if error.validator == "required":
        names: Any = error.validator_value
        found: Any = error.instance
        return [f"missing '{name}'{place}" for name in names if name not in found]
    return [_other(error) + place]


def _other(error: jsonschema.ValidationError) -> str:
    if error.validator == "type":
        found = jsonio.type_name(error.instance)
        return f"expected {error.validator_value}, found {found}"
    if error.validator == "anyOf":
        return "no edits"
    text = error.message if len(error.message) < 200 else f"not valid ({error.validator})"
    return text[:1].lower() + text[1:]


def _annotation_faults(value: Any) -> Iterable[str]:
    owners = [("", value), *((d.get("name", ""), d) for d in value["devices"])]
    for owner, found in owners:
        annotations = found.get("annotations") or {}
        place = f"{owner}.annotations" if owner else "annotations"
        for key in sorted(annotations):
            if not isinstance(annotations[key], str):
                yield f"{place}.{key}: expected string"
            elif not _is_label_key(key.lower()):
                yield f"{place}.{key}: not a qualified name of Kubernetes"
        size = sum(len(k.encode()) + len(str(v).encode()) for k, v in annotations.items())
        if size > _ANNOTATIONS_BYTES:
            yield f"{place}: {size} bytes, more than {_ANNOTATIONS_BYTES}"


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return False
    return len(name) <= 63 and _NAME.fullmatch(name) is not None
