"""What is wrong with the spec files, by path and in the reference's words.

The reference's own list has `failed to load CDI Spec ` before all but the conflicts. Pure.
"""

from __future__ import annotations

from ocishim.cdi.document.document import CDISpecError
from ocishim.cdi.names import goquote
from ocishim.cdi.registry import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.cdi.registry.index import Known


def of(known: Known) -> dict[str, list[CDISpecError]]:
    """Errors of reading each file, and of conflicts between them, both files named."""
    errors: dict[str, list[CDISpecError]] = {}
    for _priority, path, record in known:
        if record.error is not None:
            message, kind, field, cdi_version, reason = record.error
            error = CDISpecError(
                message,
                kind=kind,
                path=path,
                field=field,
                cdi_version=cdi_version,
                reason=reason,
            )
            errors.setdefault(path, []).append(error)
    for name, later, earlier in index.resolve(known)[1]:
        specs = f"{goquote(later)}, {goquote(earlier)}"
        message = f"conflicting device {goquote(name)} (specs {specs})"
        for path in (later, earlier):
            errors.setdefault(path, []).append(CDISpecError(message, kind="conflict", path=path))
    return errors
