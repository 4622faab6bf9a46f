"""One CDI spec file: its bytes to a parsed, validated, plain spec, or the reason why not.

JSON and YAML are the same to the reference: both are read as YAML. Reading the file and
finding it are the registry's work. Pure.
"""

from __future__ import annotations

from ocishim import jsonio
from ocishim.cdi.names import goquote
from ocishim.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CDISpecError(DocumentError):
    """A CDI spec file that cannot be used.

    `message` is the reference's text where that is CDI's own (`invalid CDI Spec: ...`), else
    ours. `kind` is the class of the fault: yaml, json-type, unknown-field, null-entry, no-data,
    io, conflict, version-invalid, version-too-old, vendor, class, device-name, dup-device,
    no-devices, empty-edits, env, devnode-path, devnode-type, devnode-permissions, hook-name,
    hook-path, hook-env, mount-host, mount-container, rdt-closid, netdev.
    `field` is the path of the failing field (`devices[0].name`) or "", `cdi_version` the
    version the file declares, as far as that could be read. `reason` is the message without
    what it says of the file.
    """

    def __init__(
        self, message: str, *, kind: str, path: str = "", field: str = "", cdi_version: str = "",
        reason: str = "",
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.reason = reason or message
        self.kind = kind
        self.path = path
        self.field = field
        self.cdi_version = cdi_version

    def record(self) -> tuple[str, str, str, str, str]:
        """Return message, kind, field, cdi_version and reason: what is remembered of a file."""
        return (self.message, self.kind, self.field, self.cdi_version, self.reason)


def load(data: bytes, path: str) -> dict[str, Any]:
    """The CDI spec in `data`, valid, with Go's field names and members of plain types.

    Absent and null members are missing in the result. `path` names the file in messages.
    Raises CDISpecError.
    """
    from ocishim.cdi.document import rules  # noqa: PLC0415 - cold: only files that changed come here

    spec = parse(data, path)
    if spec is None:
        text = f"failed to parse CDI Spec {goquote(path)}, no Spec data"
        raise CDISpecError(text, kind="no-data", path=path)
    try:
        rules.validate(spec)
    except rules.InvalidSpecError as e:
        raise CDISpecError(
            f"invalid CDI Spec: {e.text}",
            reason=e.text,
            kind=e.kind,
            path=path,
            field=e.field,
            cdi_version=spec.get("cdiVersion", ""),
        ) from None
    return spec


def parse(data: bytes, path: str) -> dict[str, Any] | None:
    """The CDI spec in `data`, not validated; None when there is no document."""
    from ocishim.cdi.document import coerce  # noqa: PLC0415 - cold, as above

    value = _read(data, path)
    if value is None:
        return None
    try:
        return coerce.decode(value)
    except coerce.FieldError as e:
        version = _declared_version(value)
        raise CDISpecError(
            f"{path}: {e.reason}", kind=e.kind, path=path, field=e.field, cdi_version=version,
            reason=e.reason,
        ) from None  # fmt: skip


def _read(data: bytes, path: str) -> Any:
    from ocishim.cdi.document import blocktext, jsontext  # noqa: PLC0415 - cold, as above

    for short_way in (jsontext, blocktext):
        try:
            return short_way.load(data)
        except jsontext.NotPlainError:
            pass
    from ocishim.cdi.document import goscalars, yamlgo  # noqa: PLC0415 - cold; PyYAML alone is 15 ms

    try:
        return yamlgo.load(data)
    except goscalars.DialectError as e:
        raise CDISpecError(f"{path}: {e}", kind="yaml", path=path, reason=str(e)) from None


def _declared_version(value: Any) -> str:
    members = value.items() if isinstance(value, dict) else ()
    texts = [text for key, text in members if jsonio.fold(key) == "cdiversion"]
    return next((text for text in texts if isinstance(text, str)), "")
