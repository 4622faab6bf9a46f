"""What pyshim needs in containerd's CRI plugin: the runtime's table, and single settings beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocishim.admin.engines import first_table
from ocishim.admin.engines.containerd_files import RUNC_SHIM

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.engines.containerd_files import Files

# The version of containerd 2.4, which has no enable_cdi any more and warns of it (its RELEASES.md).
ALWAYS_CDI = 4
DEFAULT = ("containerd", "default_runtime_name")
RUNTIMES = ("containerd", "runtimes")
RUNC_TYPE = (*RUNTIMES, "runc", "runtime_type")
SINGLE = (DEFAULT, ("enable_cdi",), RUNC_TYPE)
"""The single settings that may be ours, by their keys below the plugin's table."""
# Of runc's entry these are not for us: user-controlled, or of the shim of containerd 1.0.
_NOT_COPIED = ("pod_annotations", "runtime_engine", "runtime_root", "runtime_type", "options")


def entry(files: Files, wish: Wish) -> dict[str, Any]:
    """Return the runtime's table: runc's own settings with our program."""
    source = files.model()
    ours = {key: value for key, value in source.items() if value and key not in _NOT_COPIED}
    passed = ours.get("container_annotations")
    annotations = [*(passed if isinstance(passed, list) else []), *wish.annotations]
    options = {key: value for key, value in first_table(source, "options").items() if value}
    return {
        **ours,
        "runtime_type": RUNC_SHIM,
        "container_annotations": list(dict.fromkeys(annotations)),
        "options": {**options, "BinaryName": wish.program},
    }


def settings(files: Files, wish: Wish, *, has_runc: bool) -> dict[tuple[str, ...], Any]:
    """Return the single settings that are wanted; has_runc: whether the files name a runc."""
    wanted: dict[tuple[str, ...], Any] = {}
    if wish.set_as_default:
        wanted[DEFAULT] = wish.name
    if wish.enable_cdi and files.version < ALWAYS_CDI:
        wanted["enable_cdi",] = True
    if not has_runc and not files.merges and wish.name != "runc":
        wanted[RUNC_TYPE] = RUNC_SHIM  # the built-in one goes when any table of a runtime comes
    return wanted
