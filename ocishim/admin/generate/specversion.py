"""`--spec-version`: a spec that says it is of a version, for engines that know no newer one."""

from __future__ import annotations

from typing import Any

from ocishim.cdi import versions
from ocishim.errors import ConfigError, UsageError

_INSTEAD = {
    "additionalGids": "--no-gids leaves it out",
    "hostPath": "make the spec where the driver's root and /dev are / themselves",
    "name": "--name-by type-index gives names that begin with a letter",
}
"""What the command line can do about a field that is too new, by the last part of its path."""


def declared(spec: dict[str, Any], version: str) -> dict[str, Any]:
    """Return `spec` with that version. Raises ConfigError: it has a field that the version lacks.

    Raises UsageError for a version that CDI never had.
    """
    if version not in versions.KNOWN:
        raise UsageError(f"no CDI version '{version}'", hint=f"one of {', '.join(versions.KNOWN)}")
    made = {**spec, "cdiVersion": version}
    try:
        versions.validate(made)
    except versions.VersionError as err:
        hint = _INSTEAD.get(err.field.rpartition(".")[2], "leave --spec-version out")
        raise ConfigError(
            f"'{err.field}' needs CDI {versions.minimum(spec)}, not {version}", hint=hint
        ) from None
    return made
